"""A window of 30 shards moved by one, with and without the parts of the run before: `python -m benchmarks.reuse`.

After a job of shards 1 to 30, three jobs, each the command `ig-audit run` in a fresh process: shards 2 to 31 from
scratch, the same with `--reuse`, and shard 31 alone, which is what the moved window has to compute. What reuse costs is
the time that its workers spend on taking parts: reading shards and parts, comparing and copying. The statistics, the
search and the report of 30 shards come on top of the job of one, with and without reuse.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.common import table, write_json
from benchmarks.contenders.process import ROOT
from support.networks import save_network
from transforms.core.record import Chunk

SHARDS = 30
_SIZE = 96


@dataclass(frozen=True)
class JobRun:
    """One run of the job.

    Attributes:
        job: which.
        seconds: from start to exit.
        gradients: gradient evaluations of its chunks, as the counter of that name has them.
        taking: seconds spent on taking parts.
    """

    job: str
    seconds: float
    gradients: int
    taking: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a table, and writes what `--json` asks for."""
    options = _parse(arguments)
    if options.job:
        _count(options.job)
        return
    with tempfile.TemporaryDirectory(prefix="ig-audit-") as folder:
        runs = _measure(Path(folder), options.images, options.steps, options.turns)
    medians = {job: _median([run for run in runs if run.job == job]) for job in _names(runs)}
    print(table([vars(run) for run in medians.values()]))
    scratch, reuse = medians["scratch"], medians["reuse"]
    overhead = reuse.taking / scratch.seconds
    print(f"gradients of the moved window: 1/{scratch.gradients / reuse.gradients:.4g} of those from scratch")
    print(f"taking parts: {overhead:.1%} of the job from scratch")
    write_json(options.json, {"runs": [vars(run) for run in runs], "overhead": overhead})


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.reuse", description=__doc__)
    parser.add_argument("--images", type=int, default=24, help="pictures of a shard (default 24)")
    parser.add_argument("--steps", type=int, default=16, help="midpoint steps of a picture (default 16)")
    parser.add_argument("--turns", type=int, default=3, help="runs of each job (default 3)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers")
    parser.add_argument("--job", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _measure(folder: Path, images: int, steps: int, turns: int) -> list[JobRun]:
    shards = [_write_shard(folder / f"day-{day:02}.parquet", images, day) for day in range(SHARDS + 1)]
    model = save_network("mobilenet_v2", str(folder), size=_SIZE)
    common = ["--model", model, "--pixels", "signed", "--rule", "midpoint", "--steps", str(steps)]
    jobs = {"one shard": shards[SHARDS:], "scratch": shards[1:], "reuse": shards[1:]}
    first = str(folder / "first")
    _run("before", [*common, "--input", *shards[:SHARDS], "--output", first])
    runs = []
    for turn in range(turns):
        for job, inputs in jobs.items():
            flags = ["--reuse", first] if job == "reuse" else []
            output = str(folder / f"{job}-{turn}")
            runs.append(_run(job, [*common, "--input", *inputs, "--output", output, *flags]))
        _check_same(folder / f"scratch-{turn}", folder / f"reuse-{turn}")
    return runs


def _run(job: str, flags: Sequence[str]) -> JobRun:
    command = [sys.executable, "-m", "benchmarks.reuse", "--job", "run", *flags]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return JobRun(job, time.perf_counter() - start, **json.loads(done.stdout.splitlines()[-1]))


def _count(arguments: Sequence[str]) -> None:
    """Runs the command as it is, and prints what it spent on gradients and on taking parts on a last line."""
    from pipeline.cli import main as command
    from transforms import attribute

    steps_done, seconds_taken = [], []
    count, take = attribute._Attributing._count_batch, attribute._AttributeChunks._take

    def note_batch(self: Any, steps: int, seconds: float) -> None:
        steps_done.append(steps)
        count(self, steps, seconds)

    def note_take(self: Any, chunk: Chunk) -> Any:
        start = time.perf_counter()
        taken = take(self, chunk)
        seconds_taken.append(time.perf_counter() - start)
        return taken

    attribute._Attributing._count_batch = note_batch  # type: ignore[method-assign]
    attribute._AttributeChunks._take = note_take  # type: ignore[method-assign]
    code = command(arguments)
    print("\n" + json.dumps({"gradients": sum(steps_done), "taking": sum(seconds_taken)}))
    sys.exit(code)


def _check_same(one: Path, other: Path) -> None:
    """Checks that two runs have the same parts and statistics, byte for byte."""
    for path in sorted([*one.glob("attributions/*"), *one.glob("statistics/*")]):
        if path.read_bytes() != (other / path.relative_to(one)).read_bytes():
            raise ValueError(f"{path}: not what the run that reuses has")


def _write_shard(path: Path, images: int, seed: int) -> str:
    """Writes smooth random pictures as PNGs into a Parquet shard; returns its path."""
    generator, encoded = np.random.default_rng(seed), []
    for _ in range(images):
        coarse = Image.fromarray(generator.integers(0, 256, [6, 6, 3], np.uint8))
        stream = io.BytesIO()
        coarse.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC).save(stream, "PNG")
        encoded.append(stream.getvalue())
    pq.write_table(pa.table({"image": pa.array(encoded, pa.binary())}), path)
    return str(path)


def _median(runs: Sequence[JobRun]) -> JobRun:
    """Returns the medians of the runs of one job."""
    seconds, taking = (statistics.median(getattr(run, name) for run in runs) for name in ("seconds", "taking"))
    return JobRun(runs[0].job, seconds, runs[0].gradients, taking)


def _names(runs: Sequence[JobRun]) -> list[str]:
    return list(dict.fromkeys(run.job for run in runs))


if __name__ == "__main__":
    main()
