"""What is asked for: pictures, and how their maps are made; and the arguments of the command line that say it."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from pipeline.command_line import CommandParser, examples, number, text, whole
from pipeline.config import ConfigError
from transforms.core.explain.settings import DEFAULT_MAX_STEPS, Settings
from transforms.core.vocabulary import DTYPES, REDUCTIONS

LIMIT = 100
"""Pictures of a slice, unless more are asked for: a slice may have a million."""

_SAME = ("report", "tolerance", "max_steps", "channels", "dtype")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which pictures are refined, by one of the first three, and how.

    Attributes:
        images: ids of pictures.
        slice: a slice, as `KIND` or `KIND:VALUE`.
        report: whether those that the report shows, which is written again.
        limit: the most pictures of a slice.
        tolerance: see `MapOptions`, as the next ones.
        max_steps: None takes the run's.
        channels: what is stored of a map's color channels.
        dtype: type of the stored map.
        model: where the run's model lies now; empty if it lies where it lay.
    """

    images: tuple[str, ...] = ()
    slice: str = ""
    report: bool = False
    limit: int = LIMIT
    tolerance: float = Settings.tolerance
    max_steps: int | None = None
    channels: str = "all"
    dtype: str = "float16"
    model: str = ""


def add_arguments(parser: CommandParser) -> None:
    """Adds the arguments of `ig-audit refine`."""
    parser.usage = "ig-audit refine RUN (--images ID | --slice KIND | --report) [OPTION ...]"
    parser.add_argument("run", type=text, metavar="RUN", help="directory of a finished run")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--images", type=text, nargs="+", metavar="ID", help="pictures by their image_id")
    chosen.add_argument(
        "--slice",
        type=text,
        metavar="KIND[:VALUE]",
        help="pictures of a slice, such as wrong, predicted:5 or label:cat: as many as --limit, chosen by a hash",
    )
    chosen.add_argument(
        "--report", action="store_true", help="the pictures that the report shows, which is then written again"
    )
    parser.add_argument("--limit", type=whole(1), metavar="INT", help=f"most pictures of a slice (default {LIMIT})")
    parser.add_argument(
        "--tolerance",
        type=number("of at least 1e-6", lambda value: 1e-6 <= value < math.inf),
        default=Settings.tolerance,
        metavar="FLOAT",
        help=f"L1 error of a map, relative to its L1 norm, at which it has converged (default {Settings.tolerance:g})",
    )
    parser.add_argument(
        "--max_steps",
        type=whole(1),
        metavar="INT",
        help=f"most gradient evaluations of a path (default: those of the run, or {DEFAULT_MAX_STEPS})",
    )
    for name, choices, what in (
        ("--channels", REDUCTIONS, "what is stored of a map's color channels"),
        ("--dtype", DTYPES, "type of the stored map"),
    ):
        listed = f"{what}: {', '.join(choices)} (default {choices[0]})"
        parser.add_argument(name, choices=choices, default=choices[0], metavar="NAME", help=listed)
    parser.add_argument("--model", type=text, metavar="URI", help="where the run's model lies now, if it was moved")
    parser.epilog = "Needs the run's model and input, and adds maps to the folder refined of the run.\n\n" + examples(
        "ig-audit refine runs/first --report",
        "ig-audit refine runs/first --slice wrong --limit 20 --tolerance 0.02",
        "ig-audit refine runs/first --images 'samples-00000-of-00002.tar#chelsea'",
    )


def request_of(options: argparse.Namespace) -> Request:
    """Returns the request that parsed arguments make.

    Raises:
        ConfigError: an option has no effect, because of the others.
    """
    if options.limit is not None and not options.slice:
        raise ConfigError(f"limit: {options.limit} applies only to a slice; give --slice too")
    return Request(
        images=tuple(options.images or ()),
        slice=options.slice or "",
        limit=options.limit or LIMIT,
        model=options.model or "",
        **{name: getattr(options, name) for name in _SAME},
    )
