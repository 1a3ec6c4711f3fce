"""One attribution map → a summary of the pixels that the model uses: grid, channels, concentration, center, border.

All shares are of the map's total `Σ|IG|` over pixels and channels, so maps of images with different
scores can be averaged. Concentration is measured on the magnitude of a pixel, `Σ_channels |IG|`.

If a map is zero everywhere (of a picture that equals its baseline, for instance), its shares, its center and its
concentration are undefined. They are None, and not counted: zeros would pull the means of all other maps
toward 0, and their center toward the top left corner.

Only the signed sums of the cells are in units of the score. They are linear in the map, so their mean over images is
unbiased if the maps are, however noisy each of them is; a share is a ratio, and noise makes it too even.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Importance:
    """The summary of one attribution map; all but `cells` is None if the map is zero everywhere.

    Attributes:
        cells: float32 `[cells, cells]`, each cell's signed sum over its pixels and channels, in units of the score;
            they sum to the sum of the map. None if a sum is beyond float32.
        grid: float32 `[cells, cells]`, each cell's share of the magnitude; sums to 1.
        signed_grid: float32 `[cells, cells]`, each cell's signed sum divided by the total magnitude of the map, hence
            undefined if `grid` is; in [-1, 1].
        channel_share: float32 `[channels]`, each channel's share of the magnitude; sums to 1.
        positive_share: share of the magnitude that increases the score; in [0, 1].
        gini: Gini coefficient of the pixels' magnitudes: 0 if all are equal, close to 1 if one pixel has all.
        entropy: Shannon entropy of the pixels' shares divided by that of a uniform map; in [0, 1].
        center_row: centroid of the magnitude, 0 at the top edge and 1 at the bottom edge.
        center_col: the same from left to right.
        border_share: share of the magnitude in the outer frame of the image.
    """

    cells: np.ndarray | None = None
    grid: np.ndarray | None = None
    signed_grid: np.ndarray | None = None
    channel_share: np.ndarray | None = None
    positive_share: float | None = None
    gini: float | None = None
    entropy: float | None = None
    center_row: float | None = None
    center_col: float | None = None
    border_share: float | None = None


def summarize_map(values: np.ndarray, grid: int = 8, border: float = 0.1) -> Importance:
    """Returns the summary of one attribution map.

    >>> summarize_map(np.array([[[3.0], [-1.0]]]), grid=1).positive_share
    0.75

    Args:
        values: float `[height, width, channels]`, in units of the score.
        grid: cells per side. Pixel row `r` lies in cell row `r * grid // height`; some cells are empty if
            `height < grid`.
        border: width of the frame on each side, as a share of the height and of the width. A pixel
            belongs to it if its center does.

    Raises:
        ValueError: `values` is not a map with channels, or has values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 3:
        raise ValueError(f"an attribution map is [height, width, channels], not {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("the attribution map has values that are not finite")
    height, width, _ = values.shape
    magnitudes, signed = np.abs(values), _over_channels(values)
    magnitude = _over_channels(magnitudes)
    total = magnitude.sum()
    cells = _finite_cells(signed, grid)
    if total == 0:
        return Importance(cells)

    share = magnitude / total
    rows, cols = _centers(height), _centers(width)
    inner = _inside(rows, border)[:, None] & _inside(cols, border)
    return Importance(
        cells=cells,
        grid=_cell_sums(share, grid),
        signed_grid=_cell_sums(signed / total, grid),
        channel_share=(magnitudes.sum(axis=(0, 1)) / total).astype(np.float32),
        positive_share=_float32(values[values > 0].sum() / total),
        gini=_float32(_gini(share)),
        entropy=_float32(_entropy(share)),
        center_row=_float32(share.sum(axis=1) @ rows),
        center_col=_float32(share.sum(axis=0) @ cols),
        border_share=_float32(share[~inner].sum()),
    )


def sum_cells(values: np.ndarray, grid: int = 8) -> np.ndarray | None:
    """Returns the signed sum of each cell, see `Importance.cells`.

    Args:
        values: float `[height, width, channels]`, finite.
        grid: cells per side.
    """
    return _finite_cells(_over_channels(np.asarray(values, np.float64)), grid)


@dataclass(frozen=True)
class MaskImportance:
    """How much of an attribution lies on the object that the image shows; None if that is unknown.

    Attributes:
        mask_share: share of the magnitude inside the mask.
        pointing_hit: 1 if the pixel of the largest magnitude lies inside, else 0 (the pointing game of Zhang
            et al. 2016, without a margin).
    """

    mask_share: float | None = None
    pointing_hit: float | None = None


def summarize_mask(values: np.ndarray, mask: np.ndarray | None) -> MaskImportance:
    """Returns how much of an attribution map lies inside a mask; unknown for an empty mask or a map of zeros.

    Args:
        values: float `[height, width, channels]`.
        mask: bool `[height, width]`, or None if there is none.
    """
    if mask is None or not mask.any():
        return MaskImportance()
    magnitude = _over_channels(np.abs(np.asarray(values, np.float64)))
    total = magnitude.sum()
    if total == 0:
        return MaskImportance()
    return MaskImportance(_float32(magnitude[mask].sum() / total), float(mask.flat[magnitude.argmax()]))


def _float32(value: np.floating) -> float:
    return float(np.float32(value)) + 0.0  # −0 becomes 0: equal numbers have one representation


def _centers(size: int) -> np.ndarray:
    return (np.arange(size) + 0.5) / size


def _inside(centers: np.ndarray, border: float) -> np.ndarray:
    return (centers >= border) & (centers <= 1 - border)


def _over_channels(values: np.ndarray) -> np.ndarray:
    """Returns the sum over the last axis, whose few elements `sum` would take one by one."""
    return np.asarray(functools.reduce(np.add, np.moveaxis(values, -1, 0)))


def _finite_cells(pixels: np.ndarray, grid: int) -> np.ndarray | None:
    sums = _cell_sums(pixels, grid)
    return sums if np.isfinite(sums).all() else None


def _cell_sums(pixels: np.ndarray, grid: int) -> np.ndarray:
    height, width = pixels.shape
    rows = np.arange(height) * grid // height
    cols = np.arange(width) * grid // width
    cells = rows[:, None] * grid + cols
    sums = np.bincount(cells.ravel(), weights=pixels.ravel(), minlength=grid * grid)
    with np.errstate(over="ignore"):
        return sums.reshape(grid, grid).astype(np.float32) + np.float32(0)  # small negative sums round to −0


def _gini(share: np.ndarray) -> np.floating:
    """Returns `Σ_i (2i - n - 1) x_i / n` over ascending shares that sum to 1.

    Not as a product of vectors: for long ones, NumPy's would start threads, which wait for cores that are busy.
    """
    count = share.size
    ranks = np.arange(1 - count, count, 2)
    return np.sum(ranks * np.sort(share, axis=None)) / count


def _entropy(share: np.ndarray) -> np.floating:
    if share.size == 1:
        return np.float64(0)
    present = share[share > 0]
    return -np.sum(present * np.log(present)) / np.log(share.size)
