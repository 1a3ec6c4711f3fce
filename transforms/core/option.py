"""Options: dataclass fields that carry their own help, choices and bounds; each is declared once.

The command line, the YAML file and the checks are all made from these declarations.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def option(
    default: T,
    help: str,
    choices: tuple[Any, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
) -> T:
    """Returns a dataclass field that is also an option: its help, allowed values, and bounds (`high` with `low`)."""
    metadata = {"help": help, "choices": choices, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


def problems_of(options: Any) -> list[str]:
    """Returns what is wrong with single values of a dataclass of options, a line each."""
    found = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        choices, low, high = (field.metadata.get(name) for name in ("choices", "low", "high"))
        if choices is not None and value not in choices:
            found.append(f"{field.name}: {value!r} is not one of {', '.join(map(str, choices))}")
        elif high is not None and not low <= value <= high:
            found.append(f"{field.name}: {value!r} is not a number from {low:g} to {high:g}")
        elif low is not None and value is not None and not low <= value < float("inf"):
            found.append(f"{field.name}: {value!r} is not a number of at least {low:g}")
    return found
