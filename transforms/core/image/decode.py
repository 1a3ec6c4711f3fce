"""Encoded bytes → float32 pixels, safely, at the size that the model expects.

Pillow decodes, restricted to JPEG, PNG, WebP, BMP, TIFF and GIF (first frame). An image over the pixel
limit is refused before its pixels are decoded; Pillow's own limit does not apply. EXIF orientation is
applied. Transparent pixels are composited over black. 16-bit gray is scaled by 65535; modes without a
defined range (32-bit) are refused.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import PIL
import PIL.Image

from transforms.core.image.resize import fit_bilinear, fit_nearest
from transforms.core.record import Pixels
from transforms.core.vocabulary import IMAGE_FORMATS, MAX_PIXELS, RESIZES

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_JPEG_QUALITY = 85
_PREFIX_BYTES = 16  # passed to Pillow's plugins for detection

_QUIET = threading.Lock()
"""Held while Pillow's warnings are silenced: warning filters belong to the process, and each thread restores those that
it found."""


class DecodeError(ValueError):
    """The bytes are not an image, or not one that may be decoded."""


def decode(data: bytes, size: tuple[int, int] | None, resize: str = "pad", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Returns a decoded image, upright, resized to the model's input.

    Args:
        data: an encoded image.
        size: height and width in pixels; None keeps the image's own.
        resize: `pad`, `crop` or `stretch`.
        max_pixels: the most pixels that may be decoded.

    Raises:
        DecodeError: the bytes are empty, truncated, damaged or of another format, or the image exceeds `max_pixels`.
        ValueError: `resize` is unknown.
    """
    if resize not in RESIZES:
        raise ValueError(f"resize: {resize!r} is not one of {', '.join(RESIZES)}")
    try:
        array, full_scale = _read(data, max_pixels)
    except (DecodeError, MemoryError):
        raise
    except PIL.UnidentifiedImageError as error:
        raise DecodeError(f"not an image of the formats {', '.join(IMAGE_FORMATS)}, or one without pixels") from error
    except Exception as error:  # Pillow meets hostile bytes with exceptions of many kinds
        raise DecodeError(f"not decodable: {error or type(error).__name__}") from error
    height, width = array.shape[:2]
    fitted = array.astype(np.float32) if size is None else fit_bilinear(array, size, resize)
    return Pixels(np.clip(fitted / np.float32(full_scale), 0, 1), height, width)


def decode_mask(
    data: bytes, extent: tuple[int, int], size: tuple[int, int], resize: str = "pad", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Returns an image's mask at the size of the model's input: bool `[height, width]`, True inside.

    A pixel is inside if any color channel, or the index of its color, is not 0. Pixels are sampled by nearest
    neighbor.

    Args:
        data: an encoded picture, upright, of the image's own size or of the same aspect ratio.
        extent: height and width of the original image.
        size: of the model's input.
        resize: as for the image.
        max_pixels: the most pixels that may be decoded.

    Raises:
        DecodeError: as for an image; or the mask's aspect ratio differs from the image's.
    """
    try:
        with _open(data, max_pixels) as picture:
            values = np.asarray(picture)
            opaque = values[:, :, :-1] if picture.mode in ("LA", "PA", "RGBA") else values
    except (DecodeError, MemoryError) as error:
        raise DecodeError(f"mask: {error}") from error
    except Exception as error:
        raise DecodeError(f"mask: not decodable: {error or type(error).__name__}") from error
    height, width = values.shape[:2]
    if abs(height * extent[1] - width * extent[0]) > max(*extent, height, width):
        raise DecodeError(f"mask: {width} x {height} is not the aspect ratio of the image, {extent[1]} x {extent[0]}")
    inside = np.asarray(opaque.reshape(height, width, -1).any(axis=2))
    return fit_nearest(inside, size, resize)


def encode_thumbnail(array: np.ndarray, max_side: int = 224) -> bytes:
    """Returns an image as a JPEG of at most `max_side` pixels in height and width.

    Args:
        array: float `[height, width, 3]` in [0, 1].
        max_side: in pixels.
    """
    picture = PIL.Image.fromarray(np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8))
    picture.thumbnail((max_side, max_side))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


def _read(data: bytes, max_pixels: int) -> tuple[np.ndarray, int]:
    """Returns an image, upright, as uint8 or uint16 `[height, width, 3]`, and the value that stands for 1."""
    with _open(data, max_pixels) as picture:
        return _colors(_upright(picture))


@contextlib.contextmanager
def _open(data: bytes, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """Opens a picture of at most `max_pixels` pixels, and decodes them.

    Pillow's warnings about odd metadata are silenced in the block: the picture is either decoded, or a DecodeError
    gives the reason.
    """
    if not data:
        raise DecodeError("empty: no bytes")
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _identify(data) as picture:
            if picture.width * picture.height > max_pixels:
                size = f"{picture.width} x {picture.height}"
                raise DecodeError(f"{size} is more than the {max_pixels} pixels allowed (max_pixels)")
            picture.load()
            yield picture


def _identify(data: bytes) -> PIL.Image.Image:
    """Returns a picture of one of `IMAGE_FORMATS`, of which only the header is read.

    Like `PIL.Image.open`, but without Pillow's limit of pixels, which is process-wide and therefore the user's to set.

    Raises:
        PIL.UnidentifiedImageError: the bytes are in none of these formats.
    """
    PIL.Image.preinit()
    for name in IMAGE_FORMATS:
        if name not in PIL.Image.OPEN:
            PIL.Image.init()
        factory, accepts = PIL.Image.OPEN[name]
        if accepts is None or accepts(data[:_PREFIX_BYTES]) is True:
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):  # Pillow's refusals
                return factory(io.BytesIO(data), "")
    raise PIL.UnidentifiedImageError("no format fits")


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Returns a picture rotated as its EXIF data requires.

    `PIL.ImageOps.exif_transpose` rewrites that data, in time quadratic in its size: a minute for 60 KB.
    """
    turn = None
    with contextlib.suppress(Exception):  # damaged EXIF data does not damage the picture
        turn = _ORIENTATIONS.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    return picture if turn is None else picture.transpose(turn)


def _colors(picture: PIL.Image.Image) -> tuple[np.ndarray, int]:
    if picture.mode.startswith("I;16"):
        gray = np.asarray(picture)
        return np.broadcast_to(gray[:, :, None], (*gray.shape, 3)), 65535
    if picture.mode in ("I", "F"):
        raise DecodeError(f"mode {picture.mode}: 32-bit values have no defined range")
    if picture.has_transparency_data:
        return np.asarray(picture.convert("RGBA").convert("RGBa"))[:, :, :3], 255  # times alpha: over black
    return np.asarray(picture.convert("RGB")), 255
