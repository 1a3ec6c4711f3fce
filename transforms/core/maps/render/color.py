"""Masks and signed maps → colors, and colors over a picture.

Pictures are float `[height, width, 3]` in [0, 1].
"""

from __future__ import annotations

import matplotlib
import numpy as np

from transforms.core.errors import UsageError

GREEN, RED = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
"""The colors of Keras' example for attributions for a class and against it."""

ORANGE, BLUE = (0.85, 0.33, 0.06), (0.10, 0.44, 0.76)
"""More and less, in colors that color-blind people can distinguish."""


def false_color(image: np.ndarray) -> np.ndarray:
    """Returns an image of any channels as a picture, float `[height, width, 3]`.

    One channel is gray, two are red and green, and of more than three the first three are red, green and blue.

    Args:
        image: float `[height, width, channels]` in [0, 1].
    """
    channels = image.shape[2]
    if channels == 2:
        return np.concatenate([image, np.zeros_like(image[:, :, :1])], axis=2)
    return np.repeat(image, 3, axis=2) if channels == 1 else image[:, :, :3]


def colorize(mask: np.ndarray, cmap: str = "inferno") -> np.ndarray:
    """Returns `mask` (`[height, width]` in [0, 1]) in color: float `[height, width, 3]` in [0, 1].

    Raises:
        ValueError: matplotlib has no color map of that name.
    """
    if cmap not in matplotlib.colormaps:
        raise UsageError(f"cmap: {cmap!r} is not a color map of matplotlib, such as inferno, viridis or gray")
    return matplotlib.colormaps[cmap](mask)[:, :, :3]


def colorize_signed(values: np.ndarray, cmap: str = "coolwarm", percentile: float = 99.0) -> np.ndarray:
    """Returns a signed map in a diverging color map with zero in its middle.

    Args:
        values: `[height, width]`.
        cmap: name of a color map; a diverging one distinguishes the signs.
        percentile: the percentile of the magnitudes that is shown at full intensity, above 0, at most 100.

    Raises:
        ValueError: the color map is unknown or the percentile is out of range.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile: {percentile} is not above 0 and at most 100")
    magnitude = np.abs(values)
    top = np.percentile(magnitude, percentile) or magnitude.max() or 1.0
    return colorize(0.5 + np.clip(values / top, -1, 1) / 2, cmap)


def overlay(image: np.ndarray, colored: np.ndarray, alpha: float = 0.4) -> np.ndarray:
    """Returns `image` blended over `colored`.

    Args:
        image: the picture on top.
        colored: a mask in color.
        alpha: weight of `image`; the rest is `colored`.

    Raises:
        ValueError: `alpha` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha: {alpha} is not from 0 to 1")
    return alpha * image + (1 - alpha) * colored


def tint(image: np.ndarray, mask: np.ndarray, color: tuple[float, float, float], strength: float = 0.8) -> np.ndarray:
    """Returns `image` with light of a `color` added where `mask` (`[height, width]` in [0, 1]) is bright."""
    return np.clip(image + strength * np.asarray(mask)[:, :, None] * np.asarray(color), 0, 1)
