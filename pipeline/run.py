"""Runs a checked job on a runner, shows its progress, and reports the result."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from tqdm import tqdm

from pipeline import worker_errors
from pipeline.audit.compare import compare_with, look
from pipeline.audit.findings import tell
from pipeline.audit.record import write_audit
from pipeline.audit.thresholds import load_thresholds
from pipeline.config import AuditConfig
from pipeline.effort import EFFORTS, words_of
from pipeline.exit_code import ExitCode, report_error
from pipeline.graph import define_pipeline
from pipeline.launch import Job, resumes
from pipeline.names import explained_name
from pipeline.precision import quadrature_variance
from pipeline.refine.command import refine_held
from pipeline.refine.request import Request
from pipeline.report import write_report
from pipeline.sampling import explain
from transforms import process, store
from transforms.core.errors import JobError
from transforms.progress import Gauge, Meter, Progress
from transforms.store import lock
from transforms.store.run import AUDIT, Run
from transforms.store.sampling import write_plan
from transforms.text import pad, printable
from transforms.worker import AttributorSpec

_LOCAL = "FnApiRunner"
_LINE_SECONDS = 10.0
_TABLE_ROWS = 12


def run(job: Job, beam_arguments: list[str]) -> ExitCode:
    """Runs `job`; returns its exit code, FAILED too if only the comparison or the report failed.

    Args:
        job: a checked run.
        beam_arguments: flags for Beam that `beam_flags.check` accepts. Without a runner, or with DirectRunner
            (which would look for a binary to download), the job runs in this process.

    Raises:
        InUseError: another run writes into the same directory.
        OSError: the directory cannot be written.
        JobError: the job failed.
    """
    options = _beam_options(beam_arguments)
    if job.passed_over:
        print(_passed_over(job.passed_over), file=sys.stderr)
    for line in job.spec.facts.lines() if job.spec.facts else ():
        print(line, file=sys.stderr)
    if job.config.effort != EFFORTS[0]:
        facts = job.config.effort_facts()
        print(f"effort {facts['effort']}: {words_of(facts['set'])}", file=sys.stderr)
    planned = explain(job.plan) if job.plan else []
    for note in (*job.notes, *(job.reuse.lines() if job.reuse else ()), *planned):
        print(printable(note), file=sys.stderr)
    with lock.hold(job.config.output) as held:
        resumes(job.config, job.provenance)  # another run may have finished here since this one was checked
        write_plan(job.config.output, job.plan)
        start = time.monotonic()
        try:
            finished = _run(job, options, held)
        except BaseException:
            with contextlib.suppress(Exception):  # the next run would do it too
                held.check()
                store.delete_strays(job.config.output)
            raise
        if finished is None:
            print(f"submitted; results will be in {job.config.output}")
            return ExitCode.FINE
        refined = job.spec if _is_local(options) else None
        return _conclude(job.config, finished, held, start, refined)


def _run(job: Job, options: PipelineOptions, held: lock.Lock) -> Run | None:
    """Returns the finished run when the job is done; None as soon as it is submitted, if it is not waited for."""
    local = _is_local(options)
    with _meter(local) as meter:
        pipeline = beam.Pipeline(_local_runner(options) if local else None, options)
        define_pipeline(pipeline, job, meter, held.run)
        submits = not local and options.view_as(StandardOptions).no_wait_until_finish
        if submits:
            held.submit()  # first: the job may end, and unlock, before this process continues
        with worker_errors.plain_errors(local):
            result = pipeline.run()
            if submits:
                return None
            result.wait_until_finish()
            finished = Run.open(job.config.output)
            if not finished.is_finished:
                raise JobError(f"{finished.uri}: the job has ended, but wrote no manifest")
            return finished


def _is_local(options: PipelineOptions) -> bool:
    return bool(options.view_as(StandardOptions).runner == _LOCAL)


def _local_runner(options: PipelineOptions) -> FnApiRunner:
    """Returns Beam's runner for this machine; its worker processes, if any, ignore Ctrl-C, which this one handles."""
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return FnApiRunner()
    process.return_freed()  # models are in other processes
    direct.direct_running_mode = "in_memory"  # otherwise the runner would replace this command with its own
    command = f"trap '' INT; exec {shlex.quote(sys.executable)} -m {worker_errors.WORKER}"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))


@dataclass(frozen=True)
class _Step:
    """What follows a job: its function, the command that does the same later, and whether it may fail."""

    take: Callable[[], ExitCode]
    command: list[str]
    optional: bool = False


