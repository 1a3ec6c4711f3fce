"""What Pillow does not give of a PNG: colors of 16 bits, and transparent colors of other than 8 bits.

Pillow keeps the high byte of 16-bit colors, and compares the transparent color, which the file gives in its own bits,
with pixels of 8 bits.
"""

from __future__ import annotations

import typing

import numpy as np
import PIL.Image
import PIL.ImageFile

from transforms.core.image.identify import identify

MAGIC = b"\x89PNG\r\n\x1a\n"
DEPTH, KIND = 24, 25
"""Positions of two bytes of the header: bits of a value, and gray, colors and alpha."""

_GRAY, _RGB, _RGBA = 0, 2, 6


def mend_transparency(picture: PIL.Image.Image, data: bytes) -> None:
    """Scales the transparent color of gray of 2 and 4 bits as Pillow scales the pixels."""
    if data.startswith(MAGIC) and data[KIND] == _GRAY and data[DEPTH] in (2, 4) and "transparency" in picture.info:
        picture.info["transparency"] *= 255 // ((1 << data[DEPTH]) - 1)


def read16(picture: PIL.Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Returns values of 16 bits and their alpha; None of a picture of fewer bits or of gray with an alpha channel.

    Args:
        picture: decoded from `data`.
        data: the encoded picture.

    Returns:
        uint16 `[height, width, 1 or 3]` and uint16 `[height, width]`, None if it is opaque.
    """
    if not data.startswith(MAGIC) or data[DEPTH] != 16 or data[KIND] not in (_GRAY, _RGB, _RGBA):
        return None
    values = np.asarray(picture)[:, :, None] if data[KIND] == _GRAY else _both_bytes(picture, data)
    if data[KIND] == _RGBA:
        return values[:, :, :3], values[:, :, 3]
    if "transparency" not in picture.info:
        return values, None
    opaque = (values != np.array(picture.info["transparency"], np.uint16)).any(axis=2)
    return values, opaque * np.uint16(65535)


def _both_bytes(picture: PIL.Image.Image, data: bytes) -> np.ndarray:
    """Returns colors of 16 bits: Pillow can unpack either byte of each value, so that a second pass gives the other."""
    with typing.cast(PIL.ImageFile.ImageFile, identify(data, picture.width * picture.height)) as low:
        low.tile = [tile._replace(args=str(tile.args).replace(";16B", ";16L")) for tile in low.tile]
        low.load()
        values = np.asarray(picture).astype(np.uint16)
        values <<= np.uint16(8)
        values |= np.asarray(low)
        return values
