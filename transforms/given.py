"""What people have at hand in a notebook → images as the model sees them, each with its label and target.

Pictures are arrays or tensors at the model's input size, or files and encoded bytes, which are decoded and resized as
in the job; labels and targets are class indices, class names or one-hot rows. Nothing is guessed: what does not fit is
refused, with the image that it belongs to.
"""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.explain.job import Decoded
from transforms.core.explain.label import LabelError, Labels
from transforms.core.explain.settings import Settings
from transforms.core.image.decoding import DecodeError
from transforms.core.image.guard import Guards
from transforms.core.image.unit import unit_values
from transforms.core.model.classifier import Classifier
from transforms.core.record import Image, Pixels

_ENCODED = (str, os.PathLike, bytes)
_SUGGESTIONS = 3


@dataclass(frozen=True)
class _Item:
    """One picture as given, with its label and target; None if there is none."""

    picture: Any
    label: Any = None
    target: Any = None


class Given:
    """Makes images for a model of what people have at hand."""

    def __init__(
        self, classifier: Classifier, settings: Settings, value_range: tuple[float, float] | None = None
    ) -> None:
        """Takes the model, how pictures are decoded, and the values that stand for black and white in arrays.

        Raises:
            UsageError: the range is not two numbers of which the second is greater, or not that of the settings.
        """
        text = _range_text(value_range, settings.value_range)
        how = Settings(
            resize=settings.resize,
            max_pixels=settings.max_pixels,
            value_range=text,
            alpha_color=settings.alpha_color,
        )
        self._shape, self._names = classifier.input_shape, classifier.names
        self._labels = Labels(classifier.names, classifier.task, classifier.label_offset)
        several = classifier.task == "labels"
        self._targets = Labels(classifier.names, "labels" if several else "classes")  # by the model's own index
        self._decoding = how.decoding(self._shape[2])
        self._guards = Guards(1, self._decoding)

    def decoded(self, images: Any, labels: Any = None, targets: Any = None) -> list[Decoded]:
        """Returns images as the model sees them.

        Raises:
            UsageError: a picture, a label or a target cannot be used; or there are not as many of each.
        """
        items = list(_with_targets(list(self._items(images, labels)), targets))
        try:
            return [self._decoded(index, item) for index, item in enumerate(items)]
        finally:
            self._guards.close()

    def _items(self, images: Any, labels: Any) -> Iterator[_Item]:
        """Yields each picture with its label."""
        if hasattr(images, "element_spec"):
            if labels is not None:
                raise UsageError("labels: a dataset brings its own, as (images, labels)")
            for element in images:
                pair = element if isinstance(element, tuple) else (element,)
                if len(pair) > 2 or isinstance(element, dict):
                    raise UsageError("images: the dataset's elements are not images, or (images, labels)")
                yield from self._items(pair[0], pair[1] if len(pair) == 2 else None)
            return
        pictures, single = self._pictures(images)
        if labels is None:
            yield from map(_Item, pictures)
            return
        each = [labels] if single and not _is_list_of_one(labels) else _listed("labels", labels)
        if len(each) != len(pictures):
            raise UsageError(f"labels: {len(each)} labels for {len(pictures)} images")
        yield from map(_Item, pictures, each)

    def _pictures(self, images: Any) -> tuple[Sequence[Any], bool]:
        """Returns the pictures, and whether a single one was given."""
        if isinstance(images, _ENCODED):
            return [images], True
        if isinstance(images, list | tuple) and any(isinstance(each, _ENCODED) or np.ndim(each) > 1 for each in images):
            return [each if isinstance(each, _ENCODED) else self._array(each) for each in images], False
        array = self._array(images)
        if array.ndim not in (3, 4):
            kind = f"shape {array.shape}" if array.ndim else f"type {type(images).__name__}"
            shape = ", ".join(map(str, self._shape))
            expected = f"an array [n, {shape}], files, encoded pictures, a list of these, or a tf.data.Dataset"
            raise UsageError(f"images: {kind}: expected {expected}")
        return ([array], True) if array.ndim == 3 else (list(array), False)

    def _array(self, given: Any) -> np.ndarray:
        """Returns an array with an axis of channels, which gray images for a model of one channel may lack."""
        array = np.asarray(given)
        height, width, channels = self._shape
        lacks = channels == 1 and array.shape != self._shape and array.shape[-2:] == (height, width)
        return array[..., None] if lacks else array

    def _decoded(self, index: int, item: _Item) -> Decoded:
        name, pixels = self._pixels(index, item.picture)
        label = _resolved(item.label, self._labels, f"labels: image {index}")
        image = Image(name, "", index, b"")
        if item.target is None:
            return Decoded(image, pixels, label)
        target = _resolved(item.target, self._targets, f"targets: image {index}")
        if target is None or target == ():
            raise UsageError(f"targets: image {index}: {item.target!r:.80} is not from 0 to {len(self._names) - 1}")
        return Decoded(image, pixels, label, target if isinstance(target, tuple) else (target,))

    def _pixels(self, index: int, picture: Any) -> tuple[str, Pixels]:
        """Returns a picture's id, and its pixels as the model sees them."""
        if not isinstance(picture, _ENCODED):
            values = unit_values(picture, self._shape, f"image {index}", self._decoding.value_range)
            return str(index), Pixels(values, *picture.shape[:2])
        name = str(index) if isinstance(picture, bytes) else os.fspath(picture)
        try:
            data = picture if isinstance(picture, bytes) else storage.read_bytes(str(name))
            return str(name), self._guards.decode(data, (self._shape[0], self._shape[1]))
        except (OSError, DecodeError) as error:
            raise UsageError(f"images: {name}: {error}") from error