def _conclude(
    config: AuditConfig, finished: Run, held: lock.Lock, start: float, spec: AttributorSpec | None = None
) -> ExitCode:
    """Shows, compares, refines and reports the run, which is complete even if one fails; returns the exit code.

    Args:
        config: the run's options.
        finished: the run.
        held: its lock.
        start: when the job was started, by the monotonic clock.
        spec: what made its maps, if those that the report shows may be refined in this process.
    """
    told: list[str] = []
    judging = "compare" if config.reference else "report"
    steps = [
        _Step(lambda: _show_table(finished), ["verify", config.output]),
        _Step(lambda: _judge(config, finished, told), [judging, config.output, *config.reference]),
        _Step(lambda: _refine(finished, spec, held), ["refine", config.output, "--report"], optional=True),
        _Step(lambda: _report(finished), ["report", config.output]),
    ]
    codes = []
    for step in steps:
        try:
            held.check()
            codes.append(step.take())
        except JobError:  # the lock is lost
            raise
        except Exception as error:
            code = report_error(error)
            if not step.optional:  # the job could write, so an error of the store is a failure
                codes.append(ExitCode.FAILED if isinstance(error, OSError) else code)
            print(f"ig-audit: the run is complete; continue with: ig-audit {shlex.join(step.command)}", file=sys.stderr)
    for line in finished.manifest.suspicions:
        print(f"suspicious: {printable(line)}", file=sys.stderr)
    print("\n".join([_summary(finished, time.monotonic() - start), *told]))
    manifest = finished.manifest
    share = manifest.failures / max(1, manifest.images)
    if share > config.max_error_rate:
        print(f"{share:.1%} of the images failed, more than max_error_rate allows", file=sys.stderr)
        codes.append(ExitCode.TOO_MANY_ERRORS)
    if not manifest.rows:
        print(f"{config.output}: {_without_rows(finished)}", file=sys.stderr)
        codes.append(ExitCode.TOO_MANY_ERRORS)
    return ExitCode.first(*codes)


def _without_rows(finished: Run) -> str:
    if not finished.manifest.images:
        return "the input held no image at all, so there is nothing to look at"
    return "no image could be attributed, so there is nothing to look at; the run's errors say why"


def _show_table(finished: Run) -> ExitCode:
    print(_table(finished))
    return ExitCode.FINE


def _judge(config: AuditConfig, finished: Run, told: list[str]) -> ExitCode:
    """Searches and, if it has a reference, compares the run, and writes the result; adds findings to `told`."""
    if not config.reference:
        found = look(finished)
        write_audit(found, finished.uri_of(AUDIT))
        told += tell(found.findings, found.searched)
        return ExitCode.FINE
    audit = compare_with(finished, config.reference, config.nights, load_thresholds(config.thresholds))
    print(audit)
    write_audit(audit, finished.uri_of(AUDIT))
    told += tell(audit.findings, audit.searched)
    return audit.verdict.exit_code


def _refine(finished: Run, spec: AttributorSpec | None, held: lock.Lock) -> ExitCode:
    """Adds converged maps of the pictures that the report will show, if the run has none or those of few steps."""
    few = finished.manifest.provenance.config.get("rule") == "shifted"
    if spec and finished.manifest.rows and (few or not finished.stores_maps):
        refine_held(finished, Request(report=True), spec, held)
    return ExitCode.FINE


def _report(finished: Run) -> ExitCode:
    write_report(Run.open(finished.uri))  # with the verdict, if there is one, and the refined maps
    return ExitCode.FINE


def _beam_options(arguments: list[str]) -> PipelineOptions:
    """Returns Beam's options; the local runner is the default."""
    options = PipelineOptions(arguments)
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = _LOCAL
    return options


@contextlib.contextmanager
def _meter(local: bool) -> Iterator[Meter]:
    """Yields a meter; shows its counts until the job is done."""
    if not local:
        yield Meter()
        return
    with tempfile.TemporaryDirectory(prefix="ig-audit-", ignore_cleanup_errors=True) as folder:
        meter, done = Meter(folder), threading.Event()
        shower = threading.Thread(target=_show, args=(meter, done), daemon=True)
        shower.start()
        try:
            yield meter
        finally:
            done.set()
            shower.join()


