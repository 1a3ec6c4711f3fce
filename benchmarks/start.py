"""What comes before the first gradient, at the first and the second start of a model: `python -m benchmarks.start`.

Each start is a fresh process: a worker up to its first gradient, and `ig-audit run` of the eight samples from end to
end. A first start has empty caches. A second one has those of an earlier start; without the model cache, only what
that has found out in numbers (what the outputs are, the batch size) is known. Processor seconds are those of the
process and its children: what the wall's clock shows more, on an idle machine, is waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import table, write_json
from benchmarks.contenders.process import ROOT

SAMPLES = ROOT / "runs" / "samples"

GRADIENT = """
import sys
import numpy as np
from transforms import worker
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions

model, cache = sys.argv[1:]
step = worker.attributor(worker.resolve(model, ModelOptions(), Settings(), model_cache=cache)).attributor.step
from transforms.core.model.step_batch import StepBatch, midpoints

zeros = step.enter(np.zeros((1, *step.image_shape), np.float32))[0]
step.run(StepBatch.of_path(zeros, zeros + 1, midpoints(step.batch), 1.0, 0))
print("gradient", flush=True)
"""


@dataclass(frozen=True)
class Clock:
    """Seconds of one start, by the wall's clock and of all processors together."""

    wall: float
    processor: float


def main() -> None:
    """Measures the starts in turns, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="how often each start is made (default 3)")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    options = parser.parse_args()
    program = [sys.executable, "-m", "pipeline"]
    subprocess.run([*program, "samples", "--output", str(SAMPLES)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="ig-audit-start-") as folder:
        result = _measured(_starts(Path(folder)), options.turns)
    print(table(result))
    write_json(options.json, result)


def _measured(starts: Mapping[str, Callable[[], Clock]], turns: int) -> list[dict[str, str | float]]:
    """Returns a row for each start, with the medians of `turns`; the starts take turns."""
    clocks: dict[str, list[Clock]] = {name: [] for name in starts}
    for _ in range(turns):
        for name, start in starts.items():
            clocks[name].append(start())
    return [
        {
            "start": name,
            "wall, s": statistics.median(each.wall for each in found),
            "processor, s": statistics.median(each.processor for each in found),
        }
        for name, found in clocks.items()
    ]


def _starts(folder: Path) -> dict[str, Callable[[], Clock]]:
    """Returns what makes each start; caches and runs lie below `folder`."""
    warm = folder / "warm"

    def gradient(caches: Path, cache: str = "") -> Clock:
        model = str(SAMPLES / "efficientnet-lite0")
        return _timed([sys.executable, "-c", GRADIENT, model, cache], caches, until="gradient")

    def run(caches: Path, cache: str = "") -> Clock:
        with _empty(folder) as output:
            config = ["--config", str(SAMPLES / "config.yaml"), "--output", str(output / "run")]
            command = [sys.executable, "-m", "pipeline", "run", *config]
            return _timed([*command, *(["--model_cache", cache] if cache else [])], caches)

    def first(start: Callable[[Path], Clock]) -> Clock:
        with _empty(folder) as caches:
            return start(caches)

    gradient(warm)
    run(warm)
    kinds: dict[str, Callable[..., Clock]] = {"to the first gradient": gradient, "run of the eight samples": run}
    return {
        f"{what}, {which}": call
        for what, start in kinds.items()
        for which, call in (
            ("first", functools.partial(first, start)),
            ("second", functools.partial(start, warm)),
            ("second, without the model cache", functools.partial(start, warm, "none")),
        )
    }


@contextlib.contextmanager
def _empty(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder) as path:
        yield Path(path)


def _timed(command: list[str], caches: Path, until: str = "") -> Clock:
    """Returns the seconds of a process: until it ends, or by the wall until it prints a line."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(caches), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    wall = 0.0
    for line in process.stdout:
        if line.strip() == until:
            wall = time.perf_counter() - start
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    return Clock(wall or time.perf_counter() - start, used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
