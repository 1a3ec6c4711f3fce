"""The command line: `ig-audit run · compare · report · verify · show · samples`.

Exit codes: 0 fine · 1 the job failed · 2 unusable options or input · 3 drift · 4 more failing images
than `max_error_rate`. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from pipeline import config
from transforms import __version__

FINE, FAILED, UNUSABLE, DRIFT, TOO_MANY_ERRORS = 0, 1, 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; no traceback unless IG_AUDIT_DEBUG is set."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not _run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return options.command(options, rest)
    except KeyboardInterrupt:
        print("ig-audit: interrupted; the same command with --resume goes on", file=sys.stderr)
        return FAILED
    except Exception as error:
        unusable = isinstance(error, ValueError | FileNotFoundError)
        if os.environ.get("IG_AUDIT_DEBUG"):
            traceback.print_exc()
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"ig-audit: {line}", file=sys.stderr)
        return UNUSABLE if unusable else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ig-audit", description="What does an image classifier look at, and has that changed?", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"ig-audit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = _command(commands, "run", _run, "attribute every image of some shards into a run directory")
    config.add_arguments(run)
    run.epilog = "Every other flag goes to Beam: --runner=FlinkRunner, --direct_num_workers=2, …"

    compare = _command(commands, "compare", _compare, "judge a run by what its reference does to itself")
    compare.add_argument("candidate", help="run directory")
    compare.add_argument("reference", nargs="+", help="run directories, or folders of nights, taken together")
    compare.add_argument("--json", metavar="FILE", help="write what was found, as pipeline/audit.schema.json has it")
    _add_judging(compare)

    verify = _command(commands, "verify", _verify, "recompute a run's statistics from its rows and compare exactly")
    verify.add_argument("run", help="run directory")

    show = _command(commands, "show", _show, "draw one image's attribution from stored data")
    show.add_argument("run", help="run directory")
    show.add_argument("image_id")
    show.add_argument("-o", "--output", required=True, metavar="FILE.png")
    show.add_argument("--target", type=int, help="class index, where several were attributed (default: the highest)")
    show.add_argument(
        "--kind",
        default="tutorial",
        help="tutorial (default: original, baseline, mask, overlay), mask, overlay, signed, polarity, outlines, "
        "interpolation, saturation or gradient",
    )
    show.add_argument("--cmap", help="matplotlib colour map (default inferno; of signed maps coolwarm)")
    show.add_argument("--alpha", type=float, default=0.4, help="weight of the picture in the overlay (default 0.4)")
    show.add_argument("--percentile", type=float, default=99.0, help="of values, shown at full intensity (default 99)")
    show.add_argument("--polarity", default="both", help="attributions that count: both (default), positive, negative")
    show.add_argument("--clip_above", type=float, help="percentile of mass at full intensity, in polarity and outlines")
    show.add_argument("--clip_below", type=float, help="percentile of mass that is left out there")
    show.add_argument("--clean", action=argparse.BooleanOptionalAction, help="close gaps and remove specks there")

    report = _command(commands, "report", _report, "write a run's report: one HTML file that needs nothing else")
    report.add_argument("run", help="run directory")
    report.add_argument("-o", "--output", metavar="FILE.html", help="default: report.html in the run directory")
    report.add_argument("--reference", nargs="+", metavar="RUN", help="compare with these runs, or folders of nights")
    _add_judging(report)

    samples = _command(commands, "samples", _samples, "make a small real model and image shards to try things on")
    samples.add_argument("--output", required=True, metavar="FOLDER")
    samples.add_argument("--format", default="webdataset", choices=("webdataset", "tfrecord", "parquet", "files"))
    samples.add_argument(
        "--count", type=int, help="pictures: seeded crops and flips; default: the photographs themselves"
    )
    samples.add_argument("--shards", type=int, default=2)
    samples.add_argument("--seed", type=int, default=0)
    samples.add_argument("--gzip", action="store_true", help="compress the shards (tfrecord only)")
    return parser


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--thresholds", default="", metavar="FILE", help="YAML of what counts as a change")
    parser.add_argument("--nights", type=int, default=0, metavar="N", help="take the latest N references (default all)")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    function: Callable[[argparse.Namespace, list[str]], int],
    help: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.set_defaults(command=function)
    return parser


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    flags = {name: value for name, value in vars(options).items() if name != "command"}
    audit = config.load(flags)
    logging.getLogger().setLevel(logging.ERROR)  # before Beam is imported, which warns of extras that are not installed
    from pipeline.launch import prepare

    job = prepare(audit)
    import grpc

    from pipeline.run import run

    try:
        return run(job, rest)
    except grpc.FutureTimeoutError:  # has no message of its own
        raise RuntimeError("no job server answered: is it up, and --job_endpoint its address?") from None


def _compare(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline.compare import compare, write_audit
    from pipeline.thresholds import load_thresholds

    audit = compare(options.candidate, options.reference, load_thresholds(options.thresholds), options.nights)
    if options.json:
        write_audit(audit, options.json)
    print(audit)
    return audit.verdict.exit_code


def _verify(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline.verify import verify
    from transforms import memory

    memory.return_freed()
    findings = verify(options.run)
    for finding in findings:
        print(finding)
    if not findings:
        print(f"{options.run}: every part is as the manifest says, and the rows give the same statistics to the bit")
    return FAILED if findings else FINE


def _show(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline.pictures import Look
    from pipeline.show import show

    look = Look(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Look)})
    show(options.run, options.image_id, options.output, options.target, options.kind, look)
    print(options.output)
    return FINE


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline.compare import compare
    from pipeline.report import write_report
    from pipeline.thresholds import load_thresholds

    audit = None
    if options.reference:
        audit = compare(options.run, options.reference, load_thresholds(options.thresholds), options.nights).to_json()
    print(write_report(options.run, options.output, audit))
    return FINE


def _samples(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline.samples.cache import make_samples

    samples = make_samples(options.output, options.format, options.count, options.shards, options.seed, options.gzip)
    print(samples.config)
    return FINE
