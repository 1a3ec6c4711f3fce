"""Stored labels → what they say of the model's outputs: a class, several classes, or a number.

A text that is a class name is that class, whatever it looks like; other texts of digits, and numbers, are indices.
Numbers may also be indices into names that the data set gives its classes itself (`Image.label_names`): where a name
that it shares with the model's has another position there, its labels go by name.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.core.record import Image, Label

Resolved = int | float | tuple[int, ...] | None
"""A class index, a number, sorted class indices, or None if an image has no label."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_LETTERS = 80
_NAMED = 5


class LabelError(ValueError):
    """The label that was asked for is missing or not one of the model's classes."""


@dataclass(frozen=True)
class Labels:
    """What stored labels mean for one model.

    >>> labels = Labels(("cat", "dog", "10"))
    >>> [labels.resolve(stored) for stored in (1, "dog", "10", "0", (0, 0, 1), -1, None)]
    [1, 1, 2, 0, 2, None, None]
    >>> Labels(("cat", "dog", "cow"), "labels").resolve(("dog", 0))
    (0, 1)

    Attributes:
        names: the model's class names, one for each output.
        task: what a label is: `classes` or `binary` (one class), `labels` (several classes, or none), `values` (a
            number), `dense` (nothing).
        offset: added to a label that is a number, and to none that is a vector or a name.
    """

    names: tuple[str, ...]
    task: str = "classes"
    offset: int = 0

    def resolve_image(self, image: Image) -> Resolved:
        """Returns the label of an image; see `resolve`.

        Raises:
            LabelError: the image has a label that cannot be used.
        """
        if image.label_problem and self.task != "dense":
            raise LabelError(image.label_problem)
        return self.resolve(image.label, image.label_names)

    def resolve(self, label: Label, own_names: tuple[str, ...] = ()) -> Resolved:
        """Returns what a label says; None if there is none, or a negative index, as in TensorFlow Datasets.

        Args:
            label: as stored.
            own_names: the data set's own names of its classes, in the order by which its numbers count; empty if it
                has none.

        Raises:
            LabelError: the label is none of the model's classes, or no number.
        """
        if self.task == "dense":
            return None
        if self.task == "values":
            return _number(label)
        if self.task == "labels":
            return self._several(label, own_names)
        if (isinstance(label, tuple) and len(label) != 1) or _is_one_hot(label, len(self.names)):
            return self._of_vector(label)
        return self._one(label, own_names)

    def _several(self, label: Label, own_names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Returns the sorted classes of a list of indices or names, of a vector of zeros and ones, or of one class."""
        if not isinstance(label, tuple):
            found = self._one(label, own_names)
            return None if found is None else (found,)
        if not own_names and len(label) == len(self.names) and _is_binary(label):
            return tuple(index for index, value in enumerate(label) if value)
        indices = {self._one(each, own_names) for each in label}
        if None in indices:
            raise LabelError(f"label {_shown(label)} contains a negative index, or an empty name")
        return tuple(sorted(index for index in indices if index is not None))

    def _of_vector(self, label: Label) -> int | None:
        """Returns the class of a one-hot vector; None for an empty one."""
        if not label:
            return None
        if not _is_one_hot(label, len(self.names)):
            raise LabelError(f"label {_shown(label)} is neither one class nor one-hot over {len(self.names)} classes")
        return [bool(value) for value in _items(label)].index(True)

    def _one(self, label: Label, own_names: tuple[str, ...]) -> int | None:
        """Returns the class of a number or a text, or of a list of one."""
        (label,) = label if isinstance(label, tuple) else (label,)
        if label is None or label == "":
            return None
        if isinstance(label, str):
            if (found := self._named(label)) is not None:
                return found
            if not _INTEGER.fullmatch(label):
                raise LabelError(f"label {_shown(label)} is not one of the {len(self.names):,} class names")
            label = int(label)
        return self._indexed(label, own_names)

    def _indexed(self, label: int | float, own_names: tuple[str, ...]) -> int | None:
        if isinstance(label, float) and not label.is_integer():
            raise LabelError(f"label {label!r} is not a whole number, as class indices are")
        stored = int(label)
        if stored < 0:
            return None
        if _differ(self.names, own_names, self.offset):
            return self._renamed(stored, own_names)
        index = stored + self.offset
        if not 0 <= index < len(self.names):
            shifted = f", with label_offset {_shown(index)}," * bool(self.offset)
            raise LabelError(f"label {_shown(stored)}{shifted} is not from 0 to {len(self.names) - 1}")
        return index

    def _renamed(self, stored: int, own_names: tuple[str, ...]) -> int:
        """Returns the class that has the name of the data set's class `stored`."""
        if stored >= len(own_names):
            raise LabelError(f"label {_shown(stored)} is not from 0 to {len(own_names) - 1}, of the data set")
        name = own_names[stored]
        if (found := self._named(name)) is None:
            raise LabelError(f"label {stored} is {_shown(name)}, not one of the {len(self.names):,} class names")
        return found

    def _named(self, text: str) -> int | None:
        """Returns the class of this name, or None if there is none.

        Raises:
            LabelError: there are several.
        """
        found = _positions(self.names).get(_normal(text), ())
        if len(found) > 1:
            *first, last = map(str, found[:_NAMED])
            raise LabelError(f"label {_shown(text)} stands for classes {', '.join(first)} and {last}")
        return found[0] if found else None


@functools.lru_cache(maxsize=4)
def _positions(names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Returns the indices of each name, in Unicode's composed form."""
    found: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(names):
        found[_normal(name)] = (*found.get(_normal(name), ()), index)
    return found


@functools.lru_cache(maxsize=8)
def _differ(names: tuple[str, ...], own_names: tuple[str, ...], offset: int) -> bool:
    """Returns whether a name that a data set shares with the model has another index there."""
    positions = _positions(names)
    shared = ((index, positions.get(_normal(name), ())) for index, name in enumerate(own_names))
    return any(found and index + offset not in found for index, found in shared)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _number(label: Label) -> float | None:
    """Returns a number, or the number that a text or a list of one is; None if there is none."""
    if label is None or label in ("", ()):
        return None
    value = label[0] if isinstance(label, tuple) and len(label) == 1 else label
    try:
        if isinstance(value, tuple) or (isinstance(value, str) and "_" in value):
            raise ValueError(value)
        number = float(value)
    except (ValueError, OverflowError):
        raise LabelError(f"label {_shown(label)} is not a number") from None
    if not math.isfinite(number):
        raise LabelError(f"label {_shown(label)} is not a finite number")
    return number


def _is_one_hot(label: Label, classes: int) -> bool:
    return len(_items(label)) == classes and _is_binary(_items(label)) and sum(map(bool, _items(label))) == 1


def _is_binary(values: Sequence[int | float | str]) -> bool:
    return all(not isinstance(value, str) and value in (0, 1) for value in values)


def _items(label: Label) -> tuple[int | float | str, ...]:
    return label if isinstance(label, tuple) else ()


def _shown(label: Label) -> str:
    """Returns a label as text of a length that fits into a message."""
    text = repr(label[:_LETTERS] if isinstance(label, str | tuple) else label)
    return text if len(text) <= _LETTERS + 2 else f"{text[:_LETTERS]}…"
