"""Values of every width, and the channels of a model: against NumPy, on files that tifffile, Pillow or zlib wrote."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from transforms.core.image.arrays import to_npy
from transforms.core.image.decode import DecodeError, Decoding, decode, encode_thumbnail
from transforms.core.image.decoding import parse_alpha_color, parse_value_range

RNG = np.random.default_rng(0)
ROUNDING = 1e-6  # of float32, at values up to 1


def encode(array, format="PNG", mode=None, **options):
    picture = PIL.Image.fromarray(array)
    stream = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(stream, format, **options)
    return stream.getvalue()


def png(values, depth, kind, transparent=b""):
    """Returns a PNG of rows that are packed already."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = values.shape[:2]
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        bits = ["".join(f"{int(value):0{depth}b}" for value in row.ravel()) for row in values]
        rows = [bytes(int(row[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(row), 8)) for row in bits]
    header = struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)
    about = chunk(b"tRNS", transparent) if transparent else b""
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + about + data + chunk(b"IEND", b"")


def tiff(array, bits, sample_format, photometric=1, order="<"):
    """Returns an uncompressed TIFF of one strip of `array`'s bytes."""
    content, (height, width) = array if isinstance(array, bytes) else array.tobytes(), bits[1:]
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, bits[0]), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
        (277, 3, 1), (278, 4, height), (279, 4, len(content)), (339, 3, sample_format),
    ]  # fmt: skip
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, value in entries:
        packed = struct.pack(order + ("Hxx" if kind == 3 else "I"), value)
        directory += struct.pack(order + "2HI", tag, kind, 1) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(content) + len(content) % 2)
    return head + content + bytes(len(content) % 2) + directory + bytes(4)


# --- ranges


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (np.array([[0, 51, 255]], np.uint8), None),
        (np.array([[0, 7, 65535]], np.uint16), None),
        (np.array([[0, 7, 65535]], ">u2"), None),
        (np.array([[False, True]]), None),
        (np.array([[False, True]]), (0.0, 5.0)),
        (np.array([[0, 7, 4095]], np.uint16), (0.0, 4095.0)),
        (np.array([[-1000, 0, 3000]], np.int16), (-1000.0, 3000.0)),
        (np.array([[-1000, 0, 3000]], ">i4"), (-1000.0, 3000.0)),
        (np.array([[-1, 0, 0.25, 1]], np.float16), (-1.0, 1.0)),
        (np.array([[-1.1, 0, 2.3]], np.float32), (-1.1, 2.3)),  # as float32, -1.1 is less than -1.1
        (np.array([[2**40, 2**40 + 1]], np.int64), (2.0**40, 2.0**40 + 2)),
        (np.array([[1e-300, 1e300]], np.float64), (0.0, 1e300)),
    ],
)
def test_an_arrays_values_are_scaled_by_their_range(array, values):
    own = {"b": 1, "u": 255 if array.itemsize == 1 else 65535}.get(array.dtype.kind)
    low, high = values if values and array.dtype != bool else (0, own)
    expected = (array.astype(np.float64) - low) / (high - low)
    found = decode(to_npy(array), None, Decoding(channels=1, value_range=values)).array
    assert found.dtype == np.float32 and found.shape == (*array.shape, 1)
    np.testing.assert_allclose(found[:, :, 0], expected, atol=ROUNDING)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u4", "u8"])
def test_types_without_a_range_need_one_whatever_their_values(dtype):
    data = to_npy(np.array([[0, 1]], dtype))
    with pytest.raises(DecodeError, match="have no range of their own: set value_range LOW,HIGH"):
        decode(data, None)
    assert decode(data, None, Decoding(value_range=(0, 1))).array[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -0.01, 1.01])
def test_values_outside_the_range_are_refused(wrong):
    array = np.array([[0, 0.5, wrong, 1]], np.float32)
    with pytest.raises(DecodeError, match="are not all within value_range 0,1"):
        decode(to_npy(array), None, Decoding(value_range=(0, 1)))


def test_what_pads_is_black_whatever_the_range():
    array = np.full((2, 8), 5, np.int16)
    found = decode(to_npy(array), (8, 8), Decoding(value_range=(-5, 5))).array
    assert found[0].tolist() == [[0] * 3] * 8 and found[4].tolist() == [[1] * 3] * 8


