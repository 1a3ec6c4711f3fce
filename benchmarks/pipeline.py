"""The whole job against the bare engine, its memory, and its scaling: `python -m benchmarks.pipeline`.

Every job is the command `ig-audit run` in a fresh process. Start-up is told apart by a second, small
job: what both have in common cancels in `(images − few) / (seconds − seconds of few)`. The bare engine
is an attributor on decoded images in memory. Memory is the largest resident set of any of the job's
processes, as the kernel counts it.

At the options' defaults, and at `--effort audit`, images need different numbers of steps, so what a step costs is
compared with the compiled step alone, in full batches: by the clock, and by the seconds that the processor worked,
which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.common import table, write_json
from benchmarks.contenders.process import ROOT, Client, Setup
from pipeline.samples.photographs import crops
from transforms.core.image.decode import decode

SAMPLES = ROOT / "runs" / "samples"
SHARDS = 4
_BARE = 8
"""Images whose steps the compiled step takes alone, before and after the jobs of a turn."""

EFFORTS = {"defaults": (), "audit": ("--effort=audit",)}
PARTS = ("midpoint", "memory", *EFFORTS)
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        images: of the job that is compared with the bare engine.
        few: images of the job that tells start-up apart; 32 at least, as checks before and after it take so many.
        bare: images that the bare engine gets.
        steps: midpoint steps an image, of all three.
        turns: of job and bare engine.
        memory: (images, steps) of each job whose memory is measured.
        efforts: images of the jobs that are compared with the compiled step.
    """

    images: int = 256
    few: int = 32
    bare: int = 64
    steps: int = 50
    turns: int = 3
    efforts: int = 256
    memory: tuple[tuple[int, int], ...] = ((64, 4), (640, 4), (16, 50), (16, 512))


QUICK = Scale(images=12, few=4, bare=8, steps=8, turns=1, efforts=12, memory=((4, 4), (16, 4), (4, 16)))


@dataclass(frozen=True)
class JobRun:
    """One run of the job.

    Attributes:
        images: attributed.
        steps: midpoints of each; 0 if flags say how they are attributed.
        processes: of the job.
        seconds: from start to exit.
        peak_mib: the largest resident set of a process in MiB.
        processor: seconds that the cores worked for it.
        taken: steps of all images together.
    """

    images: int
    steps: int
    processes: int
    seconds: float
    peak_mib: float
    processor: float
    taken: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints tables, and writes what `--json` asks for."""
    options = _parse(arguments)
    scale = QUICK if options.quick else Scale(options.images, options.few, turns=options.turns, efforts=options.images)
    rows = _throughput(scale) if "midpoint" in options.only else []
    memory = [run_job(images, steps) for images, steps in scale.memory if "memory" in options.only]
    efforts = {name: _overhead(scale, flags) for name, flags in EFFORTS.items() if name in options.only}
    print(_throughput_table(rows, scale.steps) if rows else "")
    print(_memory_table(memory) if memory else "")
    print(_efforts_table(efforts) if efforts else "")
    found = {"throughput": rows, "memory": memory, "efforts": [turn for turns in efforts.values() for turn in turns]}
    write_json(options.json, {name: [vars(each) for each in some] for name, some in found.items()})


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=Scale.images, help="pictures of the large job (default 256)")
    parser.add_argument("--few", type=int, default=Scale.few, help="pictures of the small job (default 32)")
    parser.add_argument("--turns", type=int, default=Scale.turns, help="turns of engine and jobs (default 3)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="default: everything")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    return parser.parse_args(arguments)


def run_job(images: int, steps: int, beam: Sequence[str] = (), flags: Sequence[str] = ()) -> JobRun:
    """Runs `ig-audit run` on `images` sample pictures at `steps` midpoint steps, or as `flags` say; `beam` is for Beam.

    Raises:
        RuntimeError: the job failed.
    """
    config = _ig_audit("samples", f"--output={SAMPLES}", f"--count={images}", f"--shards={SHARDS}").strip()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        how = ["--rule=midpoint", f"--steps={steps}"] if steps else ["--gradient=false", *flags]
        command = [f"--config={config}", f"--output={folder}/run", *how, *beam]
        start = time.perf_counter()
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run", *command], cwd=ROOT, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(f"ig-audit run {' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        taken = pc.sum(pq.read_table(Path(folder, "run", "attributions"), columns=["steps"])["steps"]).as_py()
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    run = JobRun(
        images, steps, 2 if beam else 1, seconds, usage.ru_maxrss / unit, usage.ru_utime + usage.ru_stime, taken
    )
    print(f"{run}", file=sys.stderr)
    return run


def _ig_audit(*arguments: str) -> str:
    """Returns what a short command prints. In a process of its own, since a child's peak counts its parent's size."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass
class Throughput:
    """Figures of one way to run, a value a turn."""

    name: str
    images_per_second: list[float] = dataclasses.field(default_factory=list)
    startup: list[float] = dataclasses.field(default_factory=list)
    peak_mib: list[float] = dataclasses.field(default_factory=list)

    def add_jobs(self, few: JobRun, many: JobRun) -> None:
        """Adds a turn of a small and a large job."""
        rate = (many.images - few.images) / (many.seconds - few.seconds)
        self.images_per_second.append(rate)
        self.startup.append(few.seconds - few.images / rate)
        self.peak_mib.append(many.peak_mib)

    def over(self, other: Throughput) -> float:
        """Returns the median of the turns' ratios of images/s."""
        pairs = zip(self.images_per_second, other.images_per_second, strict=True)
        return statistics.median(own / others for own, others in pairs)


def _throughput(scale: Scale) -> list[Throughput]:
    """Returns what bare engine, job, and job in two processes reach, taking turns."""
    bare, job, two = (Throughput(name) for name in ("bare engine", "job", "job, 2 processes"))
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(_bare_engine(scale.bare, Path(folder))) as engine:
        for _ in range(scale.turns):
            bare.images_per_second.append(scale.bare / engine.seconds(0, scale.bare, scale.steps, 0))
            bare.startup.append(engine.startup)
            job.add_jobs(*(run_job(images, scale.steps) for images in (scale.few, scale.images)))
            two.add_jobs(*(run_job(images, scale.steps, TWO_PROCESSES) for images in (scale.few, scale.images)))
    return [bare, job, two]


@dataclass(frozen=True)
class Turn:
    """Milliseconds of a step, by the clock and of the processor: of the compiled step alone, and in the job."""

    bare: float
    bare_processor: float
    job: float
    job_processor: float
    images_per_second: float


def _overhead(scale: Scale, flags: Sequence[str]) -> list[Turn]:
    """Returns what a step costs in the job and alone, in turns; start-up cancels in the difference of two jobs."""
    turns = []
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(_bare_engine(_BARE, Path(folder), "bare_step")) as engine,
    ):
        for _ in range(scale.turns):
            before = engine.times(0, _BARE, scale.steps, 0)
            few, many = (run_job(images, 0, flags=flags) for images in (scale.few, scale.efforts))
            after = engine.times(0, _BARE, scale.steps, 0)
            seconds, processor = many.seconds - few.seconds, many.processor - few.processor
            alone = [1e3 * (one + other) / 2 / (_BARE * scale.steps) for one, other in zip(before, after, strict=True)]
            steps = (many.taken - few.taken) / 1e3
            rate = (many.images - few.images) / seconds
            turns.append(Turn(*alone, seconds / steps, processor / steps, rate))
            print(f"{' '.join(flags)} {turns[-1]}", file=sys.stderr)
    return turns


def _efforts_table(efforts: Mapping[str, Sequence[Turn]]) -> str:
    """Returns medians over the turns."""

    def middle(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> str:
        return f"{statistics.median(map(figure, turns)):.3f}"

    return table(
        [
            {
                "job at": name,
                "images/s": middle(turns, lambda turn: turn.images_per_second),
                "ms of the processor a step": middle(turns, lambda turn: turn.job_processor),
                "bare": middle(turns, lambda turn: turn.bare_processor),
                "over bare": middle(turns, lambda turn: turn.bare_processor / turn.job_processor),
                "over bare by the clock": middle(turns, lambda turn: turn.bare / turn.job),
            }
            for name, turns in efforts.items()
        ]
    )


def _bare_engine(count: int, folder: Path, module: str = "attributor") -> Client:
    """Returns a process with the model and `count` pictures in memory; which class it explains costs nothing."""
    _ig_audit("samples", f"--output={SAMPLES}")
    np.save(folder / "images.npy", np.stack([decode(sample.data, (224, 224)).array for sample in crops(count)]))
    setup = Setup(
        images=str(folder / "images.npy"),
        targets=(0,) * count,
        saved_model=str(SAMPLES / "efficientnet-lite0"),
    )
    return Client(module, sys.executable, setup, folder / f"{module}.log")


def _throughput_table(rows: Sequence[Throughput], steps: int) -> str:
    """Returns medians over the turns; the first row is the bare engine."""
    return table(
        [
            {
                f"{steps} midpoint steps": row.name,
                "images/s": f"{statistics.median(row.images_per_second):.3f}",
                "over bare": f"{row.over(rows[0]):.3f}",
                "start-up s": f"{statistics.median(row.startup):.1f}",
                "peak MiB": f"{statistics.median(row.peak_mib):.0f}" if row.peak_mib else "",
            }
            for row in rows
        ]
    )


def _memory_table(runs: Sequence[JobRun]) -> str:
    """Returns the peak of each job, and its ratio to the job before where only images or only steps differ."""
    rows = [
        {"images": run.images, "steps": run.steps, "peak MiB": run.peak_mib, "seconds": run.seconds} for run in runs
    ]
    lines = [
        f"peak of {other.images} × {other.steps} over {run.images} × {run.steps}: {other.peak_mib / run.peak_mib:.3f}"
        for run, other in itertools.pairwise(runs)
        if (run.images == other.images) != (run.steps == other.steps)
    ]
    return "\n".join([table(rows), *lines])


if __name__ == "__main__":
    main()
