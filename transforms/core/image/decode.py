"""Encoded bytes → float32 pixels, safely, at the size and with the channels that the model expects.

The content decides what the bytes are, never a name: an array (`arrays`), or a picture that Pillow opens (`identify`,
`bands`), or a TIFF that only tifffile reads (`tiff`). Of an animation, the first frame is decoded. EXIF orientation is
applied.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import PIL
import PIL.Image

from transforms.core.image import arrays, bands, tiff
from transforms.core.image.bands import Bands
from transforms.core.image.decoding import DecodeError, Decoding
from transforms.core.image.identify import opened
from transforms.core.image.resize import fit_bilinear, fit_nearest
from transforms.core.record import Pixels
from transforms.core.vocabulary import IMAGE_FORMATS

__all__ = ["DecodeError", "Decoding", "decode", "decode_mask", "encode_thumbnail"]

T = TypeVar("T")

_ORIENTATION_TAG = 0x0112
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}
_JPEG_QUALITY = 85


def decode(data: bytes, size: tuple[int, int] | None, how: Decoding = Decoding()) -> Pixels:
    """Returns a decoded image, upright, resized to the model's input: float32 `[height, width, channels]` in [0, 1].

    Args:
        data: an encoded image, or an array as `arrays.to_npy` writes it.
        size: height and width in pixels; None keeps the image's own.
        how: resize, limit, channels and ranges.

    Raises:
        DecodeError: the bytes are empty, truncated, damaged or of another format; the image exceeds `max_pixels`; its
            values are outside their range, or have none; or the model takes other channels.
    """
    values, full = _decoded(lambda: _read(data, how))
    height, width = values.shape[:2]
    fitted = values.astype(np.float32) if size is None else fit_bilinear(values, size, how.resize)
    unit = np.clip(fitted / np.float32(full), 0, 1)
    return Pixels(np.ascontiguousarray(bands.as_channels(unit, how.channels, 1)), height, width)


def decode_mask(data: bytes, extent: tuple[int, int], size: tuple[int, int], how: Decoding = Decoding()) -> np.ndarray:
    """Returns an image's mask at the size of the model's input: bool `[height, width]`, True inside.

    A pixel is inside if any color channel, or the index of its color, is not 0. Pixels are sampled by nearest
    neighbor.

    Args:
        data: an encoded picture or an array, upright, of the image's own size or of the same aspect ratio.
        extent: height and width of the original image.
        size: of the model's input.
        how: resize and limit, as for the image.

    Raises:
        DecodeError: as for an image; or the mask's aspect ratio differs from the image's.
    """
    try:
        inside = _decoded(lambda: _read_mask(data, how))
    except DecodeError as error:
        raise DecodeError(f"mask: {error}") from error
    height, width = inside.shape
    if abs(height * extent[1] - width * extent[0]) > max(*extent, height, width):
        raise DecodeError(f"mask: {width} x {height} is not the aspect ratio of the image, {extent[1]} x {extent[0]}")
    return fit_nearest(inside, size, how.resize)


def encode_thumbnail(array: np.ndarray, max_side: int = 224) -> bytes:
    """Returns an image as a JPEG of at most `max_side` pixels in height and width.

    Args:
        array: float `[height, width, channels]` in [0, 1]; of 2 channels red and green are shown, and of more than 3
            the first three as red, green and blue.
        max_side: in pixels.
    """
    values = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    channels = values.shape[2]
    if channels == 2:
        values = np.concatenate([values, np.zeros_like(values[:, :, :1])], axis=2)
    picture = PIL.Image.fromarray(np.ascontiguousarray(values[:, :, 0] if channels == 1 else values[:, :, :3]))
    picture.thumbnail((max_side, max_side))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


def _decoded(read: Callable[[], T]) -> T:
    """Returns what `read` returns; whatever hostile bytes make it raise is a DecodeError.

    Raises:
        MemoryError: there is not enough, which is for the guard to say.
    """
    try:
        return read()
    except (DecodeError, MemoryError):
        raise
    except PIL.UnidentifiedImageError as error:
        known = ", ".join((*IMAGE_FORMATS, "HEIC", "NPY"))
        raise DecodeError(f"not an image of the formats {known}, or one without pixels") from error
    except Exception as error:  # Pillow meets hostile bytes with exceptions of many kinds
        raise DecodeError(f"not decodable: {error or type(error).__name__}") from error


def _read(data: bytes, how: Decoding) -> tuple[np.ndarray, int]:
    """Returns an image, upright, as numbers `[height, width, bands]`, and the value that stands for 1."""
    found, orientation = _bands(data, how)
    values, full = found.scaled(how)
    if how.channels == 4:  # before it is resized: what pads it is transparent
        values = bands.as_channels(values, 4, full)
    turn = _TURNS.get(orientation)
    return (turn(values) if turn else values), full


def _bands(data: bytes, how: Decoding) -> tuple[Bands, int]:
    """Returns an image's bands as they are stored, and its orientation."""
    if not data:
        raise DecodeError("empty: no bytes")
    if data.startswith(arrays.MAGIC):
        return bands.of_array(arrays.from_npy(data, how)), 1
    try:
        with opened(data, how.max_pixels) as picture:
            if not tiff.is_reduced(picture, how):
                return bands.of_picture(picture, data, how), _orientation(picture)
    except PIL.UnidentifiedImageError:
        if not tiff.is_tiff(data):
            raise
    return tiff.read(data, how)


def _read_mask(data: bytes, how: Decoding) -> np.ndarray:
    """Returns a mask at its own size, bool `[height, width]`."""
    if not data:
        raise DecodeError("empty: no bytes")
    if data.startswith(arrays.MAGIC):
        values = arrays.from_npy(data, how)
    else:
        with opened(data, how.max_pixels) as picture:
            values = np.asarray(picture)
            values = values[:, :, :-1] if picture.mode in ("LA", "PA", "RGBA") else values
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def _orientation(picture: PIL.Image.Image) -> int:
    """Returns the orientation of the EXIF data, 1 to 8.

    `PIL.ImageOps.exif_transpose` rewrites that data, in time quadratic in its size: a minute for 60 KB.
    """
    with contextlib.suppress(Exception):  # damaged EXIF data does not damage the picture
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    return 1
