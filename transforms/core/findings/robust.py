"""How far a picture's attribution lies from that of its class, in robust units: median and median absolute deviation.

A place is a cell, two by two neighboring cells, or the frame of the picture; its value is the sum of the signed cells
in it. A place's spread counts as no less than that of the median place of its size: the corners of pictures with black
borders have none, and every picture would lie infinitely far away there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_TINY = 1e-12


@dataclass(frozen=True)
class Place:
    """A part of the picture.

    Attributes:
        cells: numbers of its cells, row by row, sorted.
        size: name of the places whose spreads are compared: `cell`, `block` or `frame`.
    """

    cells: tuple[int, ...]
    size: str


def places_of(side: int) -> list[Place]:
    """Returns the places of a grid: its cells, its blocks of two by two cells, and its frame.

    >>> [len(place.cells) for place in places_of(2)]
    [1, 1, 1, 1, 4]

    Args:
        side: cells a side.
    """
    found = [Place((cell,), "cell") for cell in range(side * side)]
    starts = [row * side + col for row in range(side - 1) for col in range(side - 1)]
    found += [Place((start, start + 1, start + side, start + side + 1), "block") for start in starts]
    if side > 3:  # a smaller one is hardly anything but frame
        rows, cols = np.divmod(np.arange(side * side), side)
        outside = (np.minimum(rows, cols) == 0) | (np.maximum(rows, cols) == side - 1)
        found.append(Place(tuple(np.flatnonzero(outside).tolist()), "frame"))
    return found


def sums(signed: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """Returns the sum of the signed cells in each place, float32 `[rows, places]`.

    Args:
        signed: float `[rows, cells]`; NaN in all cells of a map that is zero everywhere.
        places: what to sum up.
    """
    members = np.zeros((signed.shape[1], len(places)), np.float32)
    for number, place in enumerate(places):
        members[list(place.cells), number] = 1
    return signed.astype(np.float32) @ members


@dataclass(frozen=True)
class Robust:
    """Center and spread of each place of a class.

    Attributes:
        center: medians, float64 `[places]`.
        spread: in units of a standard deviation of the normal distribution, float64 `[places]`, above 0.
    """

    center: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, sizes: Sequence[str]) -> Robust:
        """Returns center and spread of rows.

        Args:
            values: finite float `[rows, places]`, at least one row.
            sizes: of each place; spreads are bounded from below by the median one of the same size.
        """
        center = np.median(values, axis=0)
        spread = _NORMAL * np.median(np.abs(values - center), axis=0).astype(np.float64)
        names = np.array(sizes)
        for size in set(sizes):
            same = names == size
            spread[same] = np.maximum(spread[same], np.median(spread[same]))
        return cls(center.astype(np.float64), np.maximum(spread, _TINY))

    def z(self, values: np.ndarray) -> np.ndarray:
        """Returns how many spreads each value lies above its center, float32 `[rows, places]`."""
        return ((values - self.center) / self.spread).astype(np.float32)


def strangeness(signed: np.ndarray) -> np.ndarray:
    """Returns the largest robust z over the cells of each row, float32 `[rows]`; NaN for a map that is zero everywhere.

    Args:
        signed: float `[rows, cells]` of one class.
    """
    known = ~np.isnan(signed).any(axis=1)
    found = np.full(len(signed), np.nan, np.float32)
    if known.any():
        values = signed[known]
        found[known] = np.abs(Robust.of(values, ["cell"] * values.shape[1]).z(values)).max(axis=1)
    return found
