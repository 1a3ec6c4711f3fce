"""The command line: `ig-audit check · run · refine · compare · monitor · report · verify · show · samples`.

Exit codes are those of `exit_code`. Each command imports its modules only when it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline import beam_flags, config
from pipeline.command_line import (
    CommandParser,
    examples,
    number,
    output_file,
    output_folder,
    text,
    whole,
    write_problem,
)
from pipeline.exit_code import ExitCode, report_error
from pipeline.refine import request as requests
from transforms import __version__, process
from transforms.core.errors import JobError, UsageError
from transforms.core.vocabulary import INPUT_FORMATS
from transforms.text import printable

if TYPE_CHECKING:
    from pipeline.audit.record import Audit
    from transforms.store.run import Run

_CLIPPED = ("polarity", "outlines")
_FIRST_STEPS = (
    "ig-audit samples --output samples",
    "ig-audit run --config samples/config.yaml --output runs/first",
)
_OF_NO_USE = ("pandas", "pymongo")
"""What Beam imports if it is there, for a second, and a run makes no use of."""
_NIGHTLY = (
    "ig-audit run --config audit.yaml --input 'gs://photos/*.tfrecord' \\",
    "    --model gs://models/candidate --pixels signed --class_names names.txt \\",
    "    --output 'gs://audits/nights/{date}' --reference gs://audits/approved \\",
    "    --resume",
)


def main(arguments: Sequence[str] | None = None) -> ExitCode:
    """Runs one command and returns its exit code; prints no traceback unless IG_AUDIT_DEBUG is set.

    >>> main(["verify", "runs/first"])  # doctest: +SKIP
    <ExitCode.FINE: 0>
    """
    try:
        with process.steady_output():
            return _main(arguments)
    except OSError as error:  # raised by printing: the output is lost, and the command may have stopped halfway
        return report_error(JobError(f"standard output: {error}"))


def _main(arguments: Sequence[str] | None) -> ExitCode:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in (_run, _check):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        with process.ending_by_signals():
            return options.command(options, rest)
    except KeyboardInterrupt as interruption:
        hints = {_run: "; the same command with --resume continues", _refine: "; the same command continues"}
        hint = hints.get(options.command, "")
        print(f"ig-audit: interrupted{f' ({interruption})' if str(interruption) else ''}{hint}", file=sys.stderr)
        return ExitCode.FAILED
    except Exception as error:
        return report_error(error)


def _parser() -> CommandParser:
    parser = CommandParser(
        "ig-audit",
        description="Which pixels does an image classifier use, and has that changed?",
        epilog="`ig-audit COMMAND --help` shows a command's options and examples.\n\n" + examples(*_FIRST_STEPS),
    )
    parser.add_argument("--version", action="version", version=f"ig-audit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(_command(commands, "run", _run, "attribute every image of the input, and write a run directory"))
    _add_check(_command(commands, "check", _check, "look at the input and the model, and estimate the cost of a run"))
    requests.add_arguments(_command(commands, "refine", _refine, "add converged maps to a finished run"))
    _add_compare(_command(commands, "compare", _compare, "compare a run with approved runs"))
    _add_monitor(_command(commands, "monitor", _monitor, "add up the evidence of a folder of nights"))
    _add_verify(_command(commands, "verify", _verify, "recompute a run's statistics from its rows and compare exactly"))
    _add_show(_command(commands, "show", _show, "draw one image's attribution from stored data"))
    _add_report(_command(commands, "report", _report, "write a run's report: one self-contained HTML file"))
    _add_samples(_command(commands, "samples", _samples, "write a small real model and image shards to start with"))
    for each in commands.choices.values():
        each.commands = commands.choices
    return parser


def _add_run(run: CommandParser) -> None:
    run.usage = "ig-audit run --input URI [URI ...] --model URI --output DIR [OPTION ...]"
    run.passed_on = beam_flags.names
    config.add_arguments(run)
    run.epilog = (
        "Every option can also be set in the YAML file given by --config. Unrecognized\n"
        "flags are passed to Beam: --runner=FlinkRunner, --direct_num_workers=2, …\n\n"
    ) + examples(*_FIRST_STEPS, *_NIGHTLY)


def _add_check(check: CommandParser) -> None:
    check.usage = "ig-audit check --input URI [URI ...] --model URI [OPTION ...]"
    check.passed_on = beam_flags.names
    config.add_arguments(check)
    check.add_argument(
        "--json", type=output_file, nargs="?", const="-", metavar="FILE", help="print JSON, or also write it to a file"
    )
    check.add_argument(
        "--interval",
        type=number("above 0 and below 1", lambda value: 0 < value < 1),
        metavar="FLOAT",
        help="say what it costs to know the mean share of a class's largest cell to plus or minus this (95 %%)",
    )
    check.add_argument("--layers", action="store_true", help="only list the layers that --layer can name")
    check.epilog = (
        "Takes the options of a run; makes no use of --output and Beam's flags.\n"
        "Looks at some of the images only, writes nothing, and exits with 0 or 2.\n\n"
    ) + examples(
        "ig-audit check --config samples/config.yaml",
        "ig-audit check --input photos --model net.keras --json",
        "ig-audit check --model net.keras --layers",
    )


def _add_compare(compare: CommandParser) -> None:
    compare.add_argument("candidate", type=text, metavar="CANDIDATE", help="run directory")
    compare.add_argument(
        "reference",
        type=text,
        metavar="REFERENCE",
        nargs="+",
        help="run directories, or folders of them, pooled",
    )
    compare.add_argument("--json", type=output_file, metavar="FILE", help="also write the result as JSON")
    _add_labels(compare)
    _add_judging(compare)
    compare.epilog = examples("ig-audit compare runs/candidate runs/approved --json audit.json")


def _add_monitor(monitor: CommandParser) -> None:
    monitor.add_argument(
        "folder", type=text, metavar="FOLDER", help="folder of run directories, each with an audit.json"
    )
    monitor.add_argument(
        "--false_alarms_per_year",
        type=number("above 0 and at most 365", lambda value: 0 < value <= 365),
        default=1.0,
        metavar="FLOAT",
        help="how many false alarms there may be on average in 365 nights without a change (default 1)",
    )
    monitor.add_argument("--json", type=output_file, metavar="FILE", help="also write the result as JSON")
    monitor.epilog = examples("ig-audit monitor runs/nights --json monitor.json")


def _add_verify(verify: CommandParser) -> None:
    verify.add_argument("run", type=text, metavar="RUN", help="run directory")
    verify.epilog = examples("ig-audit verify runs/first")


def _add_show(show: CommandParser) -> None:
    show.add_argument("run", type=text, metavar="RUN", help="run directory")
    show.add_argument("image_id", type=text, metavar="IMAGE_ID", help="as in the column image_id of the run")
    show.add_argument("-o", "--output", required=True, type=output_file, metavar="FILE.png", help="required")
    show.add_argument(
        "--target", type=whole(0), metavar="INT", help="class index, if several were attributed (default: the highest)"
    )
    show.add_argument(
        "--kind",
        default="tutorial",
        metavar="KIND",
        help="tutorial (default: original, baseline, mask, overlay), mask, overlay, signed, polarity, outlines, "
        "interpolation, saturation or gradient",
    )
    show.add_argument(
        "--cmap", type=text, metavar="NAME", help="matplotlib color map (default inferno; of signed maps coolwarm)"
    )
    show.add_argument(
        "--alpha",
        type=number("from 0 to 1", lambda value: 0 <= value <= 1),
        default=0.4,
        metavar="FLOAT",
        help="weight of the image in the overlay (default 0.4)",
    )
    show.add_argument(
        "--percentile",
        type=number("above 0 and at most 100", lambda value: 0 < value <= 100),
        default=99.0,
        metavar="FLOAT",
        help="percentile of the values that is shown at full intensity (default 99)",
    )
    show.add_argument(
        "--polarity", default="both", metavar="NAME", help="attributions to show: both (default), positive, negative"
    )
    show.add_argument(
        "--clip_above",
        type=number("above 0 and at most 100", lambda value: 0 < value <= 100),
        metavar="FLOAT",
        help="percentile of mass at full intensity, for polarity (default 99) and outlines (default 95)",
    )
    show.add_argument(
        "--clip_below",
        type=number("of at least 0 and below 100", lambda value: 0 <= value < 100),
        metavar="FLOAT",
        help="percentile of mass that is left out, for the same kinds (default 0 and 28)",
    )
    show.add_argument("--clean", action=argparse.BooleanOptionalAction, help="close gaps and remove specks")
    show.epilog = examples(
        "ig-audit show runs/first 'samples-00000-of-00002.tar#chelsea' -o cat.png",
        "ig-audit show runs/first photos/cat.jpg -o outlines.png --kind outlines",
    )


def _add_report(report: CommandParser) -> None:
    report.add_argument("run", type=text, metavar="RUN", help="run directory")
    report.add_argument(
        "-o", "--output", type=output_file, metavar="FILE.html", help="default: report.html in the run directory"
    )
    report.add_argument(
        "--reference", type=text, nargs="+", metavar="RUN", help="runs, or folders of runs, to compare with"
    )
    _add_labels(report)
    _add_judging(report)
    report.epilog = examples("ig-audit report runs/candidate --reference runs/approved -o candidate.html")


def _add_samples(samples: CommandParser) -> None:
    samples.add_argument("--output", required=True, type=output_folder, metavar="DIR", help="required")
    samples.add_argument(
        "--format",
        default="webdataset",
        choices=INPUT_FORMATS,
        metavar="NAME",
        help=f"format of the shards: {', '.join(INPUT_FORMATS)} (default: webdataset)",
    )
    samples.add_argument(
        "--count",
        type=whole(1),
        metavar="INT",
        help="number of seeded crops and flips to write (default: the photographs themselves)",
    )
    samples.add_argument("--shards", type=whole(1), default=2, metavar="INT", help="number of shards (default 2)")
    samples.add_argument("--seed", type=whole(0), metavar="INT", help="seed of the crops and flips (default 0)")
    samples.add_argument("--gzip", action="store_true", help="compress the shards (tfrecord only)")
    samples.epilog = examples("ig-audit samples --output samples --format tfrecord --count 64")


def _add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels", type=text, metavar="FILE", help="labels that came after the run: CSV, TSV, JSON lines or Parquet"
    )


def _add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference_labels", type=text, metavar="FILE", help="the same for the reference runs")
    parser.add_argument("--thresholds", type=text, metavar="URI", help="YAML file of drift thresholds")
    parser.add_argument(
        "--nights",
        type=whole(0),
        default=0,
        metavar="N",
        help="compare with the latest N reference runs (default 0: all)",
    )


def _command(
    commands: argparse._SubParsersAction[CommandParser],
    name: str,
    function: Callable[[argparse.Namespace, list[str]], ExitCode],
    help: str,
) -> CommandParser:
    parser = commands.add_parser(name, help=help, description=help)
    parser.set_defaults(command=function)
    return parser


def _run(options: argparse.Namespace, rest: list[str]) -> ExitCode:
    beam_flags.check_words(rest)
    flags = {name: value for name, value in vars(options).items() if name != "command"}
    audit = config.load(flags)
    if problem := write_problem(audit.output, folder=True):
        raise config.ConfigError(f"output: {audit.output}: {problem}")
    logging.getLogger().setLevel(logging.ERROR)  # before Beam is imported, which warns about missing extras
    beam_flags.check(rest)
    from pipeline.launch import prepare

    job = prepare(audit)
    with process.lean_imports(*_OF_NO_USE):
        from pipeline.run import run
    process.keep_objects()
    return run(job, rest)


def _check(options: argparse.Namespace, rest: list[str]) -> ExitCode:
    beam_flags.check_words(rest)
    own = ("command", "json", "layers", "interval")
    flags = {name: value for name, value in vars(options).items() if name not in own}
    unused = {"output": "{date}"} | ({"input": "."} if options.layers else {})
    audit = config.load(flags, unused)
    from pipeline.check.command import check, list_layers

    if options.layers:
        return list_layers(audit)
    return check(audit, options.json, options.interval)


def _compare(options: argparse.Namespace, _: list[str]) -> ExitCode:
    from pipeline.audit.findings import tell
    from pipeline.audit.record import write_audit

    audit = _judge(_labelled(_open(options.candidate), options), options)
    if options.json:
        write_audit(audit, options.json)
    print("\n".join([str(audit), *tell(audit.findings, audit.searched)]))
    return audit.verdict.exit_code


def _monitor(options: argparse.Namespace, _: list[str]) -> ExitCode:
    from pipeline.audit.monitor import watch, write_json

    result = watch(options.folder, options.false_alarms_per_year)
    if options.json:
        write_json(result, options.json)
    print(result)
    return result.exit_code


def _open(uri: str) -> Run:
    from transforms.store.run import Run

    return Run.open(uri)


def _labelled(run: Run, options: argparse.Namespace) -> Run:
    """Returns the run with the labels that came later, if the options name some."""
    if not options.labels:
        return run
    from transforms.store.given_labels import give_labels, read_labels

    return give_labels(run, read_labels(options.labels))


def _judge(run: Run, options: argparse.Namespace) -> Audit:
    """Returns the audit of a run against the references that the options name."""
    from pipeline.audit.compare import compare_with
    from pipeline.audit.thresholds import load_thresholds
    from transforms.store.given_labels import read_labels

    labels = read_labels(options.reference_labels) if options.reference_labels else None
    thresholds = load_thresholds(options.thresholds or "")
    return compare_with(run, options.reference, options.nights, thresholds, labels)


def _verify(options: argparse.Namespace, _: list[str]) -> ExitCode:
    from pipeline.verify.check import verify

    process.return_freed()
    findings = verify(_open(options.run))
    for finding in findings:
        print(printable(str(finding)))
    if not findings:
        print(f"{options.run}: every part matches the manifest, and the rows give the same statistics, bit for bit")
    return ExitCode.FAILED if findings else ExitCode.FINE


def _show(options: argparse.Namespace, _: list[str]) -> ExitCode:
    _refuse_ignored(options)
    from pipeline.show.draw import show
    from pipeline.show.pictures import Look

    look = Look(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Look)})
    show(_open(options.run), options.image_id, options.output, options.target, options.kind, look)
    print(options.output)
    return ExitCode.FINE


def _refuse_ignored(options: argparse.Namespace) -> None:
    """Raises ConfigError for options that the kind of picture ignores, or that contradict each other."""
    if options.kind not in _CLIPPED:
        for name in ("clip_above", "clip_below", "clean"):
            if getattr(options, name) is not None:
                raise config.ConfigError(f"{name}: is for --kind {' and '.join(_CLIPPED)}; it is {options.kind}")
    if None not in (options.clip_below, options.clip_above) and options.clip_below >= options.clip_above:
        raise config.ConfigError(f"clip_below: {options.clip_below:g} is not below clip_above, {options.clip_above:g}")


def _report(options: argparse.Namespace, _: list[str]) -> ExitCode:
    of_comparison = [name for name in ("thresholds", "nights", "reference_labels") if getattr(options, name)]
    if of_comparison and not options.reference:
        name = of_comparison[0]
        raise config.ConfigError(f"{name}: applies only to a comparison; give --reference too")
    from pipeline.report import write_report

    run = _labelled(_open(options.run), options)
    if run.labels:
        print(printable(str(run.labels)), file=sys.stderr)
    audit = _judge(run, options).to_json() if options.reference else None
    print(write_report(run, options.output, audit))
    return ExitCode.FINE


def _refine(options: argparse.Namespace, _: list[str]) -> ExitCode:
    request = requests.request_of(options)
    logging.getLogger().setLevel(logging.ERROR)
    from pipeline.refine.command import refine

    return refine(_open(options.run), request)


def _samples(options: argparse.Namespace, _: list[str]) -> ExitCode:
    if options.seed is not None and options.count is None:
        raise config.ConfigError("seed: applies only to crops and flips; give --count too")
    if options.gzip and options.format != "tfrecord":
        raise config.ConfigError(f"gzip: is for --format tfrecord; it is {options.format}")
    from pipeline.samples.cache import make_samples

    try:
        samples = make_samples(
            options.output, options.format, options.count, options.shards, options.seed or 0, options.gzip
        )
    except ModuleNotFoundError as error:
        raise UsageError(f"samples: {error}; pip install 'ig-audit[samples]' installs it") from error
    print(samples.config)
    return ExitCode.FINE
