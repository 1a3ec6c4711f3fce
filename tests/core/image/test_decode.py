"""Decoding against Pillow and TensorFlow, on every mode and format, and on hostile bytes."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.image.decode import DecodeError, Decoding, decode, decode_mask, encode_thumbnail
from transforms.core.image.resize import resize_bilinear
from transforms.core.vocabulary import IMAGE_FORMATS

# Three float32 roundings at values up to 1, on either side.
ROUNDING = 1e-6

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (37, 53, 3), np.uint8)


def encode(array, format="PNG", mode=None, **options):
    picture = PIL.Image.fromarray(array)
    if format == "ICO":
        options = {"sizes": [picture.size], **options}
    stream = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(stream, format, **options)
    return stream.getvalue()


def white(height, width):
    return encode(np.full((height, width, 3), 255, np.uint8))


def colour(data, size=None):
    return decode(data, size).array[0, 0].tolist()


# --- resizing


SIZES = [tuple(int(side) for side in RNG.integers(1, 301, 4)) for _ in range(60)]


@pytest.mark.parametrize(("height", "width", "to_height", "to_width"), SIZES)
def test_stretch_is_tf_image_resize(height, width, to_height, to_width):
    import tensorflow as tf

    array = RNG.integers(0, 256, (height, width, 3), np.uint8)
    expected = tf.image.resize(array / np.float32(255), (to_height, to_width)).numpy()
    actual = decode(encode(array), (to_height, to_width), Decoding("stretch")).array
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("height", "width", "to_height", "to_width"), SIZES)
def test_pad_is_tf_image_resize_with_pad(height, width, to_height, to_width):
    import tensorflow as tf

    array = RNG.integers(0, 256, (height, width, 3), np.uint8)
    expected = tf.image.resize_with_pad(array / np.float32(255), to_height, to_width).numpy()
    actual = decode(encode(array), (to_height, to_width)).array
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING)


def test_pad_places_every_extent_as_tensorflow_does():
    import tensorflow as tf

    for width in range(2, 2000, 31):
        array = np.ones((331, width, 1), np.float32)
        expected = tf.image.resize_with_pad(array, 224, 224).numpy()[:, :, 0] > 0
        actual = decode(white(331, width), (224, 224)).array[:, :, 0] > 0
        np.testing.assert_array_equal(actual, expected, err_msg=f"331 x {width}")


def test_antialiasing_would_be_told_apart():
    import tensorflow as tf

    expected = tf.image.resize(PHOTO / np.float32(255), (9, 9), antialias=True).numpy()
    assert np.abs(decode(encode(PHOTO), (9, 9), Decoding("stretch")).array - expected).max() > 0.1


@pytest.mark.parametrize(("height", "width", "to_height", "to_width"), SIZES[:20])
def test_crop_is_the_centre_of_the_covering_resize(height, width, to_height, to_width):
    import tensorflow as tf

    array = RNG.integers(0, 256, (height, width, 3), np.uint8)
    shrink = min(height / to_height, width / to_width)
    covering = max(to_height, round(height / shrink)), max(to_width, round(width / shrink))
    resized = tf.image.resize(array / np.float32(255), covering).numpy()
    top, left = (covering[0] - to_height) // 2, (covering[1] - to_width) // 2
    expected = resized[top : top + to_height, left : left + to_width]
    actual = decode(encode(array), (to_height, to_width), Decoding("crop")).array
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ROUNDING)


def test_an_extreme_extent_keeps_at_least_one_pixel():
    padded = decode(white(2, 5000), (10, 10)).array  # TensorFlow refuses this one: 10 / 2500 floors to no rows
    assert np.flatnonzero(padded[:, 0, 0]).tolist() == [4]


def test_resize_keeps_units_and_ramps():
    ramp = np.arange(8, dtype=np.uint16)[None, :, None] * np.ones((4, 1, 1), np.uint16)
    assert resize_bilinear(ramp, 2, 4)[0, :, 0].tolist() == [0.5, 2.5, 4.5, 6.5]


# --- modes


def test_eight_bit_grey_and_one_bit():
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    for channel in range(3):
        np.testing.assert_allclose(decode(encode(grey), None).array[:, :, channel], grey / 255, atol=ROUNDING)
    bits = np.array([[False, True]])
    assert decode(encode(bits), None).array[0, :, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_its_own_range(format):
    grey = np.array([[0, 1, 256, 65535]], np.uint16)
    np.testing.assert_allclose(decode(encode(grey, format), None).array[0, :, 1], grey[0] / 65535, atol=ROUNDING)


def test_transparent_pixels_are_laid_over_black():
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    expected = np.array([[200, 100, 50], [0, 0, 0], [40, 20, 10]]) / 255
    np.testing.assert_allclose(decode(encode(rgba), None).array[0], expected, atol=ROUNDING)
    assert colour(encode(np.array([[[200, 0]]], np.uint8), mode="LA")) == [0, 0, 0]


def test_a_transparent_palette_entry_is_black_and_the_others_stay():
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1])
    for format in ("PNG", "GIF"):
        stream = io.BytesIO()
        picture.save(stream, format, transparency=0)
        assert decode(stream.getvalue(), None).array[0].tolist() == [[0, 0, 0], [0, 1, 0]]
        stream = io.BytesIO()
        picture.save(stream, format)
        assert decode(stream.getvalue(), None).array[0].tolist() == [[1, 0, 0], [0, 1, 0]]


def test_cmyk_becomes_rgb():
    cyan = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for format in ("JPEG", "TIFF"):
        stream = io.BytesIO()
        cyan.save(stream, format)
        np.testing.assert_allclose(colour(stream.getvalue()), [0, 1, 1], atol=3 / 255)  # JPEG is lossy


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_range_are_refused(dtype):
    with pytest.raises(DecodeError, match="set value_range"):
        decode(encode(np.array([[np.nan if dtype is np.float32 else 7]], dtype), "TIFF"), None)


def test_png_equals_tensorflows_decoder():
    import tensorflow as tf

    data = encode(PHOTO)
    np.testing.assert_array_equal(decode(data, None).array, tf.io.decode_png(data).numpy() / np.float32(255))


@pytest.mark.parametrize("format", IMAGE_FORMATS)
def test_every_format_has_its_own_size_and_colour(format):
    teal = np.broadcast_to(np.array([0, 128, 128], np.uint8), (48, 32, 3))
    pixels = decode(encode(np.ascontiguousarray(teal), format), (16, 16), Decoding("stretch"))
    assert (pixels.height, pixels.width, pixels.array.shape, pixels.array.dtype) == (48, 32, (16, 16, 3), np.float32)
    np.testing.assert_allclose(pixels.array[8, 8], [0, 128 / 255, 128 / 255], atol=3 / 255)  # lossy ones


def test_only_the_first_frame_of_an_animation_counts():
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert colour(stream.getvalue()) == [1, 0, 0]


# --- orientation


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_the_image_upright(format, orientation):
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32] = 255  # one bright corner, and sides of different length: no two turns look the same
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encode(np.ascontiguousarray(stored), format, exif=exif), None)
    assert (pixels.height, pixels.width) == (32, 64)
    np.testing.assert_allclose(pixels.array, upright / 255, atol=0.1)  # lossy near the corner's edges


def test_damaged_exif_does_not_damage_the_image():
    data = encode(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20))
    assert decode(data, None).array.shape == PHOTO.shape


def test_hostile_exif_takes_no_time():
    """Its tags share 50 KB, which are 25 MB for whoever writes them anew: 5 s in Pillow."""
    tags, shared = 500, 50_000
    turned = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    others = (struct.pack(">HHII", 0x9300 + tag, 7, shared, 8 + 2 + 12 * (tags + 1) + 4) for tag in range(tags))
    directory = struct.pack(">H", tags + 1) + turned + b"".join(others) + bytes(4)
    data = encode(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*" + struct.pack(">I", 8) + directory + bytes(shared))
    start = time.process_time()
    pixels = decode(data, None)
    assert time.process_time() - start < 1
    assert (pixels.height, pixels.width) == (PHOTO.shape[1], PHOTO.shape[0])


# --- what cannot be decoded


@pytest.mark.parametrize("format", IMAGE_FORMATS)
def test_truncated(format):
    data = encode(PHOTO, format)
    with pytest.raises(DecodeError):
        decode(data[: len(data) // 2], None)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no bytes"),
        (b"hello, world", "not an image of the formats JPEG, PNG, WEBP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of the formats"),
        (b"Perfectly plain text", "not an image of the formats"),
    ],
)
def test_what_is_no_image(data, why):
    with pytest.raises(DecodeError, match=why):
        decode(data, (8, 8))


def test_a_zero_sized_image():
    data = bytearray(encode(PHOTO, "BMP"))
    data[18:22] = bytes(4)  # its width
    with pytest.raises(DecodeError, match="or one without pixels"):
        decode(bytes(data), None)


def test_the_pixel_limit_holds_before_decoding():
    header = white(100, 100)[:60]  # cut after the first data chunk's beginning: decoding would complain of that
    with pytest.raises(DecodeError, match=r"100 x 100 is more than the 9999 pixels allowed \(max_pixels\)"):
        decode(header, None, Decoding(max_pixels=9_999))
    assert decode(white(100, 100), None, Decoding(max_pixels=10_000)).height == 100


@pytest.mark.parametrize("max_pixels", [64_000_000, 4_000_000_000])
def test_only_our_limit_is_told_of_a_bomb(max_pixels):
    bomb = bytearray(encode(PHOTO, "GIF"))
    bomb[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(DecodeError, match=rf"65535 x 65535 is more than the {max_pixels} pixels allowed"):
        decode(bytes(bomb), None, Decoding(max_pixels=max_pixels))


@pytest.mark.parametrize("format", sorted({*IMAGE_FORMATS} - {"TIFF"}))  # checked when it loads too
def test_pillows_limit_is_not_ours_and_stays_as_the_process_has_it(format, monkeypatch):
    data, expected = encode(PHOTO, format), decode(encode(PHOTO, format), None).array
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(decode(data, None).array, expected)
    assert PIL.Image.MAX_IMAGE_PIXELS == 99


def test_an_unknown_resize_is_the_callers_fault():
    with pytest.raises(ValueError, match="resize: 'zoom' is not one of pad, crop, stretch"):
        decode(white(2, 2), (2, 2), Decoding("zoom"))


def test_no_warning_of_pillows_escapes():
    """In a process of its own: under pytest, warnings are errors already."""
    script = """
