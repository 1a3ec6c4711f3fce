"""Images given as arrays, and their targets: class indices, names, one-hot rows, or several of them → class indices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def given_pairs(images: Any, targets: Any, shape: tuple[int, int, int]) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields (image, its targets or None) of arrays, or of a dataset's batches.

    Args:
        images: array or tensor `[n, height, width, channels]`, also one image, and gray ones without channels; or a
            `tf.data.Dataset` of such images, or of (images, targets), batched.
        targets: one for each image, or one index or name for all.
        shape: (height, width, channels) of the model's input.

    Raises:
        ValueError: there are not as many targets as images, or a dataset has its own.
    """
    if hasattr(images, "element_spec"):
        if targets is not None:
            raise ValueError("targets: a dataset brings its own targets, as (images, targets)")
        for element in images:
            batch, labels = element if isinstance(element, tuple) else (element, None)
            yield from given_pairs(batch, labels, shape)
        return
    arrays = np.asarray(images)
    if shape[2] == 1 and arrays.shape[-2:] == shape[:2]:  # gray, without an axis of channels
        arrays = arrays[..., None]
    if arrays.ndim == 3:
        arrays, targets = arrays[None], None if targets is None else [targets]
    if targets is None or isinstance(targets, str | int | np.integer):
        yield from zip(arrays, itertools.repeat(targets), strict=False)
        return
    if len(targets) != len(arrays):
        raise ValueError(f"targets: {len(targets)} targets for {len(arrays)} images")
    yield from zip(arrays, targets, strict=True)


def given_targets(given: Any, names: Sequence[str]) -> tuple[int, ...]:
    """Returns the class indices that one image's targets are, in the order given.

    >>> given_targets("dog", ("cat", "dog", "cow")), given_targets([0, 0, 1], ("cat", "dog", "cow"))
    ((1,), (2,))
    >>> given_targets(["cow", 0], ("cat", "dog", "cow"))
    (2, 0)

    Args:
        given: an index or a name; several of these; or a row of zeros and ones, one for each class.
        names: the model's class names.

    Raises:
        ValueError: there is no such class, or none is given.
    """
    if not names:
        raise ValueError(f"target {given!r}: what is explained has no classes; leave out targets")
    items = [given] if isinstance(given, str | bytes) or np.ndim(given) == 0 else list(given)
    values = [_plain(item) for item in items]
    if np.ndim(given) and len(values) == len(names) and not any(isinstance(value, str) for value in values):
        row = np.asarray(values, np.float64)
        if np.isin(row, (0, 1)).all():
            values = np.flatnonzero(row).tolist()
    found = tuple(dict.fromkeys(_index(value, names) for value in values))
    if not found:
        raise ValueError("no target is given; leave out targets to follow the settings")
    return found


def _plain(item: Any) -> Any:
    """Returns an item of an array or tensor as a Python value."""
    if isinstance(item, str):
        return item
    value = np.asarray(item)
    if value.ndim:
        raise ValueError(f"target {item!r}: expected a class index or a name")
    plain = value.item()
    return plain.decode("utf-8", "replace") if isinstance(plain, bytes) else plain


def _index(value: Any, names: Sequence[str]) -> int:
    if isinstance(value, str):
        found = [index for index, name in enumerate(names) if name == value]
        if len(found) != 1:
            problem = f"stands for classes {', '.join(map(str, found[:5]))}" if found else "is not a class name"
            raise ValueError(f"target {value[:80]!r} {problem}; the model has {len(names)} classes")
        return found[0]
    if not isinstance(value, int | float) or not float(value).is_integer() or not 0 <= value < len(names):
        raise ValueError(f"target {value!r}: the model has {len(names)} classes, 0 to {len(names) - 1}")
    return int(value)