def test_pictures_of_eight_bits_keep_their_range():
    gray = np.array([[0, 51, 255]], np.uint8)
    found = decode(encode(gray), None, Decoding(value_range=(0, 4095))).array[0, :, 0]
    np.testing.assert_allclose(found, gray[0] / 255, atol=ROUNDING)
    wide = np.array([[0, 51, 4095]], np.uint16)
    for format in ("PNG", "TIFF", "JPEG2000"):
        found = decode(encode(wide, format), None, Decoding(value_range=(0, 4095))).array[0, :, 0]
        np.testing.assert_allclose(found, wide[0] / 4095, atol=ROUNDING)


def test_a_range_is_not_ignored_where_bits_are_lost():
    rgb = RNG.integers(0, 256, (4, 4, 3), np.uint8)
    deep = bytearray(encode(rgb, "JPEG2000", no_jp2=True))
    at = deep.find(b"\xff\x4f\xff\x51") + 42
    for channel in range(3):
        assert deep[at + 3 * channel] == 7
        deep[at + 3 * channel] = 11
    gray_alpha = png(RNG.integers(0, 65536, (4, 4, 2)).astype(np.uint16), 16, 4)
    for data, name in ((bytes(deep), "JPEG2000"), (gray_alpha, "PNG")):
        assert decode(data, None).array.any()
        with pytest.raises(DecodeError, match=f"value_range: Pillow decodes {name} .* with 8 bits"):
            decode(data, None, Decoding(value_range=(0, 4095)))


def test_a_graymap_gives_its_own_range():
    data = b"P5 3 1 4095\n" + np.array([0, 1365, 4095], ">u2").tobytes()
    np.testing.assert_allclose(decode(data, None).array[0, :, 0], [0, 1 / 3, 1], atol=1e-5)


def test_a_float_map_needs_a_range():
    data = b"Pf\n3 1\n-1.0\n" + np.array([0, 0.5, 2], "<f4").tobytes()
    with pytest.raises(DecodeError, match="set value_range"):
        decode(data, None)
    found = decode(data, None, Decoding(value_range=(0, 2))).array[0, :, 0]
    np.testing.assert_allclose(found, [0, 0.25, 1], atol=ROUNDING)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "sample_format"), [("i1", 2), ("i2", 2), ("i4", 2), ("f4", 3)])
def test_a_tiffs_signed_and_wide_values(dtype, sample_format, order):
    array = (np.array([[3, 0, 100], [5, 7, 11]]) - 50).astype(order + dtype)
    data = tiff(array, (8 * array.itemsize, 2, 3), sample_format, order=order)
    with pytest.raises(DecodeError, match="set value_range"):
        decode(data, None)
    found = decode(data, None, Decoding(channels=1, value_range=(-50, 100))).array[:, :, 0]
    np.testing.assert_allclose(found, (array + 50.0) / 150, atol=ROUNDING)


def test_a_tiff_of_the_largest_unsigned_values():
    data = tiff(np.array([[0, 2**32 - 1]], "<u4"), (32, 1, 2), 1)
    assert decode(data, None, Decoding(value_range=(0, 2**32 - 1))).array[0, :, 0].tolist() == [0, 1]


def test_twelve_bits_are_scaled_by_their_own_range():
    data = tiff(bytes([0x00, 0x0F, 0xFF]), (12, 1, 2), 1)  # 0 and 4095
    assert decode(data, None).array[0, :, 0].tolist() == [0, 1]
    found = decode(data, None, Decoding(value_range=(0, 8190))).array[0, :, 0]
    assert found.tolist() == [0, 0.5]


def test_white_is_zero_in_sixteen_bits_too():
    gray = np.array([[0, 1000, 65535]], "<u2")
    np.testing.assert_allclose(
        decode(tiff(gray, (16, 1, 3), 1, photometric=0), None).array[0, :, 0], 1 - gray[0] / 65535, atol=ROUNDING
    )
    found = decode(tiff(gray, (16, 1, 3), 1, photometric=0), None, Decoding(value_range=(0, 131070))).array[0, :, 0]
    np.testing.assert_allclose(found, 1 - gray[0] / 131070, atol=ROUNDING)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_2000_of_few_bits_reaches_white(bits):
    """Pillow writes 16 bits; the header is told that there are fewer, and so the values are read."""
    gray = np.full((16, 16), (1 << bits) - 1, np.uint16)
    data = bytearray(encode(gray, "JPEG2000", no_jp2=True, irreversible=False))
    at = data.find(b"\xff\x4f\xff\x51") + 42
    assert data[at] == 15
    found = decode(bytes(data), None, Decoding(channels=1)).array
    np.testing.assert_allclose(found, gray[:, :, None] / 65535, atol=ROUNDING)
    data[at] = bits - 1
    expected = np.asarray(PIL.Image.open(io.BytesIO(data))) >> (16 - bits)
    found = decode(bytes(data), None, Decoding(channels=1)).array[:, :, 0]
    np.testing.assert_allclose(found, expected / ((1 << bits) - 1), atol=ROUNDING)


