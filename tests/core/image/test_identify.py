"""What bytes are is decided by their content: every format by Pillow's own encoder, and what is none."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.image.arrays import to_npy
from transforms.core.image.decode import DecodeError, Decoding, decode, decode_mask

RNG = np.random.default_rng(0)
PHOTO = PIL.Image.fromarray(RNG.integers(0, 256, (24, 20, 3), np.uint8))
RGBA = PIL.Image.fromarray(RNG.integers(0, 256, (24, 20, 4), np.uint8), "RGBA")


def encode(picture, format, **options):
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


LOSSLESS = [
    ("PPM", {}),
    ("PCX", {}),
    ("SGI", {}),
    ("QOI", {}),
    ("TGA", {}),
    ("TGA", {"compression": "tga_rle"}),
    ("TGA", {"orientation": 1}),
    ("ICO", {"sizes": [(20, 24)]}),
    ("JPEG2000", {}),
    ("JPEG2000", {"no_jp2": True}),
    ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
]


@pytest.mark.parametrize(("format", "options"), LOSSLESS)
def test_a_format_gives_the_pixels_that_were_encoded(format, options):
    found = decode(encode(PHOTO, format, **options), None).array
    np.testing.assert_allclose(found, np.asarray(PHOTO) / 255, atol=(3 if format == "AVIF" else 0.01) / 255)
    if format != "QOI":  # Pillow writes it in colors alone
        gray = decode(encode(PHOTO.convert("L").convert("RGB" if format == "ICO" else "L"), format, **options), None)
        expected = np.asarray(PHOTO.convert("L"))[:, :, None] / 255
        np.testing.assert_allclose(gray.array, np.broadcast_to(expected, (24, 20, 3)), atol=0.02)


@pytest.mark.parametrize("format", ["AVIF", "JPEG2000", "TGA", "ICO", "QOI", "SGI"])
def test_transparent_pixels_of_each_format_are_composited(format):
    options = {"AVIF": {"quality": 100, "subsampling": "4:4:4"}, "ICO": {"sizes": [(20, 24)]}}.get(format, {})
    data = encode(RGBA, format, **options)
    white = decode(data, None, Decoding(alpha_color=(255, 255, 255))).array
    share = np.asarray(RGBA)[:, :, 3:] / 255
    expected = np.asarray(RGBA)[:, :, :3] / 255 * share + 1 - share
    np.testing.assert_allclose(white, expected, atol=0.03 if format == "AVIF" else 1.01 / 255)
    np.testing.assert_allclose(decode(data, None).array, expected - 1 + share, atol=0.03)


def test_a_tga_without_alpha_bits_is_opaque():
    data = bytearray(encode(RGBA, "TGA"))
    assert not np.allclose(decode(bytes(data), None).array, np.asarray(RGBA)[:, :, :3] / 255, atol=0.01)
    data[17] &= 0xF0
    np.testing.assert_allclose(decode(bytes(data), None).array, np.asarray(RGBA)[:, :, :3] / 255, atol=1e-6)


def test_a_tga_needs_no_footer():
    data = encode(PHOTO, "TGA")
    assert data.endswith(b"TRUEVISION-XFILE.\0")
    np.testing.assert_array_equal(decode(data[: 18 + 24 * 20 * 3], None).array, decode(data, None).array)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(min_size=18, max_size=80).map(str.encode), st.binary(min_size=18, max_size=80)))
def test_text_and_noise_are_no_picture(data):
    with pytest.raises(DecodeError):
        decode(data, None)


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04" + bytes(60),
        b"%PDF-1.7\n" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"\xd7\xcd\xc6\x9a" + bytes(60),  # WMF
        b"\x89HDF\r\n\x1a\n" + bytes(60),
        b"GRIB" + bytes(60),
        b"SIMPLE  =                    T" + b" " * 60,
        b"\x00\x00\x02\x00\x01\x00\x10\x10\x00\x00\x00\x00" + bytes(60),  # a cursor, almost a TGA
        b"P5 is what this sentence begins with, and it goes on",
        b"#define im_width 8\n#define im_height 1\nstatic char im_bits[] = { 0x01 };\n",
        b"\n\x05 two bytes of a PCX, then text",
        bytes(100),
    ],
)
def test_other_formats_are_refused(data):
    with pytest.raises(DecodeError, match=r"not an image of the formats|not decodable"):
        decode(data, None)


def test_an_icon_is_checked_before_it_is_decoded():
    """The frame says its own size, which the directory of the icon need not repeat."""
    large = encode(PIL.Image.new("RGB", (300, 200)), "PNG")
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(large), 22) + large
    with pytest.raises(DecodeError, match="300 x 200 is more than the 1000 pixels"):
        decode(icon, None, Decoding(max_pixels=1000))
    assert decode(icon, None, Decoding(max_pixels=60_000)).width == 300
    bitmap = struct.pack("<I2i2H6I", 40, 60_000, 120_000, 1, 32, 0, 0, 0, 0, 0, 0)
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bitmap), 22) + bitmap
    with pytest.raises(DecodeError, match="60000 x 60000 is more than"):
        decode(icon, None)


def test_an_icon_of_a_bitmap():
    data = encode(RGBA, "ICO", sizes=[(20, 24)], bitmap_format="bmp")
    expected = np.asarray(RGBA.convert("RGBa"))[:, :, :3] / 255
    np.testing.assert_allclose(decode(data, None).array, expected, atol=1e-6)


def test_arrays_may_be_masks():
    mask = np.zeros((6, 8), np.float32)
    mask[2:4, 3:] = 0.5
    np.testing.assert_array_equal(decode_mask(to_npy(mask), (6, 8), (6, 8), Decoding("stretch")), mask > 0)


def test_heic_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(DecodeError, match=r"HEIC takes the extra heif: pip install 'ig-audit\[heif\]'"):
        decode(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(60), None)


def test_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    smooth = np.linspace(0, 255, 64 * 48 * 3).reshape(64, 48, 3).astype(np.uint8)
    stream = io.BytesIO()
    pillow_heif.from_pillow(PIL.Image.fromarray(smooth)).save(stream, quality=95)
    pixels = decode(stream.getvalue(), None)
    assert (pixels.height, pixels.width) == (64, 48)
    np.testing.assert_allclose(pixels.array, smooth / 255, atol=0.05)
    with pytest.raises(DecodeError, match="48 x 64 is more than"):
        decode(stream.getvalue(), None, Decoding(max_pixels=100))
    with pytest.raises(DecodeError):
        decode(stream.getvalue()[:300], None)
