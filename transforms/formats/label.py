"""What a shard stores as a label → a label: only normalized, since what it means depends on the model.

Text stays text and numbers stay numbers. Of a struct, the label is the first of its members `label`, `class`, `cls`,
`name`, `id` and `value` that is not null. What cannot be a label costs no image; it is kept with the reason.
"""

from __future__ import annotations

import decimal
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transforms.core.record import Label
from transforms.core.vocabulary import MAX_LABEL, MAX_LABEL_ITEMS, MAX_LABEL_LETTERS

MEMBERS = ("label", "class", "cls", "name", "id", "value")
"""Members of a struct that may be its label, in the order of preference."""

_EXPECTED = "expected a number, a text, or a list of these"
_SHOWN = 80
_DEPTH = 3


@dataclass(frozen=True)
class StoredLabel:
    """The label of one image as a shard stores it.

    Attributes:
        value: the label; of one that cannot be used, the beginning of its text, if it has one.
        problem: why it cannot be used; empty if nothing is wrong.
    """

    value: Label = None
    problem: str = ""


class _UnusableError(ValueError):
    """What is stored is no label."""


def parse_label(value: object) -> StoredLabel:
    r"""Returns the label that a shard stores as `value`.

    >>> [parse_label(stored).value for stored in (b"tabby\n", "10", 7, True, [1.0, 0.0], {"id": 3, "name": "cat"})]
    ['tabby', '10', 7, 1, (1.0, 0.0), 'cat']
    >>> parse_label({"x": 1}).problem
    'the label holds none of label, class, cls, name, id, value'
    """
    try:
        return StoredLabel(_label(value, _DEPTH))
    except _UnusableError as error:
        return StoredLabel(_beginning(value), str(error))


def unusable(problem: str) -> StoredLabel:
    """Returns the label of an image whose stored label cannot be read."""
    return StoredLabel(None, problem)


def _label(value: object, depth: int) -> Label:
    if isinstance(value, Mapping):
        return _label(_member(value), _deeper(depth))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return _items(value, _deeper(depth))
    return _scalar(value)


def _items(values: Iterable[object], depth: int) -> Label:
    items: list[int | float | str] = []
    for value in values:
        if len(items) == MAX_LABEL_ITEMS:
            raise _UnusableError(f"the label is a list of more than the {MAX_LABEL_ITEMS} items allowed")
        item = _label(value, depth)
        if item is None or isinstance(item, tuple):
            raise _UnusableError(f"the label is a list that contains {'null' if item is None else 'a list'}")
        items.append(item)
    return tuple(items)


def _scalar(value: object) -> int | float | str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        text = value.strip()
        if len(text) > MAX_LABEL_LETTERS:
            raise _UnusableError(f"the label's {len(text)} letters are more than the {MAX_LABEL_LETTERS} allowed")
        return text or None
    if value is None:
        return None
    if isinstance(value, numbers.Integral):  # as bool is
        if abs(int(value)) > MAX_LABEL:
            raise _UnusableError(f"the label is {_shown(int(value))}, of a magnitude above {MAX_LABEL}")
        return int(value)
    if isinstance(value, numbers.Real | decimal.Decimal):
        return float(value)
    raise _UnusableError(f"{_shown(value)} is not a label: {_EXPECTED}")


def _member(value: Mapping[object, object]) -> object:
    found = [value[name] for name in MEMBERS if name in value]
    if not found and value:
        raise _UnusableError(f"the label holds none of {', '.join(MEMBERS)}")
    return next((member for member in found if member is not None), None)


def _deeper(depth: int) -> int:
    if not depth:
        raise _UnusableError(f"the label is nested more than {_DEPTH} levels deep")
    return depth - 1


def _beginning(value: object) -> str | None:
    """Returns how an unusable label begins, by which similar ones may be found."""
    return _shown(value) if isinstance(value, str | bytes | int | float) else None


def _shown(value: object) -> str:
    if isinstance(value, int) and not math.isfinite(_float(value)):
        return "a number of more than 300 digits"
    text = value[:_SHOWN] if isinstance(value, str | bytes) else value
    return str(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)[:_SHOWN]


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
