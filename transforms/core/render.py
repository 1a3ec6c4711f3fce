"""Attribution maps → pictures: mask, clipping, overlay, and panels in one PNG.

The mask and the overlay are those of TensorFlow's tutorial on integrated gradients: the sum of |IG| over
channels in a colour map, and the image laid over it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

_PANEL_INCHES = 3.6
_DPI = 120


@dataclass(frozen=True)
class Panel:
    """A picture with its title: float `[height, width, 3]` in [0, 1]."""

    title: str
    picture: np.ndarray


def attribution_mask(values: np.ndarray) -> np.ndarray:
    """Returns the magnitude of each pixel, float32 `[height, width]`.

    Args:
        values: `[height, width, channels]`, or `[height, width]` where channels were reduced.
    """
    magnitude = np.abs(np.asarray(values, np.float32))
    return magnitude.sum(axis=2) if magnitude.ndim == 3 else magnitude


def clip_percentile(mask: np.ndarray, percentile: float = 99.0) -> np.ndarray:
    """Returns `mask` scaled so that its `percentile` becomes 1, and clipped to [0, 1].

    A few bright pixels then don't leave the rest in the dark.

    Args:
        mask: `[height, width]`, not negative.
        percentile: above 0, at most 100.

    Raises:
        ValueError: `percentile` is out of range.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile: {percentile} is not above 0 and at most 100")
    top = np.percentile(mask, percentile) or mask.max()
    return np.clip(mask / top, 0, 1) if top > 0 else np.zeros_like(mask)


def colorize(mask: np.ndarray, cmap: str = "inferno") -> np.ndarray:
    """Returns `mask` (`[height, width]` in [0, 1]) in colour, `[height, width, 3]` in [0, 1].

    Raises:
        ValueError: matplotlib has no colour map of that name.
    """
    if cmap not in matplotlib.colormaps:
        raise ValueError(f"cmap: {cmap!r} is not a colour map of matplotlib, such as inferno, viridis or gray")
    return matplotlib.colormaps[cmap](mask)[:, :, :3]


def overlay(image: np.ndarray, colored: np.ndarray, alpha: float = 0.4) -> np.ndarray:
    """Returns `image` laid over `colored`, both `[height, width, 3]` in [0, 1].

    Args:
        image: the picture on top.
        colored: a mask in colour.
        alpha: weight of `image`; the rest is `colored`.

    Raises:
        ValueError: `alpha` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: {alpha} is not from 0 to 1")
    return alpha * image + (1 - alpha) * colored


def draw_panels(panels: Sequence[Panel], caption: str = "", columns: int = 2) -> bytes:
    """Returns a PNG of `panels`, row by row, under a caption; the text is shown as it is, with no markup."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_PANEL_INCHES * columns, _PANEL_INCHES * rows + 0.6), dpi=_DPI, layout="constrained")
    figure.suptitle(caption, fontsize=10, parse_math=False)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        axis.imshow(np.clip(panel.picture, 0, 1), interpolation="nearest")
        axis.set_title(panel.title, fontsize=9, parse_math=False)
    for axis in axes:
        axis.set_axis_off()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
