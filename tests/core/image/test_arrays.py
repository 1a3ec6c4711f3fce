"""Arrays as `.npy` bytes: against NumPy's own writer and reader, and on hostile headers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.image.arrays import from_npy, to_npy
from transforms.core.image.decoding import DecodeError, Decoding

RNG = np.random.default_rng(0)
DTYPES = (
    "?",
    "u1",
    "i1",
    *(order + name for order in "<>" for name in ("u2", "i2", "i4", "u4", "i8", "f2", "f4", "f8")),
)


def saved(array, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpys_files_are_read(dtype, order):
    array = np.asarray(RNG.integers(0, 100, (5, 7, 3)) % 2 if dtype == "?" else RNG.integers(0, 100, (5, 7, 3)))
    array = np.array(array, dtype, order=order)
    for version in ((1, 0), (2, 0), (3, 0)):
        found = from_npy(saved(array, version), Decoding())
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    np.testing.assert_array_equal(from_npy(to_npy(array), Decoding()), array)
    np.testing.assert_array_equal(np.load(io.BytesIO(to_npy(array)), allow_pickle=False), array)


def test_the_order_and_spaces_of_the_header_do_not_matter():
    array = RNG.integers(0, 256, (2, 3), np.uint8)
    for text in (
        "{'shape':(2,3),'descr':'|u1','fortran_order':False}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, ), }\n",
    ):
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + array.tobytes()
        np.testing.assert_array_equal(from_npy(data, Decoding())[:, :, 0], array)


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((8, 9), 1, (8, 9, 1)),
        ((8, 9, 3), 3, (8, 9, 3)),
        ((3, 8, 9), 3, (8, 9, 3)),
        ((1, 8, 9), 3, (8, 9, 1)),
        ((3, 8, 3), 3, (3, 8, 3)),  # [height, width, channels] if it can be that
        ((4, 4, 4), 4, (4, 4, 4)),
        ((13, 8, 9), 13, (8, 9, 13)),
        ((13, 8, 9), 3, (13, 8, 9)),  # refused later: 9 channels
    ],
)
def test_channels_first_is_turned_if_nothing_else_fits(shape, channels, expected):
    array = RNG.integers(0, 256, shape, np.uint8)
    found = from_npy(to_npy(array), Decoding(channels=channels))
    assert found.shape == expected
    if expected not in (shape, (*shape, 1)):
        np.testing.assert_array_equal(found, np.moveaxis(array, 0, 2))


def test_what_is_no_number_is_not_written():
    for array in (np.array([["a"]]), np.array([[None]]), np.zeros((2, 2), complex), np.zeros((2, 2), "M8[s]")):
        with pytest.raises(ValueError, match="is not one of bool, integers"):
            to_npy(array)


def _file(text: str, values: bytes = bytes(4)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + values


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x93NUMPY", "no version"),
        (b"\x93NUMPY\x09\x00\x10\x00", "no version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "header of 2147483647 bytes"),
        (_file("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }"), "not the usual one"),
        (_file("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2), }"), "type that is not one of"),
        (_file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }"), "not the usual one"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2*1), }"), "not the usual one"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -2), }"), "not the usual one"),
        (_file("{'descr': '|u1', 'fortran_order': 0, 'shape': (2, 2), }"), "not the usual one"),
        (_file("{'descr': '|u1', 'descr': '|u1', 'shape': (2, 2), }"), "not the usual one"),
        (_file("__import__('os').abort()"), "not the usual one"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }"), r"shape \[4\] is not"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (), }"), r"shape \[\] is not"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 0), }"), r"shape \[2, 0\] is not"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 4), }"), "is not"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2), }"), "4 bytes of values.*takes 6"),
        (_file("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }"), "4 bytes of values.*takes 2"),
        (_file("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 9999999999), }"), "4 bytes of values"),
    ],
)
def test_hostile_files_are_refused(data, why):
    with pytest.raises(DecodeError, match=why):
        from_npy(data, Decoding())


def test_limits():
    with pytest.raises(DecodeError, match=r"3 x 4 is more than the 11 pixels allowed \(max_pixels\)"):
        from_npy(to_npy(np.zeros((4, 3), np.uint8)), Decoding(max_pixels=11))
    assert from_npy(to_npy(np.zeros((4, 3, 3), np.uint8)), Decoding(max_pixels=12)).shape == (4, 3, 3)
    with pytest.raises(DecodeError, match="at most 4096 channels"):
        from_npy(to_npy(np.zeros((2, 2, 4097), np.uint8)), Decoding())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 150), st.binary(min_size=1, max_size=12))
def test_damage_is_refused_or_is_a_picture(position, damage):
    data = bytearray(to_npy(np.arange(24, dtype="<f4").reshape(4, 6)))
    data[position : position + len(damage)] = damage
    try:
        found = from_npy(bytes(data), Decoding())
    except DecodeError:
        return
    assert found.ndim == 3 and found.dtype.kind in "biuf"
