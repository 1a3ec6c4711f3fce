"""Pictures that are arrays travel as the bytes of an `.npy` file, and are read without NumPy's own parser.

The format is that of NumPy Enhancement Proposal 1: a magic word, a version, the length of a header, a header that is
the text of a Python dictionary, and the values. NumPy evaluates the header as a Python literal; here it must match one
regular expression, and nothing in it is evaluated or unpickled.
"""

from __future__ import annotations

import io
import math
import re
import struct

import numpy as np

from transforms.core.image.decoding import DecodeError, Decoding
from transforms.core.vocabulary import MAX_ARRAY_CHANNELS, MAX_NPY_HEADER_BYTES

MAGIC = b"\x93NUMPY"
DTYPES = "bool, integers and floats of up to 64 bits"

_VERSIONS = {b"\x01\x00": struct.Struct("<H"), b"\x02\x00": struct.Struct("<I"), b"\x03\x00": struct.Struct("<I")}
_ITEM = r"'(?:descr'\s*:\s*'[<>|=][a-zA-Z]\d{1,2}'|fortran_order'\s*:\s*(?:True|False)|shape'\s*:\s*\([0-9,\s]*\))"
_HEADER = re.compile(rf"\{{\s*{_ITEM}\s*,\s*{_ITEM}\s*,\s*{_ITEM}\s*,?\s*\}}\s*", re.ASCII)
_DESCR = re.compile(r"'descr'\s*:\s*'([<>|=])(b1|[iu][1248]|f[248])'", re.ASCII)
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)", re.ASCII)
_SHAPE = re.compile(r"'shape'\s*:\s*\(\s*((?:[0-9]{1,10}\s*,\s*)*(?:[0-9]{1,10}\s*)?)\)", re.ASCII)


def to_npy(array: np.ndarray) -> bytes:
    """Returns an array as the bytes of an `.npy` file: the form in which a picture that is an array is an `Image.data`.

    Args:
        array: `[height, width]` or `[height, width, channels]`, of booleans, integers or floats.

    Raises:
        ValueError: the values are of another type.
    """
    if not re.fullmatch(r"[<>|=](b1|[iu][1248]|f[248])", array.dtype.str):
        raise ValueError(f"type {array.dtype} is not one of {DTYPES}")
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def from_npy(data: bytes, how: Decoding) -> np.ndarray:
    """Returns the picture of an `.npy` file, `[height, width, channels]`, of the type that it has there.

    `[channels, height, width]` is turned around if only its first axis can be channels of the model.

    Args:
        data: begins with `MAGIC`.
        how: gives the model's channels and the most pixels.

    Raises:
        DecodeError: the header is malformed, the values are not numbers, their count is not that of the shape, the
            shape is not that of a picture, or it has more than `max_pixels` pixels.
    """
    array = _parse(data)
    if array.ndim == 2:
        array = array[:, :, None]
    fitting = {1, 3, how.channels} if how.channels in (1, 3, 4) else {how.channels}
    if how.channels and array.shape[2] not in fitting and array.shape[0] in fitting:
        array = array.transpose(1, 2, 0)
    height, width, channels = array.shape
    if channels > MAX_ARRAY_CHANNELS:
        expected = f"expected [height, width] or [height, width, channels] with at most {MAX_ARRAY_CHANNELS} channels"
        raise DecodeError(f"shape {list(array.shape)}: {expected}")
    if height * width > how.max_pixels:
        raise DecodeError(f"{width} x {height} is more than the {how.max_pixels} pixels allowed (max_pixels)")
    return array


def _parse(data: bytes) -> np.ndarray:
    """Returns the array, which shares the memory of `data`."""
    length = _VERSIONS.get(data[6:8])
    if length is None or len(data) < 8 + length.size:
        raise DecodeError("an .npy file of no version from 1.0 to 3.0")
    (count,), start = length.unpack_from(data, 8), 8 + length.size
    if count > MAX_NPY_HEADER_BYTES or start + count > len(data):
        raise DecodeError(f"an .npy header of {count} bytes; allowed are {MAX_NPY_HEADER_BYTES}, within the file")
    dtype, fortran, shape = _header(data[start : start + count].decode("latin-1"))
    if len(shape) not in (2, 3) or 0 in shape:
        raise DecodeError(f"shape {list(shape)} is not [height, width] or [height, width, channels]")
    there, wanted = len(data) - start - count, math.prod(shape) * dtype.itemsize
    if there != wanted:
        raise DecodeError(f"{there} bytes of values, where shape {list(shape)} of {dtype} takes {wanted}")
    values = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype, offset=start + count)
    return (values != 0 if dtype.kind == "b" else values).reshape(shape, order="F" if fortran else "C")


def _header(text: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Returns type, whether the order is Fortran's, and shape."""
    usual = _HEADER.fullmatch(text)
    order, shape, descr = (pattern.search(text) for pattern in (_ORDER, _SHAPE, _DESCR))
    if not (usual and order and shape):
        raise DecodeError("an .npy header that is not the usual one of 'descr', 'fortran_order' and 'shape'")
    if not descr:
        raise DecodeError(f"an .npy file of a type that is not one of {DTYPES}")
    sides = tuple(int(side) for side in shape[1].split(",") if side.strip())
    return np.dtype(descr[1] + descr[2]), order[1] == "True", sides
