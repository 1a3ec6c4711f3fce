"""One job on every runner, and two workers against one: `python -m benchmarks.runners`.

Every run is the command `ig-audit run` in a fresh process, on the same pictures with the same model. Images a
second are taken from the times at which parts appeared, over the half of them that came fastest: neither start-up,
which differs between runners and is paid once a night, nor one worker's wait for another counts.
In the second table each worker is a process with one thread for TensorFlow (`TF_NUM_INTRAOP_THREADS=1`,
`TF_NUM_INTEROP_THREADS=1`), so that another one is another core; one and two take turns. Where others use the
cores meanwhile, the clock says little, so what an image cost in processors' seconds stands beside it: twice the
cost with one worker over that with two is the ratio where each has a core to itself. Beam's own job server has a
single worker however many are asked for, and Prism's are threads of the launching process: neither is there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import table, write_json
from benchmarks.contenders.process import ROOT
from support.distributed import engines, runners
from support.distributed.engines import UnavailableError
from support.distributed.runners import ONE_THREAD
from transforms.store.run import Run

FIRST = 2
"""Parts after which processors' seconds are counted: one of each of two workers."""

Workers = Callable[[int], AbstractContextManager[list[str]]]


@dataclass(frozen=True)
class Scale:
    """How much is measured: images and midpoint steps of a job, images of a chunk, turns of each job."""

    images: int = 32
    steps: int = 16
    chunk: int = 2
    turns: int = 3


QUICK = Scale(images=6, steps=2, chunk=1, turns=1)


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        images_per_second: while half of the parts appeared.
        processor_seconds: an image took meanwhile, of the job and all its workers.
        rows: stored.
        rows_digest: of the parts' bytes and names.
        statistics_digest: of the bytes of the statistics.
    """

    images_per_second: float
    processor_seconds: float
    rows: int
    rows_digest: str
    statistics_digest: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints tables, and writes what `--json` asks for; fails where digests differ."""
    parser = argparse.ArgumentParser("python -m benchmarks.runners", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=Scale.images, help="of a job (default 32)")
    parser.add_argument("--steps", type=int, default=Scale.steps, help="an image (default 16)")
    parser.add_argument("--turns", type=int, default=Scale.turns, help="of each job (default 3)")
    parser.add_argument("--only", choices=["runners", "workers"], help="one of the two tables")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(WORKERS),
        default=list(WORKERS),
        metavar="KIND",
        help="of workers (default all)",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    options = parser.parse_args(arguments)
    scale = QUICK if options.quick else Scale(options.images, options.steps, turns=options.turns)
    missing: dict[str, str] = {}
    found, pairs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), scale)
        if options.only != "workers":
            found = in_turns({name: one(runner, job) for name, runner in runners.RUNNERS.items()}, scale.turns, missing)
            print(runners_table(found))
        if options.only != "runners":
            pairs = in_turns(
                {f"{name}|{n}": one_thread(WORKERS[name], n, job) for name in options.kinds for n in (1, 2)},
                scale.turns,
                missing,
            )
            print(workers_table(pairs))
    for name, reason in missing.items():
        print(f"{name}: not here: {reason}")
    figures = {name: [vars(each) for each in outcomes] for name, outcomes in {**found, **pairs}.items()}
    write_json(options.json, {"runs": figures, "missing": missing, "steps": scale.steps, "images": scale.images})
    if len({(each.rows_digest, each.statistics_digest) for outcomes in found.values() for each in outcomes}) > 1:
        sys.exit("digests differ")


