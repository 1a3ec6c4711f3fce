"""Maps and photographs → the page's pictures, as data URIs.

Maps of cells are tiny PNGs, a pixel a cell, in one color whose opacity is the number: zero is the page's own
background, light or dark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import PIL.Image

from transforms.core.image.decode import decode, encode_thumbnail
from transforms.core.image.resize import resize_bilinear
from transforms.core.maps.render import BLUE, ORANGE, attribution_mask, clip_percentile, colorize, overlay

_PHOTOGRAPH_SIDE = 192
_SCALE_PIXELS = 65


def map_image(cells: Sequence[float], top: float) -> str:
    """Returns a square map of shares as a data URI, a pixel a cell; `top` and more is full color."""
    values = _square(cells)
    return _png(np.full((*values.shape, 3), ORANGE), values / top if top else values)


def signed_image(cells: Sequence[float] | np.ndarray, top: float) -> str:
    """Returns a square map of signed numbers as a data URI: above zero orange, below blue, ±`top` is full color."""
    values = _square(cells)
    colors = np.where(values[:, :, None] > 0, ORANGE, BLUE)
    return _png(colors, np.abs(values) / top if top else values)


def scale_image(signed: bool) -> str:
    """Returns the color scale of maps as a data URI, from 0 or, where `signed`, from less to more."""
    values = np.linspace(-1.0 if signed else 0.0, 1.0, _SCALE_PIXELS)[None]
    return _png(np.where(values[:, :, None] >= 0, ORANGE, BLUE), np.abs(values))


def photograph(thumbnail: bytes) -> str:
    """Returns a stored thumbnail as a data URI of a small JPEG.

    Raises:
        DecodeError: it is no picture.
    """
    return _jpeg(decode(thumbnail, None).array)


def overlaid(thumbnail: bytes, values: np.ndarray) -> str:
    """Returns the thumbnail with the mask of an attribution map laid over it, as a data URI.

    Raises:
        DecodeError: the thumbnail is no picture.
    """
    mask = clip_percentile(attribution_mask(values))
    image = resize_bilinear(decode(thumbnail, None).array, *mask.shape)
    return _jpeg(np.asarray(overlay(image, colorize(mask)), np.float32))


def _square(cells: Sequence[float] | np.ndarray) -> np.ndarray:
    side = round(len(cells) ** 0.5)
    return np.asarray(cells, float).reshape(side, side)


def _png(colors: np.ndarray, opacity: np.ndarray) -> str:
    picture = np.concatenate([colors, np.clip(opacity, 0, 1)[:, :, None]], axis=2)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(stream, "PNG", optimize=True)
    return _data_uri("image/png", stream.getvalue())


def _jpeg(array: np.ndarray) -> str:
    return _data_uri("image/jpeg", encode_thumbnail(array, _PHOTOGRAPH_SIDE))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
