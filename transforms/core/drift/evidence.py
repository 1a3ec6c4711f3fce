"""What one night shows in the tails: how many pictures lie beyond a level in a place, tonight and in its references.

Places are cells of the signed grid, sums of neighboring cells, and scalars; each has two sides, above and below what
is usual for the class. A level is a distance from the class's median, in robust units of the references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.statistics.slices import Slice


@dataclass(frozen=True)
class Statistic:
    """A side of a place.

    Attributes:
        place: `row,column`, both from 1, for a cell; otherwise a name.
        sign: 1 if pictures beyond a level lie above the median, -1 if below.
    """

    place: str
    sign: int


@dataclass(frozen=True)
class Tally:
    """Counts of pictures, of one night or of several, of one history or of many that are simulated together.

    Attributes:
        counts: pictures beyond a level, `[…, slices, statistics, levels]`; a statistic is a side of a place.
        rows: pictures looked at, `[…, slices]`.
    """

    counts: np.ndarray
    rows: np.ndarray

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.counts + other.counts, self.rows + other.rows)


@dataclass(frozen=True)
class Evidence:
    """The tails of one night and of the references that it was compared with.

    Attributes:
        slices: the sets of pictures that were counted.
        statistics: the places with their sides.
        levels: thresholds, in robust units of the slice, ascending.
        night: the counts of the night.
        references: the same of all references together.
    """

    slices: tuple[Slice, ...]
    statistics: tuple[Statistic, ...]
    levels: tuple[float, ...]
    night: Tally
    references: Tally

    def of(self, slices: Sequence[Slice]) -> Evidence:
        """Returns the evidence of these slices in this order; those that were not counted have no rows."""
        known = {key: number for number, key in enumerate(self.slices)}
        chosen = np.array([known.get(key, len(known)) for key in slices], dtype=np.intp)
        return Evidence(
            tuple(slices), self.statistics, self.levels, _take(self.night, chosen), _take(self.references, chosen)
        )


def _take(tally: Tally, chosen: np.ndarray) -> Tally:
    nothing = Tally(np.zeros((1, *tally.counts.shape[1:]), tally.counts.dtype), np.zeros(1, tally.rows.dtype))
    counts, rows = np.concatenate([tally.counts, nothing.counts]), np.concatenate([tally.rows, nothing.rows])
    return Tally(counts[chosen], rows[chosen])