class Job:
    """The same pictures, model and options for every runner."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        """Writes the pictures, and the model where it is missing."""
        self._folder, self._runs, self._images = folder, 0, scale.images
        # The batch is given: what a worker would choose by timing decides the last bits of a map.
        self._shape = [
            *("--rule=midpoint", f"--steps={scale.steps}", f"--chunk_images={scale.chunk}", "--batch_size=16"),
            *("--dtype=float32", "--faithfulness=0"),
        ]
        command = ["samples", f"--output={folder}/samples", f"--count={scale.images}", "--shards=2"]
        self._config = _ig_audit(command, {}).splitlines()[-1].strip()

    def run(self, flags: Sequence[str], variables: Mapping[str, str]) -> Outcome:
        """Runs it with flags for Beam and variables of the environment.

        Raises:
            RuntimeError: it failed.
        """
        self._runs += 1
        output = self._folder / f"run-{self._runs}"
        processor_seconds = self._launch(output, [f"--output={output}", *self._shape, *flags], variables)
        parts = sorted(output.glob("attributions/*.parquet"))
        manifest = Run.open(str(output)).manifest
        if manifest.images != self._images or manifest.failures:
            raise RuntimeError(f"{manifest.images} images and {manifest.failures} errors of {self._images} images")
        return Outcome(
            images_per_second=_rate(parts, manifest.images / len(parts)),
            processor_seconds=processor_seconds / (manifest.images - FIRST * manifest.images / len(parts)),
            rows=manifest.rows,
            rows_digest=_digest(parts),
            statistics_digest=_digest([output / "statistics" / "statistics.parquet"]),
        )

    def _launch(self, output: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> float:
        """Runs the command; returns what all processes under this one used between the second part and the last."""
        command = [sys.executable, "-m", "pipeline", "run", f"--config={self._config}", *arguments]
        log = output.with_suffix(".log")
        found, seconds = 0, [0.0]
        spent: dict[int, float] = {}  # a worker that has nothing more to do may end before the last part is there
        with open(log, "wb") as stream:
            process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=stream, stderr=stream)
            while process.poll() is None:
                if (now := len(list(output.glob("attributions/part-*.parquet")))) > found:
                    found = now
                    spent |= _processor_seconds(os.getpid())
                    if found >= FIRST:
                        seconds.append(sum(spent.values()))
                time.sleep(0.1)
        if process.returncode:
            raise RuntimeError(f"ig-audit run {' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")
        return seconds[-1] - seconds[1] if len(seconds) > 1 else 0.0


def in_turns(
    measures: Mapping[str, Callable[[], Outcome]], turns: int, missing: dict[str, str]
) -> dict[str, list[Outcome]]:
    """Returns what each measure gave, a value a turn; `missing` gets what cannot be had here, and why."""
    found: dict[str, list[Outcome]] = {}
    for _ in range(turns):
        for name, measure in measures.items():
            try:
                found.setdefault(name, []).append(measure())
                print(f"{name}: {found[name][-1]}", file=sys.stderr)
            except UnavailableError as error:
                missing[name.partition("|")[0]] = str(error)
    return {name: outcomes for name, outcomes in found.items() if outcomes}


def one(runner: runners.Runner, job: Job) -> Callable[[], Outcome]:
    """Returns a measure of a job on a runner."""

    def measure() -> Outcome:
        with runner({}) as flags:
            return job.run(flags, {})

    return measure


def one_thread(workers: Workers, count: int, job: Job) -> Callable[[], Outcome]:
    """Returns a measure of a job on `count` workers of one thread each."""

    def measure() -> Outcome:
        with workers(count) as flags:
            return job.run(flags, ONE_THREAD)

    return measure


@contextlib.contextmanager
def _processes(count: int) -> Iterator[list[str]]:
    yield ["--runner=FnApiRunner", f"--direct_num_workers={count}", "--direct_running_mode=multi_processing"]


WORKERS: dict[str, Workers] = {
    "FnApiRunner, processes": _processes,
    f"Flink {engines.FLINK}, TaskManagers of one slot": lambda count: runners.flink(ONE_THREAD, count),
}


def runners_table(found: Mapping[str, Sequence[Outcome]]) -> str:
    """Returns a row for each runner: its median rate, and what it stored, which every turn must agree on."""
    return table(
        [
            {
                "runner": name,
                "images/s": statistics.median(each.images_per_second for each in outcomes),
                "rows": outcomes[0].rows,
                "statistics": " ".join(sorted({each.statistics_digest[:12] for each in outcomes})),
                "parts": " ".join(sorted({each.rows_digest[:12] for each in outcomes})),
            }
            for name, outcomes in found.items()
        ]
    )


def workers_table(pairs: Mapping[str, Sequence[Outcome]]) -> str:
    """Returns a row for each kind of worker: medians of one and two, and of their ratios turn by turn."""
    rows = []
    for name in WORKERS:
        if f"{name}|2" not in pairs:
            continue
        rates = [[each.images_per_second for each in pairs[f"{name}|{count}"]] for count in (1, 2)]
        ratios = [two / one for one, two in zip(*rates, strict=True)]
        medians = {head: statistics.median(values) for head, values in zip(("one", "two"), rates, strict=True)}
        costs = [statistics.median(each.processor_seconds for each in pairs[f"{name}|{count}"]) for count in (1, 2)]
        spent = {
            "CPU s/image, one": costs[0],
            "CPU s/image, two": costs[1],
            "ratio on free cores": 2 * costs[0] / costs[1],
        }
        rows.append({"images/s with one thread each": name, **medians, "ratio": statistics.median(ratios), **spent})
    return table(rows)


def _rate(parts: Sequence[Path], images: float) -> float:
    """Returns images a second while that half of the parts appeared that came fastest."""
    times = sorted(part.stat().st_mtime for part in parts)
    half = max(1, len(times) // 2)
    return images * half / min(after - before for before, after in zip(times, times[half:], strict=False))


def _processor_seconds(root: int) -> dict[int, float]:
    """Returns what a process and each of its descendants has used so far; nothing where there is no /proc."""
    ticks, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)], ticks[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:13]))
    family = {root}
    while grown := {process for process, parent in parents.items() if parent in family} - family:
        family |= grown
    return {process: ticks[process] / os.sysconf("SC_CLK_TCK") for process in family & ticks.keys()}


def _digest(paths: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return whole.hexdigest()


def _ig_audit(arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """Returns what a command prints.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "pipeline", *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ig-audit {' '.join(arguments)} failed:\n{done.stdout[-500:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