def _with_targets(items: list[_Item], targets: Any) -> Iterator[_Item]:
    """Yields the items, each with its target; one index or name is that of all images."""
    if targets is None:
        each: Any = itertools.repeat(None, len(items))
    elif not isinstance(targets, list | tuple) and np.ndim(targets) == 0:
        each = itertools.repeat(targets, len(items))
    else:
        each = _listed("targets", targets)
        if len(each) != len(items):
            raise UsageError(f"targets: {len(each)} targets for {len(items)} images")
    for item, target in zip(items, each, strict=True):
        yield _Item(item.picture, item.label, target)


def _listed(name: str, values: Any) -> Sequence[Any]:
    """Returns labels or targets as a list of one for each image."""
    if isinstance(values, list | tuple):
        return values
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise UsageError(f"{name}: {values!r:.80} is not a class for each image")
    return list(array)


def _is_list_of_one(values: Any) -> bool:
    return (isinstance(values, list | tuple) or np.ndim(values) > 0) and len(values) == 1


def _resolved(value: Any, labels: Labels, where: str) -> Any:
    """Returns what a label or a target says; None if there is none.

    Raises:
        UsageError: there is no such class; the text has names like it.
    """
    plain = _plain(value)
    try:
        return labels.resolve(plain)
    except LabelError as error:
        close = difflib.get_close_matches(plain, labels.names, _SUGGESTIONS) if isinstance(plain, str) else []
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UsageError(f"{where}: {str(error).removeprefix('label ')}{hint}") from error


def _plain(value: Any) -> Any:
    """Returns a label as Python's own numbers and texts, several as a tuple."""
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    array = np.asarray(value)
    return _plain(array.item() if array.ndim == 0 else array.tolist())


def _range_text(value_range: tuple[float, float] | None, of_settings: str) -> str:
    """Returns the range of values as the option's text."""
    if value_range is None:
        return of_settings
    try:
        text = ",".join(str(float(value)) for value in value_range)
    except (TypeError, ValueError) as error:
        raise UsageError(f"value_range: {value_range!r} is not (LOW, HIGH), two numbers") from error
    if of_settings and Settings(value_range=text).decoding(0) != Settings(value_range=of_settings).decoding(0):
        raise UsageError(f"value_range: {text!r} is not that of the settings, {of_settings!r}")
    return text
