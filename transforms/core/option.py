"""Options: dataclass fields with their own help, group, choices and bounds; each is declared once.

The command line, the YAML file and the checks are all derived from these declarations.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from transforms.core.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

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


class Options:
    """The base of a frozen dataclass of options: checked when made, and a misplaced option is named with its place."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Options in cls.__bases__:
            _HOMES.update(dict.fromkeys(cls.__annotations__, cls.__name__))

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Raises TypeError if an option is one of another class of options."""
        for name in [name for name in options if name in _HOMES and name not in _hints(typing.cast(Any, cls))]:
            raise TypeError(f"{name} is an option of {_HOMES[name]}, not of {cls.__name__}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Raises UsageError if an option cannot be used."""
        if found := self.problems():
            raise UsageError("\n".join(found))

    def problems(self) -> list[str]:
        """Returns what is wrong with these options, one line an option; empty if nothing is."""
        return problems_of(self)


_HOMES: dict[str, str] = {}
"""The class of each option by its name."""


def problems_of(options: Any) -> list[str]:
    """Returns the problems of single values of a dataclass of options, one line each."""
    found, hints = [], _hints(typing.cast(Any, type(options)))
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        choices, low, high = (field.metadata.get(name) for name in ("choices", "low", "high"))
        if problem := _type_problem(value, hints[field.name]):
            found.append(f"{field.name}: {value!r} {problem}")
        elif choices is not None and value not in choices:
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


@functools.lru_cache(maxsize=16)
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "text"),
    tuple: (tuple, "a tuple"),
    types.NoneType: (types.NoneType, "None"),
}


def _type_problem(value: Any, hint: Any) -> str:
    """Returns what is wrong with a value of another type than `hint`; empty if it is of that type."""
    hints = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kinds = [_KINDS[typing.get_origin(each) or each] for each in hints]
    allowed = tuple(kind for kind, _ in kinds)
    if isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool)):
        return "" if not isinstance(value, tuple) or all(isinstance(each, str) for each in value) else "is not all text"
    return f"is not {' or '.join(words for _, words in kinds)}"


def _text_problem(value: Any) -> str:
    """Returns the problem of a text, or of one of several texts; empty if there is none."""
    if isinstance(value, tuple) and "" in value:
        return "has an empty value"
    texts = [text for text in (value if isinstance(value, tuple) else [value]) if isinstance(text, str)]
    return "" if all(map(is_text, texts)) else "is not valid UTF-8, or contains NUL"