import io, numpy as np, PIL.Image
from transforms.core.image.decode import decode, DecodeError
stream = io.BytesIO()
PIL.Image.new("1", (10000, 10000)).save(stream, "PNG")
try:
    decode(stream.getvalue(), (8, 8))
except DecodeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "10000 x 10000 is more than the 64000000 pixels allowed" in done.stdout


def test_the_filters_of_warnings_stay_those_of_the_process():
    """On import as well as afterwards, and though threads decode side by side."""
    script = """
import io, threading, warnings
import numpy, PIL.Image
before = list(warnings.filters)
from transforms.core.image.decode import decode
assert warnings.filters == before
stream = io.BytesIO()
PIL.Image.new("RGB", (9, 9)).save(stream, "JPEG", exif=b"Exif\\0\\0MM\\0*\\xff\\xff\\xff\\xff" + bytes(20))
failed = []
def work():
    try:
        for _ in range(50):
            decode(stream.getvalue(), None)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert warnings.filters == before
assert not failed, failed
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


SOUND = [encode(PHOTO, format) for format in IMAGE_FORMATS]


@st.composite
def damaged(draw):
    data = bytearray(draw(st.sampled_from(SOUND)))
    for position in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=8)):
        data[position] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(1, len(data)))])


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_damaged_bytes_give_pixels_or_a_decode_error(data):
    try:
        array = decode(data, (16, 16), Decoding(max_pixels=1_000_000)).array
    except DecodeError as error:
        assert str(error)
    else:
        assert array.shape == (16, 16, 3)
        assert np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1


# --- thumbnails


def test_a_thumbnail_is_a_small_jpeg_of_the_same_colours():
    array = np.broadcast_to(np.float32([0.2, 0.4, 0.8]), (300, 600, 3))
    data = encode_thumbnail(array, max_side=100)
    pixels = decode(data, None)
    assert data.startswith(b"\xff\xd8") and (pixels.height, pixels.width) == (50, 100)
    np.testing.assert_allclose(pixels.array[25, 50], [0.2, 0.4, 0.8], atol=3 / 255)
    assert decode(encode_thumbnail(array[:20, :30]), None).array.shape == (20, 30, 3)


# --- masks


def block(height, width, inside=7):
    values = np.zeros((height, width), np.uint8)
    values[height // 3 :, : width // 2] = inside
    return values


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(31, 47), (300, 200), (64, 64)])
def test_a_mask_lies_where_the_image_does(height, width, resize):
    picture = encode(np.repeat(block(height, width, 255)[:, :, None], 3, axis=2))
    shown = decode(picture, (48, 64), Decoding(resize)).array[:, :, 0] > 0.5
    mask = decode_mask(encode(block(height, width)), (height, width), (48, 64), Decoding(resize))
    assert 0.1 < mask.mean() < 0.6
    assert (mask != shown).mean() < 0.01  # a corner is where nearest and bilinear differ


def test_a_mask_is_sampled_by_nearest_neighbour_as_pillow_does():
    values = RNG.integers(0, 2, (37, 53), np.uint8)
    expected = np.asarray(PIL.Image.fromarray(values).resize((64, 48), PIL.Image.Resampling.NEAREST)) > 0
    np.testing.assert_array_equal(decode_mask(encode(values), (37, 53), (48, 64), Decoding("stretch")), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
def test_masks_of_every_mode(mode):
    mask = decode_mask(encode(block(30, 30, 255), mode=mode), (30, 30), (30, 30))
    np.testing.assert_array_equal(mask, block(30, 30) > 0)


def test_a_smaller_mask_of_the_same_shape_will_do_and_another_shape_not():
    np.testing.assert_array_equal(decode_mask(encode(block(30, 40)), (60, 80), (30, 40)), block(30, 40) > 0)
    with pytest.raises(DecodeError, match="mask: 30 x 40 is not the aspect ratio of the image, 80 x 60"):
        decode_mask(encode(block(40, 30)), (60, 80), (30, 40))


@pytest.mark.parametrize("data", [b"", b"nonsense", encode(block(40, 30))[:-30]])
def test_a_bad_mask_is_a_decode_error_that_says_so(data):
    with pytest.raises(DecodeError, match="mask: "):
        decode_mask(data, (40, 30), (40, 30))
    with pytest.raises(DecodeError, match="mask: "):
        decode_mask(encode(block(40, 30)), (40, 30), (40, 30), Decoding(max_pixels=100))
