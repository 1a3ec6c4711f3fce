"""Runs a checked job on a runner, shows how far it is, and says what came out."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from tqdm import tqdm

from pipeline import worker_errors
from pipeline.compare import AUDIT, compare, write_audit
from pipeline.config import AuditConfig
from pipeline.graph import define_pipeline
from pipeline.launch import Job, goes_on
from pipeline.report import write_report
from pipeline.thresholds import load_thresholds
from transforms import process, storage, store
from transforms.progress import Gauge, Meter
from transforms.store import lock

_LOCAL = "FnApiRunner"
_LINE_SECONDS = 10.0
_TABLE_ROWS = 12


def run(job: Job, beam_arguments: list[str]) -> int:
    """Runs `job`; returns the exit code: 0, 4 where too many images failed, or 3 where it drifted from its reference.

    Args:
        job: a checked run.
        beam_arguments: flags for Beam that `beam_flags.check` takes. Without a runner, or with DirectRunner
            (which would look for a binary to download), the job runs in this process.

    Raises:
        InUseError: another run writes into the same directory.
        RuntimeError: the job failed.
        ValueError: the run can't be compared with its reference.
    """
    options = _beam_options(beam_arguments)
    with lock.hold(job.config.output) as held:
        goes_on(job.config, job.provenance)  # another run may have ended here since this one was checked
        return _run(job, options, held)


def _run(job: Job, options: PipelineOptions, held: lock.Lock) -> int:
    local = options.view_as(StandardOptions).runner == _LOCAL
    if local and options.view_as(DirectOptions).direct_running_mode == "multi_processing":
        process.return_freed()  # models are in other processes
    start = time.monotonic()
    with _meter(local) as meter:
        pipeline = beam.Pipeline(options=options)
        define_pipeline(pipeline, job, meter)
        submits = not local and options.view_as(StandardOptions).no_wait_until_finish
        if submits:
            held.submit()  # first: the job may end, and unlock, before this process goes on
        with worker_errors.told_plainly(local):
            result = pipeline.run()
            if submits:
                print(f"submitted; results will be in {job.config.output}")
                return 0
            result.wait_until_finish()
    manifest = store.read_manifest(job.config.output)
    print(_table(job.config.output, manifest))
    try:
        verdict = _judge(job.config) if job.config.reference else 0
    finally:
        write_report(job.config.output)  # tells of the verdict too
        print(_summary(job.config.output, manifest, time.monotonic() - start))
    share = manifest.failures / max(1, manifest.images)
    if share > job.config.max_error_rate:
        print(f"{share:.1%} of the images failed, more than max_error_rate allows", file=sys.stderr)
        return 4
    return verdict


def _judge(config: AuditConfig) -> int:
    """Compares the finished run with its reference, and writes what was found into it; returns the exit code."""
    audit = compare(config.output, config.reference, load_thresholds(config.thresholds), config.nights)
    write_audit(audit, storage.join(config.output, AUDIT))
    print(audit)
    return audit.verdict.exit_code


def _beam_options(arguments: list[str]) -> PipelineOptions:
    """Returns Beam's options."""
    options = PipelineOptions(arguments)
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = _LOCAL
    return options


@contextlib.contextmanager
def _meter(local: bool) -> Iterator[Meter]:
    """Yields a meter, and shows what it reads until the job is done."""
    if not local:
        yield Meter()
        return
    with tempfile.TemporaryDirectory(prefix="ig-audit-") as folder:
        meter, done = Meter(folder), threading.Event()
        shower = threading.Thread(target=_show, args=(meter, done), daemon=True)
        shower.start()
        try:
            yield meter
        finally:
            done.set()
            shower.join()


def _show(meter: Meter, done: threading.Event) -> None:
    """Shows progress: a bar on a terminal, a line now and then elsewhere."""
    terminal, gauge = sys.stderr.isatty(), Gauge(meter)
    start, told, told_count = time.monotonic(), -_LINE_SECONDS, 0
    with tqdm(total=0, unit="image", disable=not terminal, dynamic_ncols=True, smoothing=0.1) as bar:
        while True:
            last = done.wait(0.5 if terminal else 1.0)
            progress = gauge.read()
            count = progress.attributed + progress.failed + progress.resumed
            bar.total = progress.planned
            bar.update(count - bar.n)
            done_here = progress.attributed + progress.failed
            if not done_here:
                start = time.monotonic()  # loading the model says nothing about the rate
            seconds = time.monotonic() - start
            if not terminal and done_here and (seconds - told >= _LINE_SECONDS or (last and count > told_count)):
                told, told_count = seconds, count
                rate = done_here / max(seconds, 1e-9)
                left = (progress.planned - count) / rate
                print(f"{count} of {progress.planned} images, {rate:.2f}/s, {left:.0f} s left", file=sys.stderr)
            if last:
                return


def _table(output: str, manifest: store.Manifest) -> str:
    """Returns the first few rows as text."""
    columns = ("image_id", "target_name", "score", "convergence_delta", "error_estimate", "steps")
    lines = [f"{'picture':32} {'attributed class':28} {'score':>8} {'delta':>9} {'error':>6} {'steps':>5}"]
    for row in store.first_rows(output, manifest.parts, columns, _TABLE_ROWS):
        lines.append(
            f"{_fit(row['image_id'], 32)} {_fit(row['target_name'], 28)} {row['score']:8.4f} "
            f"{row['convergence_delta']:+9.5f} {row['error_estimate']:6.3f} {row['steps']:5d}"
        )
    if manifest.rows > _TABLE_ROWS:
        lines.append(f"… and {manifest.rows - _TABLE_ROWS} more rows")
    return "\n".join(lines)


def _fit(text: str, width: int) -> str:
    """Returns printable text of exactly `width` characters; the end of a long one tells pictures apart."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean.ljust(width) if len(clean) <= width else "…" + clean[1 - width :]


def _summary(output: str, manifest: store.Manifest, seconds: float) -> str:
    lines = [
        f"{manifest.images} images: {manifest.rows} rows, {manifest.failures} errors, in {seconds:.1f} s",
        f"  attributions  {output}/attributions/",
        f"  statistics    {output}/statistics/statistics.parquet",
        f"  manifest      {output}/manifest.json",
        f"  report        {output}/report.html",
    ]
    if manifest.failures:
        lines.insert(2, f"  errors        {output}/errors/")
    return "\n".join(lines)
