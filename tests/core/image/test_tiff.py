"""TIFF files of bands and floats, as tifffile writes them, against the arrays that were written."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.image.decode import DecodeError, Decoding, decode

tifffile = pytest.importorskip("tifffile")

RNG = np.random.default_rng(0)
ROUNDING = 1e-6


def write(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def bands(count, dtype="u2"):
    return RNG.integers(0, 60_000 if dtype == "u2" else 250, (8, 9, count)).astype(dtype)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("count", "dtype"), [(2, "u1"), (4, "u1"), (5, "u1"), (13, "u2"), (13, ">u2")])
def test_bands(count, dtype, planar, compression):
    array = bands(count, dtype)
    how = {"photometric": "minisblack", "compression": compression, "planarconfig": "separate" if planar else "contig"}
    data = write(np.moveaxis(array, 2, 0) if planar else array, **how)
    found = decode(data, None, Decoding(channels=count)).array
    np.testing.assert_allclose(found, array / np.iinfo(dtype).max, atol=ROUNDING)
    with pytest.raises(DecodeError, match=f"the model takes 3 channels, the picture has {count}"):
        decode(data, None)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i8", ">u4"])
def test_floats_and_wide_integers_need_a_range(dtype):
    for shape, photometric in (((8, 9), "minisblack"), ((8, 9, 3), "rgb")):
        array = (
            RNG.integers(-4, 5, shape).astype(dtype) if dtype[-2] != "u" else RNG.integers(0, 5, shape).astype(dtype)
        )
        data = write(array, photometric=photometric)
        with pytest.raises(DecodeError, match="set value_range"):
            decode(data, None)
        found = decode(data, None, Decoding(value_range=(-4, 4))).array
        np.testing.assert_allclose(found, np.broadcast_to(array.reshape(8, 9, -1), (8, 9, 3)) / 8 + 0.5, atol=ROUNDING)


def test_a_fourth_band_is_no_alpha_and_is_not_left_out():
    """Pillow leaves out bands that follow red, green and blue."""
    for count in (4, 5):
        array = bands(count, "u1")
        data = write(array, photometric="rgb", planarconfig="contig", extrasamples=["unspecified"] * (count - 3))
        found = decode(data, None, Decoding(channels=count)).array
        np.testing.assert_allclose(found, array / 255, atol=ROUNDING)
        np.testing.assert_allclose(decode(data, None).array, array[:, :, :3] / 255, atol=ROUNDING)


def test_a_range_counts_all_bits_of_colors():
    array = RNG.integers(0, 4096, (8, 9, 3)).astype("u2")
    found = decode(write(array, photometric="rgb"), None, Decoding(value_range=(0, 4095))).array
    np.testing.assert_allclose(found, array / 4095, atol=ROUNDING)


def test_white_may_be_zero_and_pictures_may_lie_on_a_side():
    array = RNG.random((8, 9))
    data = write(array, photometric="miniswhite", extratags=[(274, 3, 1, 6, True)])
    found = decode(data, None, Decoding(channels=1, value_range=(0, 1))).array[:, :, 0]
    np.testing.assert_allclose(found, np.rot90(1 - array, -1), atol=ROUNDING)


def test_limits():
    data = write(bands(13), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DecodeError, match="9 x 8 is more than the 71 pixels allowed"):
        decode(data, None, Decoding(channels=13, max_pixels=71))
    with pytest.raises(DecodeError, match="not decodable"):
        decode(data[: len(data) // 2], None, Decoding(channels=13))


def test_what_tifffile_needs_for_a_compression_is_named():
    data = write(bands(5, "u1"), photometric="minisblack", planarconfig="contig")
    none = struct.pack("<2HIHH", 259, 3, 1, 1, 0)
    assert data.count(none) == 1
    for compression, why in (
        (5, "imagecodecs"),
        (7, "compression 7; expected none, LZW, deflate, PackBits, Zstandard"),
    ):
        damaged = data.replace(none, struct.pack("<2HIHH", 259, 3, 1, compression, 0))
        try:
            decode(damaged, None, Decoding(channels=5))
        except DecodeError as error:
            assert why in str(error) or importlib.util.find_spec("imagecodecs")
        else:
            pytest.fail("it was decoded")


def test_without_tifffile_the_extra_is_named(monkeypatch):
    data = write(bands(13), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DecodeError, match=r"takes the extra tiff: pip install 'ig-audit\[tiff\]'"):
        decode(data, None, Decoding(channels=13))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_gives_pixels_or_a_decode_error(changes):
    data = bytearray(write(bands(5, "u1")[:4, :4], photometric="minisblack", planarconfig="contig"))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        found = decode(bytes(data), (4, 4), Decoding(channels=5, max_pixels=10_000)).array
    except DecodeError:
        return
    assert found.shape == (4, 4, 5) and np.isfinite(found).all()
