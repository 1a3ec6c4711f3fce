"""Pixels at the size that the model expects, equal to TensorFlow's to 1e-6 of the pixel range.

Resizing is bilinear without antialiasing, with half-pixel centers, as `tf.image.resize` does by default: only the
pixels that it needs are read, so a large photograph is never copied as floats. `pad` is `tf.image.resize_with_pad`,
`stretch` is `tf.image.resize`; `crop` scales the image until it just covers the target and keeps the center.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_Taps = tuple[np.ndarray, ...]
_Sample = Callable[[np.ndarray, _Taps, _Taps], np.ndarray]


def fit_bilinear(array: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    """Returns an image `[any height, any width, channels]` at `size` (height, width), float32, in the same units.

    Args:
        array: the image.
        size: height and width in pixels.
        resize: one of RESIZES.
    """
    return _FITS[resize](_extent(array), size).apply(array, size, _interpolate)


def fit_nearest(array: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    """Returns a mask `[any height, any width]` at `size`, each pixel from its nearest neighbor; as `fit_bilinear`."""
    return _FITS[resize](_extent(array), size).apply(array, size, _nearest)


def resize_bilinear(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns `array` at another size, as `tf.image.resize` returns it: float32 `[height, width, channels]`.

    Args:
        array: `[any height, any width, channels]` of any real type; units are preserved.
        height: in pixels.
        width: in pixels.
    """
    return _interpolate(array, _taps(array.shape[0], height), _taps(array.shape[1], width))


def _extent(array: np.ndarray) -> tuple[int, int]:
    return array.shape[0], array.shape[1]


@dataclass(frozen=True)
class _Fit:
    """A resize as data: the neighbors of each output row and column, and the position of the result in the output."""

    rows: _Taps
    columns: _Taps
    top: int = 0
    left: int = 0

    def apply(self, array: np.ndarray, size: tuple[int, int], sample: _Sample) -> np.ndarray:
        """Returns `array` `[height, width, …]` at `size`, with zeros outside the resized image."""
        sampled = sample(array, self.rows, self.columns)
        if sampled.shape[:2] == size:
            return sampled
        framed = np.zeros((*size, *sampled.shape[2:]), sampled.dtype)
        framed[self.top : self.top + len(sampled), self.left : self.left + sampled.shape[1]] = sampled
        return framed


def _pad(extent: tuple[int, int], size: tuple[int, int]) -> _Fit:
    """Returns the fit of the whole image, centered; all rounding is in float32, as in TensorFlow."""
    length, target = np.array(extent, np.float32), np.array(size, np.float32)
    scaled = length / np.max(length / target)
    rows, columns = np.maximum(1, np.floor(scaled)).astype(int).tolist()
    top, left = np.maximum(0, np.floor((target - scaled) / 2)).astype(int).tolist()
    return _Fit(_taps(extent[0], rows), _taps(extent[1], columns), top, left)


def _crop(extent: tuple[int, int], size: tuple[int, int]) -> _Fit:
    """Returns the fit of the center of the image that just covers the target; only kept pixels are computed."""
    length, target = np.array(extent), np.array(size)
    covering = np.maximum(target, np.rint(length / np.min(length / target))).astype(int)
    first = (covering - target) // 2
    rows, columns = (
        tuple(tap[start : start + kept] for tap in _taps(one, full))
        for one, full, start, kept in zip(extent, covering, first, size, strict=True)
    )
    return _Fit(rows, columns)


def _stretch(extent: tuple[int, int], size: tuple[int, int]) -> _Fit:
    return _Fit(_taps(extent[0], size[0]), _taps(extent[1], size[1]))


_FITS = {"pad": _pad, "crop": _crop, "stretch": _stretch}


def _taps(length: int, target: int) -> _Taps:
    """Returns for each of `target` outputs its two neighbors among `length` inputs, and the second one's weight."""
    half = np.float32(0.5)
    position = (np.arange(target, dtype=np.float32) + half) * (np.float32(length) / np.float32(target)) - half
    below = np.floor(position)
    lower = np.maximum(below, 0).astype(np.intp)
    upper = np.minimum(below + 1, length - 1).astype(np.intp)
    return lower, upper, position - below


def _interpolate(array: np.ndarray, rows: _Taps, columns: _Taps) -> np.ndarray:
    top, bottom, down = rows[0][:, None], rows[1][:, None], rows[2][:, None, None]
    left, right, across = columns[0], columns[1], columns[2][:, None]

    def row(index: np.ndarray) -> np.ndarray:
        first, second = array[index, left].astype(np.float32), array[index, right].astype(np.float32)
        return first + (second - first) * across

    upper, lower = row(top), row(bottom)
    return upper + (lower - upper) * down


def _nearest(array: np.ndarray, rows: _Taps, columns: _Taps) -> np.ndarray:
    row, column = (np.where(across >= 0.5, upper, lower) for lower, upper, across in (rows, columns))
    return array[row[:, None], column]
