"""Pictures stored as arrays, in Parquet columns and in features of a tf.Example → the bytes of `.npy` files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.image.arrays import to_npy
from transforms.formats.shard import RecordError

_MOST_DIMENSIONS = 3
_USUAL_CHANNELS = (1, 3, 4)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"\x93NUMPY"),
    *(b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"\xff\x4f\xff\x51"),
)
_SIGNATURES_INSIDE = ((8, b"WEBP"), (4, b"ftyp"))


def raw_image(stored: Sequence[Any], sizes: Mapping[str, Sequence[Any]], max_bytes: int) -> bytes:
    """Returns the image of a record as encoded bytes: an array's are those of a `.npy` file.

    Bytes are an array of uint8 if they do not begin like an encoded picture, and are exactly as many as the record's
    height, width and channels say.

    Args:
        stored: the image: one value of bytes, or all numbers of an array.
        sizes: the values of the features of the record that hold its height, width and channels, by option.
        max_bytes: of an array.

    Raises:
        RecordError: numbers are not of the shape that the record says, or too many.
    """
    is_bytes = isinstance(stored[0], bytes)
    count = len(stored[0]) if is_bytes else len(stored)
    shape = _shape(sizes, count)
    if is_bytes:
        data: bytes = stored[0]
        return data if shape is None or _is_encoded(data) else to_npy(np.frombuffer(data, np.uint8).reshape(shape))
    if shape is None:
        said = ", ".join(f"{name}: {list(values[:1]) or 'none'}" for name, values in sizes.items())
        raise RecordError(f"the image is a list of {count} numbers, which is not of the shape said by {said}")
    dtype = np.dtype(np.int64 if isinstance(stored[0], int) else np.float32)
    _check_size(count * dtype.itemsize, max_bytes)
    return to_npy(np.fromiter(stored, dtype, count).reshape(shape))


def is_tensor(kind: pa.DataType) -> bool:
    """Returns whether a column of this type holds arrays of numbers with two or three dimensions.

    Tensors with a permutation do not count: Arrow writes them in a way and reads them in another (25.0).
    """
    if isinstance(kind, pa.FixedShapeTensorType):
        in_order = kind.permutation in (None, list(range(len(kind.shape))))
        return in_order and len(kind.shape) in (2, _MOST_DIMENSIONS) and _is_number(kind.value_type)
    dimensions = 0
    while _is_list(kind) and dimensions <= _MOST_DIMENSIONS:
        kind, dimensions = kind.value_type, dimensions + 1
    return dimensions in (2, _MOST_DIMENSIONS) and _is_number(kind)


def fixed_bytes(kind: pa.DataType) -> int:
    """Returns the size of one array of a column, as far as its type fixes it."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return math.prod(kind.shape) * kind.value_type.bit_width // 8
    count = 1
    while _is_list(kind):
        count *= kind.list_size if pa.types.is_fixed_size_list(kind) else 1
        kind = kind.value_type
    return count * kind.bit_width // 8


def tensor(column: pa.Array, position: int, max_bytes: int) -> bytes | None:
    """Returns one array of a column as the bytes of a `.npy` file; None for null.

    Raises:
        RecordError: it has no shape, since its rows differ in length, or contains null; or it is too large.
    """
    values = column.slice(position, 1)
    if values.null_count:
        return None
    if isinstance(values, pa.FixedShapeTensorArray):
        _check_size(fixed_bytes(values.type), max_bytes)
        return to_npy(values.to_numpy_ndarray()[0])
    shape = []
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            raise RecordError("the image's rows are empty, null or of different lengths")
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        raise RecordError("the image contains null")
    _check_size(values.nbytes, max_bytes)
    return to_npy(values.to_numpy(zero_copy_only=False).reshape(shape))


def _shape(sizes: Mapping[str, Sequence[Any]], count: int) -> tuple[int, int, int] | None:
    """Returns (height, width, channels) of an image of `count` numbers, or None if the record does not say it."""
    heights, widths, channels = sizes.values()
    if len(heights) != 1 or len(widths) != 1 or len(channels) > 1:
        return None
    for shape in ((heights[0], widths[0], deep) for deep in channels or _USUAL_CHANNELS):
        if all(isinstance(size, int) and size > 0 for size in shape) and math.prod(shape) == count:
            return shape
    return None


def _is_encoded(data: bytes) -> bool:
    if data[:2] == b"BM":
        return int.from_bytes(data[2:6], "little") == len(data)
    return data.startswith(_SIGNATURES) or any(data.startswith(mark, place) for place, mark in _SIGNATURES_INSIDE)


def _is_list(kind: pa.DataType) -> bool:
    return any(check(kind) for check in _LISTS)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise RecordError(f"the image's {size} bytes are more than the {max_bytes} allowed")
