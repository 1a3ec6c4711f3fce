"""Options: dataclass fields with their own help, group, choices and bounds; each is declared once.

The command line, the YAML file and the checks are all derived from these declarations.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Group = Literal["input", "model", "attribution", "statistics", "comparison", "output", "running"]
"""The subject of an option."""

GROUPS: tuple[Group, ...] = typing.get_args(Group)
"""Every group, in the order in which the help shows them."""


def option(
    default: T,
    help: str,
    choices: tuple[Any, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    *,
    group: Group,
    metavar: str | None = None,
    required: bool = False,
) -> T:
    """Returns a dataclass field that is also an option.

    Args:
        default: its value if it is not given; means "not given" if the option is `required`.
        help: its effect, without choices and default.
        choices: the allowed values; None for any.
        low: the smallest number allowed; needed if `high` is given.
        high: the largest number allowed.
        group: its subject.
        metavar: name of its value in the help; None for a name that follows from its type.
        required: whether a run is impossible without it.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "low": low,
        "high": high,
        "group": group,
        "metavar": metavar,
        "required": required,
    }
    return dataclasses.field(default=default, metadata=metadata)


def problems_of(options: Any) -> list[str]:
    """Returns the problems of single values of a dataclass of options, one line each."""
    found = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        choices, low, high = (field.metadata.get(name) for name in ("choices", "low", "high"))
        if choices is not None and value not in choices:
            found.append(f"{field.name}: {value!r} is not one of {', '.join(map(str, choices))}")
        elif high is not None and value is not None and not low <= value <= high:
            found.append(f"{field.name}: {value!r} is not a number from {low:.15g} to {high:.15g}")
        elif low is not None and value is not None and not low <= value < float("inf"):
            found.append(f"{field.name}: {value!r} is not a number of at least {low:g}")
        elif problem := _text_problem(value):
            found.append(f"{field.name}: {value!r} {problem}")
    return found


def is_text(value: str) -> bool:
    """Returns whether `value` can be a name in a file system: valid Unicode without the character NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of a command line that are not UTF-8
        return False
    return "\0" not in value


def _text_problem(value: Any) -> str:
    """Returns the problem of a text, or of one of several texts; empty if there is none."""
    if isinstance(value, tuple) and "" in value:
        return "has an empty value"
    texts = [text for text in (value if isinstance(value, tuple) else [value]) if isinstance(text, str)]
    return "" if all(map(is_text, texts)) else "is not valid UTF-8, or contains NUL"
