"""Places: where a picture's attribution may lie, and how much of it lies there.

A place is a cell, four neighboring cells, or the frame of an image's grid, each for the class and against it, or of the
attribution's magnitude; or a number of the whole map. All are of one picture, so that a few pictures that look
elsewhere can be counted, however small their share of the class is.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FOR, AGAINST, SHARE = "for", "against", "share"
"""What lies in a place: attribution that speaks for the class, that speaks against it, or any."""

HIGH, LOW = "high", "low"
"""How a number is: far above what is usual, or far below."""

NUMBERS = ("border_share", "gini")
"""Numbers of a map that are looked at beside its cells: attention at the border, and how concentrated it is."""

ANYWHERE = "anywhere"
"""The name of a place that differs from picture to picture: whichever cell is farthest from usual."""

COLUMNS = ("signed_grid", "grid", *NUMBERS)
"""Columns of rows that places are computed from."""


@dataclass(frozen=True)
class Place:
    """A place and a direction.

    Attributes:
        name: of a column in NUMBERS, or ANYWHERE; empty for cells of the grid.
        cells: (row, column) of the grid; empty if there is a name.
        side: FOR, AGAINST or SHARE for cells; HIGH or LOW for a number.
    """

    name: str
    cells: tuple[tuple[int, int], ...]
    side: str


@dataclass(frozen=True)
class Places:
    """All places of a grid.

    Attributes:
        side: cells per side of the grid.
    """

    side: int

    @functools.cached_property
    def all(self) -> tuple[Place, ...]:
        """Returns the places, in the order of `Exceedances.counts`: all that are high, all that are low, anywhere."""
        signed = self._areas
        shares = tuple((cell,) for cell in np.ndindex(self.side, self.side))
        high = [Place("", cells, FOR) for cells in signed] + [Place("", cells, SHARE) for cells in shares]
        low = [Place("", cells, AGAINST) for cells in signed]
        return (
            *high,
            *(Place(name, (), HIGH) for name in NUMBERS),
            *low,
            *(Place(name, (), LOW) for name in NUMBERS),
            *(Place(ANYWHERE, (), side) for side in (FOR, AGAINST)),
        )

    @functools.cached_property
    def _areas(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Returns the cells of each area: single cells, four neighbors, the frame."""
        last = self.side - 1
        cells = [(cell,) for cell in np.ndindex(self.side, self.side)]
        blocks = [
            tuple((row + down, col + right) for down in (0, 1) for right in (0, 1))
            for row, col in np.ndindex(last, last)
        ]
        frame = tuple((row, col) for row, col in np.ndindex(self.side, self.side) if {row, col} & {0, last})
        return (*cells, *blocks, *((frame,) if self.side > 2 else ()))

    @functools.cached_property
    def _sums(self) -> np.ndarray:
        """Returns which cells each area but the single cells adds up, float32 `[cells, areas]`."""
        areas = self._areas[self.side**2 :]
        sums = np.zeros((self.side**2, len(areas)), np.float32)
        for area, cells in enumerate(areas):
            sums[[row * self.side + col for row, col in cells], area] = 1
        return sums

    @functools.cached_property
    def families(self) -> tuple[slice, ...]:
        """Returns the columns of `values` whose spreads are alike: of cells, blocks, frame, shares, each number."""
        ends = np.cumsum([0, self.side**2, (self.side - 1) ** 2, self.side > 2, self.side**2, *(1 for _ in NUMBERS)])
        return tuple(slice(int(low), int(high)) for low, high in itertools.pairwise(ends) if high > low)

    @functools.cached_property
    def low_numbers(self) -> np.ndarray:
        """Returns each value's number among `all` if it is low, int `[values]`; −1 for shares, which never are."""
        areas, shares = len(self._areas), self.side**2
        values = areas + shares + len(NUMBERS)
        numbers = np.full(values, -1)
        numbers[np.r_[np.arange(areas), np.arange(areas + shares, values)]] = values + np.arange(areas + len(NUMBERS))
        return numbers

    @functools.cached_property
    def kinds(self) -> np.ndarray:
        """Returns each place's kind, int `[places]`: cells, four neighbors, shares, frame and numbers, anywhere."""
        sizes = {1: 0, 4: 1}
        return np.array(
            [
                2 if place.side == SHARE else 4 if place.name == ANYWHERE else sizes.get(len(place.cells), 3)
                for place in self.all
            ]
        )

    def values(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns how much each row has in each area, share and number, float32 `[rows, values]`; NaN if unknown.

        Args:
            columns: COLUMNS: float32 `[rows, cells]` for the grids, `[rows]` for the numbers.
        """
        signed, shares = (np.asarray(columns[name], np.float32) for name in ("signed_grid", "grid"))
        numbers = [np.asarray(columns[name], np.float32)[:, None] for name in NUMBERS]
        return np.concatenate([signed, signed @ self._sums, shares, *numbers], axis=1)
