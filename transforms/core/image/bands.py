"""An opened picture → its values as bands, and the value that stands for 1; then the channels that a model takes.

Gray stays one band, colors become red, green and blue. Nothing is invented beyond this table; all else is refused.

    the model's channels    pictures
    1                       gray; of colors the luminance of ITU-R 601, as Pillow's mode L weighs it
    2                       gray with transparency; arrays of 2
    3                       colors; gray three times; CMYK and palettes as Pillow converts them
    4                       RGBA, opaque if the picture is not transparent; CMYK if the picture is; arrays of 4
    other                   arrays of as many

Transparent pixels are composited over a color, unless the model takes the alpha channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from transforms.core.image import png
from transforms.core.image.decoding import DecodeError, Decoding

LUMINANCE = np.array([19595, 38470, 7471], np.float32) / np.float32(65536)
"""Of red, green and blue, as Pillow rounds the weights of ITU-R 601."""

_BY_TYPE = {"b1": 1, "u1": 255, "u2": 65535}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_SIZ, _SIZ_PRECISION = b"\xff\x4f\xff\x51", 42

_ROWS = 64
_SGI_BYTES = 3
_TGA_FLAGS, _TGA_ALPHA_BITS = 17, 0x0F


@dataclass(frozen=True)
class Bands:
    """The values of a picture.

    Attributes:
        values: `[height, width, bands]`.
        full: the value that stands for 1, if 0 stands for 0; None if there is no such range.
        ranged: whether `value_range` holds for it.
        inverted: whether white is the lowest value.
    """

    values: np.ndarray
    full: int | None = 255
    ranged: bool = False
    inverted: bool = False

    def scaled(self, how: Decoding) -> tuple[np.ndarray, int]:
        """Returns the values as numbers, and the one that stands for 1; 0 stands for 0.

        Raises:
            DecodeError: they have no range, or some are outside it or not numbers.
        """
        if self.ranged and how.value_range and self.values.dtype != np.bool_:
            unit = _unit(self.values, *how.value_range)
            return (1 - unit if self.inverted else unit), 1
        if self.full is None:
            raise DecodeError(
                f"values of type {self.values.dtype} have no range of their own: set value_range LOW,HIGH"
            )
        return (self.full - self.values if self.inverted else self.values), self.full


def of_array(values: np.ndarray, inverted: bool = False) -> Bands:
    """Returns an array's bands: of small unsigned integers the type is the range, unless another is given."""
    return Bands(values, _BY_TYPE.get(values.dtype.str[1:]), ranged=True, inverted=inverted)


def of_picture(picture: PIL.Image.Image, data: bytes, how: Decoding) -> Bands:
    """Returns a picture's bands, not rotated, transparency composited or among them, as the model's channels require.

    Args:
        picture: decoded from `data`.
        data: the encoded picture.
        how: gives channels, and the color behind transparent pixels.

    Raises:
        DecodeError: there is a `value_range`, but Pillow has reduced the values.
    """
    if sixteen := png.read16(picture, data):
        values, alpha = sixteen
        return Bands(values if alpha is None else _over(values, alpha, how), 65535, ranged=True)
    if wide := _wide(picture, data):
        return wide
    if how.value_range is not None and _is_reduced(picture, data):
        raise DecodeError(f"value_range: Pillow decodes {picture.format} of these bands with 8 bits a value only")
    if picture.mode == "CMYK" and how.channels == 4:
        return Bands(_array(picture))
    if picture.format == "TGA" and picture.mode == "RGBA" and not data[_TGA_FLAGS] & _TGA_ALPHA_BITS:
        picture = picture.convert("RGB")
    png.mend_transparency(picture, data)
    if picture.has_transparency_data:
        return Bands(_opaque(picture, how))
    full = 255
    if bits := _jpeg2000_bits(picture, data):
        full = (255 << max(0, 8 - bits)) & 255  # Pillow shifts the values to the left
    return Bands(_array(picture.convert("L" if picture.mode in ("1", "L") else "RGB")), full)


def as_channels(values: np.ndarray, channels: int, full: float) -> np.ndarray:
    """Returns bands as the channels that a model takes, before or after they are resized.

    Args:
        values: `[height, width, bands]`.
        channels: of the model; 0 takes those of the picture.
        full: the value that stands for 1.

    Raises:
        DecodeError: there is no defined way.
    """
    bands = values.shape[2]
    if channels in (0, bands):
        return values
    if channels == 1 and bands == 3:
        return (values.astype(np.float32) @ LUMINANCE)[:, :, None]
    if channels == 3 and bands == 1:
        return np.broadcast_to(values, (*values.shape[:2], 3))
    if channels == 4 and bands in (1, 3):
        colors = np.broadcast_to(values, (*values.shape[:2], 3))
        return np.concatenate([colors, np.full_like(values[:, :, :1], full)], axis=2)
    raise DecodeError(f"the model takes {channels} channels, the picture has {bands}")


