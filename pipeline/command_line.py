"""A parser of commands whose errors are one line that names the option, its value and the allowed values.

A misspelled flag is reported before any other error, with the flag that was probably meant.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, NoReturn

from pipeline.suggest import suggestion
from transforms import storage
from transforms.core.option import is_text

_PROGRAM = "ig-audit"


class CommandParser(argparse.ArgumentParser):
    """The parser of `ig-audit`, or of one of its commands.

    Attributes:
        commands: the parsers of all commands, by name.
        passed_on: returns the further flags that a command accepts and passes on to Beam.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.commands: dict[str, CommandParser] = {}
        self.passed_on: Callable[[], Collection[str]] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses arguments as argparse does, after checking that all flags are known."""
        arguments = sys.argv[1:] if args is None else list(args)
        own = itertools.takewhile(lambda word: word.startswith("-"), arguments) if self._subparsers else arguments
        for flag in flags_of(own):
            if not self._takes(flag):
                self.error(f"{flag}: {self._unknown(flag)}")
        return super().parse_known_args(arguments, namespace)

    def error(self, message: str) -> NoReturn:
        """Prints one line to standard error and exits with code 2."""
        hint = f"; see {self.prog} --help" if "required" in message else ""
        self.exit(2, f"{_PROGRAM}: {message.removeprefix('argument ')}{hint}\n")

    def flags(self) -> list[str]:
        """Returns the parser's own flags, without those of Beam."""
        return [flag for action in self._actions for flag in action.option_strings]

    def _takes(self, flag: str) -> bool:
        own = self.flags()
        if flag in own:
            return True
        if not flag.startswith("--"):  # its value may follow directly, as in -oFILE; but -output lacks a dash
            return flag[:2] in own and f"-{flag}" not in own
        return self.passed_on is not None and flag in self.passed_on()

    def _unknown(self, flag: str) -> str:
        """Returns why a flag is not accepted."""
        others = [parser.prog for parser in self.commands.values() if flag.startswith("--") and flag in parser.flags()]
        if others:
            return f"is an option of {others[0]}, not of {self.prog}"
        booleans = [action for action in self._actions if action.nargs == "?" and action.const is True]
        negated = [f"--no_{action.dest}" for action in booleans]
        if flag in negated:
            return f"is not an option; did you mean --{flag.removeprefix('--no_')}=false?"
        if self.passed_on is None:
            return f"is not an option of {self.prog}{suggestion(flag, self.flags())}"
        return f"is an option neither of {_PROGRAM} nor of Beam{suggestion(flag, [*self.flags(), *self.passed_on()])}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = list(action.choices)
            hint = suggestion(str(value), allowed)
            raise argparse.ArgumentError(action, f"{value!r} is not one of {', '.join(allowed)}{hint}")


def flags_of(arguments: Iterable[str]) -> list[str]:
    """Returns the names of the flags among arguments: words that begin with a dash and are no numbers, up to `--`.

    >>> flags_of(["a", "--steps=3", "--scale", "-1", "--", "--b"])
    ['--steps', '--scale']
    """
    words = itertools.takewhile(lambda word: word != "--", arguments)
    names = [word.partition("=")[0] for word in words if len(word) > 1 and not _is_number(word)]
    return [name for name in names if name.startswith("-") and " " not in name]


def examples(*lines: str) -> str:
    """Returns the end of a help text, which shows example commands."""
    return "\n".join(["examples:" if len(lines) > 1 else "example:", *(f"  {line}" for line in lines)])


def text(value: str) -> str:
    """Returns `value` if it is valid text that is not empty.

    Raises:
        argparse.ArgumentTypeError: it is empty or not valid UTF-8.
    """
    if not value or not is_text(value):
        raise argparse.ArgumentTypeError(f"{value!r} is {'not valid UTF-8' if value else 'empty'}")
    return value


def whole(low: int) -> Callable[[str], int]:
    """Returns a function that reads whole numbers of at least `low`."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if number < low:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of at least {low}")
        return number

    return read


def number(allowed: str, is_allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """Returns a function that reads numbers for which `is_allowed` is true, never NaN; `allowed` is for its errors."""

    def read(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            found = float("nan")
        if not is_allowed(found):
            raise argparse.ArgumentTypeError(f"{value!r} is not a number {allowed}")
        return found

    return read


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def output_file(value: str) -> str:
    """Returns the URI of a file to write.

    Raises:
        argparse.ArgumentTypeError: it evidently cannot be written.
    """
    if problem := write_problem(text(value), folder=False):
        raise argparse.ArgumentTypeError(f"{value}: {problem}")
    return value


def output_folder(value: str) -> str:
    """Returns the URI of a folder to write into.

    Raises:
        argparse.ArgumentTypeError: it evidently cannot be written into.
    """
    if problem := write_problem(text(value), folder=True):
        raise argparse.ArgumentTypeError(f"{value}: {problem}")
    return value


def write_problem(uri: str, folder: bool) -> str:
    """Returns why nothing can be written to a local `uri`, a folder or a file; empty if no reason is known.

    Missing folders are no problem: they are created. Remote stores are not checked.
    """
    if storage.is_remote(uri):
        return ""
    path = storage.resolve(uri)[1]
    if os.path.isdir(path) and not folder:
        return "is a folder"
    above = path if folder else os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        return "is a file" if above == path else f"{above} is not a folder"
    return "" if os.access(above, os.W_OK | os.X_OK) else f"no permission to write into {above}"
