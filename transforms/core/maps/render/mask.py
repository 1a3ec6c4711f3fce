"""The part of an attribution map that is shown, as a mask `[height, width]`.

`attribution_mask` is that of TensorFlow's tutorial on integrated gradients: the sum of |IG| over channels. Polarity,
clipping by mass, clean-up and outlines are those of Keras' example "Model interpretability with Integrated Gradients";
but outlines weight components by their attribution, whereas the example counts pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from transforms.core.errors import UsageError

_PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "both": np.abs,
    "positive": lambda values: np.maximum(values, 0),
    "negative": lambda values: np.maximum(-values, 0),
}

POLARITIES = tuple(_PARTS)
"""Which attributions count: all by their magnitude, those for the class, or those against it."""


def attribution_mask(values: np.ndarray, polarity: str = "both") -> np.ndarray:
    """Returns the weight of each pixel, float32 `[height, width]`, not negative.

    Args:
        values: `[height, width, channels]`, or `[height, width]` if channels were reduced.
        polarity: one of POLARITIES; applied before channels are summed.

    Raises:
        ValueError: `polarity` is not one of these.
    """
    if polarity not in _PARTS:
        raise UsageError(f"polarity: {polarity!r} is not one of {', '.join(POLARITIES)}")
    part = _PARTS[polarity](np.asarray(values, np.float32))
    return part.sum(axis=2) if part.ndim == 3 else part


def signed_map(values: np.ndarray) -> np.ndarray:
    """Returns the sum over channels, float32 `[height, width]`: the contribution of each pixel to the score."""
    values = np.asarray(values, np.float32)
    return values.sum(axis=2) if values.ndim == 3 else values


def clip_percentile(mask: np.ndarray, percentile: float = 99.0) -> np.ndarray:
    """Returns `mask` scaled so that its `percentile` becomes 1, and clipped to [0, 1].

    A few bright pixels then do not darken the rest.

    Args:
        mask: `[height, width]`, not negative.
        percentile: above 0, at most 100.

    Raises:
        ValueError: `percentile` is out of range.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile: {percentile} is not above 0 and at most 100")
    top = np.percentile(mask, percentile) or mask.max()
    return np.clip(mask / top, 0, 1) if top > 0 else np.zeros_like(mask)


def clip_mass(mask: np.ndarray, above: float = 99.0, below: float = 0.0, low: float = 0.2) -> np.ndarray:
    """Returns `mask` stretched between two percentiles of its mass, in [0, 1].

    Pixels are counted from the largest down: those that hold the first `100 − above` percent of the mass become 1,
    those after the first `100 − below` percent become 0, and those between are mapped linearly from `low` to 1.

    Args:
        mask: `[height, width]`, not negative.
        above: percentile of the mass above which pixels have full intensity, in (0, 100].
        below: percentile of the mass below which pixels are left out, in [0, 100), less than `above`.
        low: intensity of the faintest pixel that is shown.

    Raises:
        ValueError: the percentiles are out of range or out of order.
    """
    if not 0 <= below < above <= 100:
        raise UsageError(f"clip_below, clip_above: {below} and {above} are not in order within 0 to 100")
    mask = np.asarray(mask, np.float64)
    if not mask.any():
        return np.zeros_like(mask)
    top, bottom = _mass_level(mask, 100 - above), _mass_level(mask, 100 - below)
    stretched = (1 - low) * (mask - bottom) / (top - bottom) + low if top > bottom else np.ones_like(mask)
    return np.where((mask >= bottom) & (mask > 0), np.clip(stretched, 0, 1), 0)


def clean_up(mask: np.ndarray, size: int = 3) -> np.ndarray:
    """Returns `mask` with gaps and then specks narrower than `size` pixels removed: gray closing, then opening."""
    return ndimage.grey_opening(ndimage.grey_closing(mask, size=(size, size)), size=(size, size))


def outlines(mask: np.ndarray, mass: float = 90.0) -> np.ndarray:
    """Returns the outlines of the heaviest regions of `mask`, bool `[height, width]`.

    Regions are connected pixels above zero, diagonals included, with their holes filled; they are taken in descending
    order of mass until they contain `mass` percent of the mask's mass.

    Raises:
        ValueError: `mass` is out of range.
    """
    if not 0 < mass <= 100:
        raise UsageError(f"mass: {mass} is not above 0 and at most 100")
    regions, count = ndimage.label(ndimage.binary_fill_holes(mask > 0), structure=np.ones((3, 3)))
    if not count:
        return np.zeros(mask.shape, bool)
    masses = ndimage.sum_labels(np.asarray(mask, np.float64), regions, np.arange(1, count + 1))
    heaviest = np.argsort(-masses, kind="stable")
    needed = int(np.searchsorted(np.cumsum(masses[heaviest]), masses.sum() * mass / 100 * (1 - 1e-12))) + 1
    kept = np.isin(regions, heaviest[:needed] + 1)
    return kept & ~ndimage.binary_erosion(kept)


def _mass_level(mask: np.ndarray, percent: float) -> float:
    """Returns the largest value such that pixels of at least that value hold `percent` percent of the mass."""
    falling = np.sort(mask, axis=None)[::-1]
    held = np.cumsum(falling)
    position = np.searchsorted(held, held[-1] * percent / 100 * (1 - 1e-12))  # sums of the same numbers differ in bits
    return float(falling[min(int(position), len(falling) - 1)])