def _unit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns values from `low` to `high` as float32 from 0 to 1; a rounding of float32 beyond is not outside."""
    least, most, margin = float(values.min()), float(values.max()), 1e-6 * (high - low)
    if not (low - margin <= least and most <= high + margin):  # NaN neither
        raise DecodeError(f"values from {least:g} to {most:g} are not all within value_range {low:g},{high:g}")
    exact = np.float32 if values.dtype.itemsize <= 2 else np.float64
    unit = np.empty(values.shape, np.float32)
    for rows in _slices(len(values)):
        unit[rows] = np.clip(np.subtract(values[rows], low, dtype=exact) / (high - low), 0, 1)
    return unit


def _wide(picture: PIL.Image.Image, data: bytes) -> Bands | None:
    """Returns the bands of a picture whose values are signed or have more than 8 bits; None of any other."""
    tags = getattr(picture, "tag_v2", {})
    inverted, signed = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, _first(tags.get(_SAMPLE_FORMAT)) == _SIGNED
    if picture.mode.startswith("I;16"):
        values, bits = _array(picture), _first(tags.get(_BITS_PER_SAMPLE), 16)
        if precision := _jpeg2000_bits(picture, data):
            values, bits = values >> (16 - precision), precision  # Pillow shifts them to the left
        return Bands(values, (1 << bits) - 1, ranged=True, inverted=inverted)
    if picture.mode == "I" and picture.format == "PPM":
        return Bands(_array(picture), 65535)  # its header gives the range, to which Pillow has scaled the values
    if picture.mode == "I" and tags and not signed:
        return Bands(_array(picture).view(np.uint32), None, ranged=True, inverted=inverted)
    if picture.mode in ("I", "F"):
        return Bands(_array(picture), None, ranged=True, inverted=inverted)
    if picture.mode == "L" and signed:
        return Bands(_array(picture).view(np.int8), None, ranged=True)
    return None


def _is_reduced(picture: PIL.Image.Image, data: bytes) -> bool:
    """Returns whether Pillow has reduced values to 8 bits, of a picture that neither `png` nor `_wide` reads."""
    deep_png = data.startswith(png.MAGIC) and data[png.DEPTH] == 16
    deep_sgi = picture.format == "SGI" and data[_SGI_BYTES] == 2
    return deep_png or deep_sgi or _jpeg2000_bits(picture, data) > 8


def _opaque(picture: PIL.Image.Image, how: Decoding) -> np.ndarray:
    """Returns a transparent picture as uint8 bands: with alpha if the model takes that, else over the color."""
    if how.channels == 2 and picture.mode in ("1", "L", "LA"):
        return _array(picture.convert("LA"))
    picture = picture.convert("RGBA")
    if how.channels == 4:
        return _array(picture)
    colors = np.array(picture.convert("RGBa"))[:, :, :3]  # times alpha: over black
    through = np.uint16(255) - _array(picture.getchannel("A"))[:, :, 0]
    for channel, level in enumerate(how.alpha_color):
        if level:
            colors[:, :, channel] += ((through * np.uint16(level) + np.uint16(127)) // np.uint16(255)).astype(np.uint8)
    return colors


def _over(values: np.ndarray, alpha: np.ndarray, how: Decoding) -> np.ndarray:
    """Returns bands of 16 bits with their alpha `[height, width]` of 16 bits, as `_opaque` does."""
    alpha = alpha[:, :, None]
    if how.channels == 4 or (how.channels == 2 and values.shape[2] == 1):
        colors = values if how.channels == 2 else np.broadcast_to(values, (*values.shape[:2], 3))
        return np.concatenate([colors, alpha], axis=2)
    behind: np.ndarray = np.array(how.alpha_color, np.float32) * np.float32(257)
    mixed = np.empty((*values.shape[:2], 3), np.uint16)
    for rows in _slices(len(values)):
        share = alpha[rows].astype(np.float32) / 65535
        mixed[rows] = np.rint(behind + (values[rows].astype(np.float32) - behind) * share)
    return mixed


def _slices(rows: int) -> list[slice]:
    """Returns slices of all rows, so that what is computed of one takes little memory."""
    return [slice(start, start + _ROWS) for start in range(0, rows, _ROWS)]


def _array(picture: PIL.Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    return values if values.ndim == 3 else values[:, :, None]


def _first(values: Sequence[int] | int | None, default: int = 0) -> int:
    """Returns the first of a TIFF tag's numbers."""
    return (values[0] if values else default) if isinstance(values, Sequence) else default if values is None else values


def _jpeg2000_bits(picture: PIL.Image.Image, data: bytes) -> int:
    """Returns the bits of a value in a JPEG 2000 file, at most 16; 0 in other files."""
    at = data.find(_SIZ) + _SIZ_PRECISION if picture.format == "JPEG2000" else len(data)
    return min(16, (data[at] & 0x7F) + 1) if at < len(data) else 0