# --- transparent colors


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_any_depth(depth):
    most = (1 << depth) - 1
    values = np.array([[0, most, 1, most - 1]], np.uint16)
    data = png(values, depth, 0, struct.pack(">H", most))
    expected = np.where(values[0] == most, 0, values[0] / most)
    np.testing.assert_allclose(decode(data, None).array[0, :, 1], expected, atol=ROUNDING)
    red = decode(data, None, Decoding(alpha_color=(255, 0, 0))).array[0]
    assert red[1].tolist() == [1, 0, 0] and red[0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(decode(png(values, depth, 0), None).array[0, :, 1], values[0] / most, atol=ROUNDING)


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_color_of_any_depth(depth):
    least = 0x12 if depth == 8 else 0x1234
    values = np.array([[[least, 2, 3], [least + 1, 2, 3], [least, 2, 4]]], np.uint16)
    data = png(values, depth, 2, struct.pack(">3H", least, 2, 3))
    most, found = (1 << depth) - 1, decode(data, None, Decoding(alpha_color=(255, 255, 255))).array[0]
    np.testing.assert_allclose(found, [[1, 1, 1], *values[0, 1:] / most], atol=ROUNDING)


def test_colors_of_sixteen_bits_keep_them():
    values = RNG.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    np.testing.assert_allclose(decode(png(values, 16, 2), None).array, values / 65535, atol=ROUNDING)
    rgba = RNG.integers(0, 65536, (5, 7, 4)).astype(np.uint16)
    found = decode(png(rgba, 16, 6), None, Decoding(channels=4)).array
    np.testing.assert_allclose(found, rgba / 65535, atol=ROUNDING)
    over = decode(png(rgba, 16, 6), None, Decoding(alpha_color=(0, 255, 51))).array
    colors, alpha = rgba[:, :, :3] / 65535, rgba[:, :, 3:] / 65535
    np.testing.assert_allclose(over, colors * alpha + np.array([0, 1, 0.2]) * (1 - alpha), atol=1 / 65535)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 10)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_pixels_are_composited_over_the_color(mode, color):
    rgba = RNG.integers(0, 256, (9, 8, 4), np.uint8)
    rgba[:, :, :3] = rgba[:, :, :1]  # so that gray keeps it
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    picture = PIL.Image.fromarray(rgba, "RGBA")
    format, options = "PNG", {}
    if mode == "P":
        picture, options = PIL.Image.fromarray(rgba[:, :, 0] // 4, "P"), {"transparency": bytes(range(0, 256, 4))}
        picture.putpalette(bytes(RNG.integers(0, 256, 768).astype(np.uint8)))
    elif mode == "PA":
        picture, format = picture.convert("PA"), "TIFF"
    stream = io.BytesIO()
    (picture.convert("LA") if mode == "LA" else picture).save(stream, format, **options)
    straight = np.asarray(PIL.Image.open(io.BytesIO(stream.getvalue())).convert("RGBA")) / 255
    share = straight[:, :, 3:]
    expected = straight[:, :, :3] * share + np.array(color) / 255 * (1 - share)
    found = decode(stream.getvalue(), None, Decoding(alpha_color=color)).array
    np.testing.assert_allclose(found, expected, atol=1.01 / 255)  # two roundings to 8 bits
    assert np.ptp(share) > 0.8


# --- channels


def test_luminance_is_pillows_without_its_rounding():
    rgb = RNG.integers(0, 256, (9, 8, 3), np.uint8)
    found = decode(encode(rgb), None, Decoding(channels=1)).array[:, :, 0]
    np.testing.assert_allclose(found * 255, np.asarray(PIL.Image.fromarray(rgb).convert("L")), atol=0.51)
    np.testing.assert_allclose(found, rgb @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-5)
    gray = RNG.integers(0, 65536, (9, 8)).astype(np.uint16)
    np.testing.assert_allclose(
        decode(encode(gray), None, Decoding(channels=1)).array[:, :, 0], gray / 65535, atol=ROUNDING
    )


def test_a_model_of_four_channels():
    rgba = RNG.integers(0, 256, (4, 5, 4), np.uint8)
    four = Decoding(channels=4)
    np.testing.assert_allclose(decode(encode(rgba), None, four).array, rgba / 255, atol=ROUNDING)
    opaque = decode(encode(rgba[:, :, :3]), None, four).array
    np.testing.assert_allclose(opaque, np.dstack([rgba[:, :, :3] / 255, np.ones((4, 5))]), atol=ROUNDING)
    gray = decode(encode(rgba[:, :, 0]), None, four).array
    np.testing.assert_allclose(gray[:, :, 1:], np.dstack([rgba[:, :, 0] / 255] * 2 + [np.ones((4, 5))]), atol=ROUNDING)
    cmyk = PIL.Image.fromarray(rgba, "CMYK")
    stream = io.BytesIO()
    cmyk.save(stream, "TIFF")
    np.testing.assert_allclose(decode(stream.getvalue(), None, four).array, rgba / 255, atol=ROUNDING)
    assert decode(encode(rgba[:, :, :3]), (9, 5), four).array[0].tolist() == [[0] * 4] * 5  # pads are transparent


def test_a_model_of_two_channels():
    values = RNG.integers(0, 256, (4, 5, 2), np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(values, "LA").save(stream, "PNG")
    np.testing.assert_allclose(decode(stream.getvalue(), None, Decoding(channels=2)).array, values / 255, atol=ROUNDING)
    np.testing.assert_allclose(decode(to_npy(values), None, Decoding(channels=2)).array, values / 255, atol=ROUNDING)
    sixteen = np.array([[7, 8]], np.uint16)
    found = decode(png(sixteen, 16, 0, struct.pack(">H", 7)), None, Decoding(channels=2)).array
    np.testing.assert_allclose(found, [[[7 / 65535, 0], [8 / 65535, 1]]], atol=ROUNDING)


@pytest.mark.parametrize(
    ("channels", "bands"), [(13, 3), (13, 1), (2, 1), (2, 3), (3, 2), (1, 2), (3, 4), (1, 4), (4, 2), (3, 13)]
)
def test_no_channels_are_invented_or_left_out(channels, bands):
    array = RNG.integers(0, 256, (6, 7, bands), np.uint8)
    with pytest.raises(DecodeError, match=f"the model takes {channels} channels, the picture has {bands}"):
        decode(to_npy(array), (4, 4), Decoding(channels=channels))
    assert decode(to_npy(array), (4, 4), Decoding(channels=0)).array.shape == (4, 4, bands)
    if bands in (1, 3):
        with pytest.raises(DecodeError, match=f"the model takes {channels} channels, the picture has {bands}"):
            decode(encode(array[:, :, 0] if bands == 1 else array), None, Decoding(channels=channels))


def test_many_channels_are_resized_like_one():
    array = RNG.random((6, 7, 13)).astype(np.float32)
    found = decode(to_npy(array), (9, 5), Decoding(channels=13, value_range=(0, 1))).array
    for channel in range(13):
        one = decode(to_npy(array[:, :, channel]), (9, 5), Decoding(channels=1, value_range=(0, 1))).array[:, :, 0]
        np.testing.assert_array_equal(found[:, :, channel], one)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_thumbnails_of_any_channels(channels):
    shown = list(range(min(channels, 3)))
    values = np.linspace(0.2, 0.8, channels).astype(np.float32)
    data = encode_thumbnail(np.broadcast_to(values, (16, 16, channels)))
    found = decode(data, None, Decoding(channels=0)).array
    expected = [*values[shown], *[0] * (0 if channels == 1 else 3 - len(shown))]
    assert found.shape == (16, 16, 1 if channels == 1 else 3)
    np.testing.assert_allclose(found[8, 8], expected, atol=4 / 255)  # JPEG is lossy


# --- options


def test_colors_and_ranges_of_options():
    assert parse_alpha_color("white") == (255, 255, 255) and parse_alpha_color("0,128,255") == (0, 128, 255)
    assert parse_value_range("") is None and parse_value_range("-1e3, 3") == (-1000, 3)
    for text in ("", "red", "1,2", "256,0,0", "-1,0,0", "1.5,0,0", "1,2,3,4"):
        with pytest.raises(ValueError, match=r"alpha_color: .*black, white, gray or R,G,B with integers from 0 to 255"):
            parse_alpha_color(text)
    for text in ("1", "1,1", "2,1", "nan,1", "0,inf", "-1.7e308,1.7e308", "a,b", "0,1,2"):
        with pytest.raises(ValueError, match=r"value_range: .*LOW,HIGH"):
            parse_value_range(text)