def _show(meter: Meter, done: threading.Event) -> None:
    """Shows progress: a bar on a terminal, otherwise a line every few seconds."""
    terminal, gauge = sys.stderr.isatty(), Gauge(meter)
    start, told, told_count = time.monotonic(), -_LINE_SECONDS, 0
    with tqdm(total=0, unit="image", disable=not terminal, dynamic_ncols=True, smoothing=0.1) as bar:
        while True:
            last = done.wait(0.5 if terminal else 1.0)
            progress = gauge.read()
            count = progress.done
            bar.total = progress.planned
            bar.update(count - bar.n)
            done_here = progress.done_here
            if not done_here:
                start = time.monotonic()  # the time to load the model does not count for the rate
            seconds = time.monotonic() - start
            if not terminal and last and progress.reused and not done_here:
                print(_counts(progress), file=sys.stderr)
            if not terminal and done_here and (seconds - told >= _LINE_SECONDS or (last and count > told_count)):
                told, told_count = seconds, count
                rate = done_here / max(seconds, 1e-9)
                left = (progress.planned - count) / rate
                print(f"{_counts(progress)}, {rate:.2f}/s, {left:.0f} s left", file=sys.stderr)
            if last:
                return


def _counts(progress: Progress) -> str:
    """Returns how many images are done, and how many of them cost nothing."""
    kinds = {"reused": progress.reused, "not sampled": progress.unsampled}
    free = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{progress.done} of {progress.planned} images{f' ({free})' if free else ''}"


def _passed_over(counts: Mapping[str, int]) -> str:
    """Returns a line about the files that the input's folders hold beside images and shards, most of a kind first."""
    kinds = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    files = "file" if sum(counts.values()) == 1 else "files"
    return f"passed over {sum(counts.values())} {files}: {', '.join(f'{count} {kind}' for kind, count in kinds)}"


def _table(finished: Run) -> str:
    """Returns the first few rows as text."""
    named = ("image_id", "target", "target_name", "target_rank")
    columns = (*named, "score", "convergence_delta", "error_estimate", "steps")
    lines = [f"{'picture':32} {'attributed class':28} {'score':>8} {'delta':>9} {'error':>6} {'steps':>5}"]
    for row in finished.first_rows(_TABLE_ROWS, columns):
        target = pad(explained_name(row), 28)
        lines.append(
            f"{pad(row['image_id'], 32)} {target} {row['score']:8.4f} "
            f"{row['convergence_delta']:+9.5f} {_error(row)} {row['steps']:5d}"
        )
    if finished.manifest.rows > _TABLE_ROWS:
        lines.append(f"… and {finished.manifest.rows - _TABLE_ROWS} more rows")
    return "\n".join(lines)


def _error(row: Mapping[str, Any]) -> str:
    """Returns a map's estimated error; a dash if its rule estimates none."""
    error = row["error_estimate"]
    return f"{'–':>6}" if error is None else f"{error:6.3f}"


def _summary(finished: Run, seconds: float) -> str:
    output, manifest = finished.uri, finished.manifest
    whole_input = manifest.facts.get("sample_of")
    sampled = f" (a sample of {whole_input})" if whole_input is not None else ""
    lines = [
        f"{manifest.images} images{sampled}: {manifest.rows} rows, {manifest.failures} errors, in {seconds:.1f} s",
        f"  attributions  {output}/attributions/",
        f"  statistics    {output}/statistics/statistics.parquet",
        f"  manifest      {output}/manifest.json",
        f"  report        {output}/report.html",
    ]
    if reuse := manifest.facts.get("reuse"):
        lines.insert(1, f"  reused        {printable(_reused(reuse, len(manifest.parts)))}")
    if manifest.labels:
        lines.insert(1, f"  labels        {printable(str(manifest.labels))}")
    if manifest.unsampled:
        read = manifest.images + manifest.unsampled
        lines.insert(1, f"  not sampled   {manifest.unsampled:,} of {read:,} images, read and not attributed")
    if manifest.untargeted:
        lines.insert(1, f"  untargeted    {manifest.untargeted:,} images without a class to explain; see errors")
    if manifest.failures or manifest.untargeted:
        lines.insert(-3, f"  errors        {output}/errors/")
    if precision := quadrature_variance(finished):
        lines.append(f"  precision     {precision.sentence}")
    return "\n".join(lines)


def _reused(facts: Mapping[str, Any], chunks: int) -> str:
    """Returns where the chunks of a run come from.

    >>> _reused({"chunks": 29, "images": 870, "runs": {"runs/a": 29}, "computed": {"new": 1}, "resumed": 0}, 30)
    '29 of 30 chunks (870 images): 29 of runs/a; computed: 1 new'
    """
    taken = ", ".join(f"{count:,} of {run}" for run, count in facts["runs"].items())
    others = [f"computed: {', '.join(f'{count:,} {why}' for why, count in facts['computed'].items())}"]
    others = (others if facts["computed"] else []) + [f"resumed: {facts['resumed']:,}"] * bool(facts["resumed"])
    text = f"{facts['chunks']:,} of {chunks:,} chunks ({facts['images']:,} images)"
    return "; ".join([f"{text}: {taken}" if taken else text, *others])
