"""Beam's flags of `ig-audit run`: checked by name and value before any work.

Importing Beam takes seconds, so names are first looked up in the source of the module that declares Beam's
options. Only flags that pass this check are given to Beam's own parser, which the job would import in any case.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline.command_line import flags_of
from pipeline.config import ConfigError
from pipeline.suggest import suggestion

_FLAG = re.compile(r"""["'](--[A-Za-z][\w-]*)["']""")


def names() -> Collection[str]:
    """Returns Beam's flags, such as `--runner`, and, if Beam is imported, those of custom classes of options.

    Before Beam is imported, no custom class of options can have been declared.
    """
    if "apache_beam.options.pipeline_options" in sys.modules:
        return _flags(_parser())
    return _declared()


def check_words(arguments: Sequence[str]) -> None:
    """Checks that no word precedes the first flag; does not import Beam.

    Raises:
        ConfigError: a word does.
    """
    _refuse_stray(list(itertools.takewhile(lambda word: not word.startswith("-") or word == "--", arguments)))


def check(arguments: Sequence[str]) -> None:
    """Checks that Beam's parser accepts all flags; imports Beam if there are any.

    Raises:
        ConfigError: a word that belongs to no flag, an unknown flag, a wrong value, or an unknown runner.
    """
    if not arguments:
        return
    parser = _parser()
    parser.error = _refuse
    known, unknown = parser.parse_known_args(list(arguments))
    for flag in flags_of(unknown):
        raise ConfigError(f"{flag}: is not an option of Beam{suggestion(flag, _flags(parser))}")
    _refuse_stray(unknown)
    if known.runner:
        _check_runner(known.runner)


@functools.lru_cache(maxsize=1)
def _declared() -> frozenset[str]:
    """Returns every quoted text in the source of Beam's options that has the form of a flag."""
    spec = importlib.util.find_spec("apache_beam")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("apache_beam: is not installed")
    source = Path(spec.submodule_search_locations[0], "options", "pipeline_options.py")
    return frozenset(_FLAG.findall(source.read_text("utf-8")))


def _parser() -> Any:
    """Returns a parser for the flags of every class of options."""
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    return parsers[0]


def _flags(parser: Any) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag not in ("-h", "--help")]


def _refuse(message: str) -> NoReturn:
    raise ConfigError(message.removeprefix("argument "))


def _refuse_stray(words: Sequence[str]) -> None:
    if words:
        word = next((word for word in words if word != "--"), "--")
        raise ConfigError(f"{word!r} does not belong to an option; give shards with --input")


def _check_runner(name: str) -> None:
    from apache_beam.runners.runner import create_runner

    try:
        create_runner(name)
    except (AttributeError, ImportError, ValueError) as error:
        raise ConfigError(f"--runner: {name!r}: {error}") from error
