"""Tails: how many pictures of a class look where the reference's hardly ever look?

A shortcut that concerns few pictures disappears in the mean over a class, and stands out in its tail. In each place of
a class, pictures are counted that lie beyond several levels, in robust units of the reference: so many times its spread
(1.4826 times the median absolute deviation) away from its median. A place's spread counts as no less than the median
place's of its kind: one where nothing ever happens would otherwise be far away for next to nothing.

How many are to be expected follows from the reference, by empirical Bayes: a place's rate of such pictures has a Gamma
prior, whose mean is a class's rate times a place's, and whose spread is that of rates over classes and places of a
kind. A count given the reference's is then negative binomial (Greenwood and Yule 1920; Robbins 1956). One class and
place alone knows too little: 8 of 500 against 0 of 500 is hardly significant, but such a thing is rare among all
classes and places. If there are several references, how much nights differ widens the distribution. p-values hold for
all places, levels and classes of a comparison together (Bonferroni's bound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from transforms.core.drift.places import ANYWHERE, Places

LEVELS = (4.0, 5.0, 6.0, 8.0, 10.0, 13.0)
"""How many spreads from the median a picture lies, to be counted."""

_MAD = 1.4826  # of a normal distribution's standard deviation
_TINY = 1e-9
_MOST_SHAPE = 0.5  # of the prior: rates differ by so much at least from what class and place lead to expect
_LEAST_NIGHTS = 3
_PRIOR_COUNTS = 2.0
_BLOCK = 8192


@dataclass(frozen=True)
class Units:
    """What is usual in a class, by the values of its places.

    Attributes:
        median: float32 `[values]`.
        spread: float32 `[values]`, above 0.
    """

    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, places: Places) -> Units:
        """Returns the units of rows of one class.

        Args:
            values: as `Places.values` returns them, `[rows, values]`; rows that are unknown are left out.
            places: of these.

        Raises:
            ValueError: no row is known.
        """
        known = values[np.isfinite(values).all(axis=1)]
        if not len(known):
            raise ValueError("no row of the class has a map that is not zero everywhere")
        median = np.median(known, axis=0)
        spread = _MAD * np.median(np.abs(known - median), axis=0)
        for family in places.families:
            spread[family] = np.maximum(spread[family], np.median(spread[family]))
        return cls(median.astype(np.float32), np.maximum(spread, _TINY).astype(np.float32))


@dataclass(frozen=True)
class Exceedances:
    """How many rows of each class lie beyond each level in each place.

    Attributes:
        rows: rows that are known, int64 `[classes]`.
        counts: int64 `[classes, places, levels]`; places as in `Places.all`.
    """

    rows: np.ndarray
    counts: np.ndarray

    @classmethod
    def zero(cls, classes: int, places: Places) -> Exceedances:
        """Returns the counts of no rows."""
        return cls(np.zeros(classes, np.int64), np.zeros((classes, len(places.all), len(LEVELS)), np.int64))

    def join(self, *others: Exceedances) -> Exceedances:
        """Returns the counts of these rows and those of `others`, of the same classes."""
        every = (self, *others)
        return Exceedances(
            np.sum([each.rows for each in every], axis=0), np.sum([each.counts for each in every], axis=0)
        )

    def add(self, number: int, values: np.ndarray, units: Units, places: Places) -> None:
        """Counts rows of class `number`, in place; rows that are unknown are left out.

        Args:
            number: of the class.
            values: of the rows, as `Places.values` returns them.
            units: of the class.
            places: of these.
        """
        for start in range(0, len(values), _BLOCK):
            known = values[start : start + _BLOCK]
            known = known[np.isfinite(known).all(axis=1)]
            _, place, level = beyond(known, units, places)
            shape = self.counts.shape[1:]
            reached = np.bincount(place * shape[1] + level, minlength=shape[0] * shape[1]).reshape(shape)
            self.counts[number] += np.flip(np.cumsum(np.flip(reached, 1), axis=1), 1)
            self.rows[number] += len(known)


def beyond(values: np.ndarray, units: Units, places: Places) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns which rows lie beyond a level in which place: numbers of rows, places, and of the highest such level.

    Args:
        values: as `Places.values` returns them, `[rows, values]`; of one that is unknown there are none.
        units: of their class.
        places: of these.
    """
    away = (values - units.median) / units.spread
    away[~np.isfinite(away).all(axis=1)] = 0
    rows, columns = np.nonzero(np.abs(away) > LEVELS[0])
    distances = away[rows, columns]
    numbers = np.where(distances > 0, columns, places.low_numbers[columns])
    cells, last = places.side**2, len(places.all)
    parts = [(rows, numbers, np.abs(distances))]
    for number, farthest in ((last - 2, away[:, :cells].max(axis=1)), (last - 1, -away[:, :cells].min(axis=1))):
        far = np.flatnonzero(farthest > LEVELS[0])
        parts.append((far, np.full(len(far), number), farthest[far]))
    rows, numbers, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = numbers >= 0
    return rows[found], numbers[found], np.searchsorted(LEVELS, distances[found], side="left") - 1


@dataclass(frozen=True)
class Rates:
    """What is known of the rates of rows beyond a level: Gamma distributions, float64 `[classes, places, levels]` each.

    Attributes:
        shape: of the distribution.
        size: its inverse scale, in rows: shape / size is the expected share of a class's rows.
    """

    shape: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, nights: Sequence[Exceedances], places: Places) -> Rates:
        """Returns what the nights of the reference tell.

        Args:
            nights: one at least, of the same classes.
            places: of these.
        """
        counts = np.sum([night.counts for night in nights], axis=0).astype(np.float64)
        rows = np.maximum(np.sum([night.rows for night in nights], axis=0), 1).astype(np.float64)[:, None, None]
        shape, size = np.zeros((2, *counts.shape))
        for kind in np.unique(places.kinds):
            of_kind = places.kinds == kind
            shape[:, of_kind], size[:, of_kind] = _prior(counts[:, of_kind], rows)
        return cls(shape + counts, size + rows)._widened(_night_spread(nights, counts, rows))

    def _widened(self, spread: np.ndarray) -> Rates:
        """Returns rates that also differ between nights, by a relative variance `[levels]`; their means stay."""
        shape = 1 / (1 / self.shape + spread)
        return Rates(shape, self.size * (shape / self.shape))

    def p_values(self, night: Exceedances, least: int) -> np.ndarray:
        """Returns how likely so many rows or more are, float64 `[classes, places, levels]`; 1 for less than `least`."""
        p = np.ones(night.counts.shape)
        found = night.counts >= max(least, 1)
        rows = np.broadcast_to(night.rows[:, None, None], found.shape)[found]
        p[found] = betainc(night.counts[found], self.shape[found], rows / (rows + self.size[found]))
        return p


def _prior(counts: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns shape and size of the rates' distribution before a class and place is looked at by itself.

    Its mean is a class's rate times a place's; its shape follows from how far the counts are from that.

    Args:
        counts: of places of one kind, float64 `[classes, places, levels]`.
        rows: of the classes, float64 `[classes, 1, 1]`.
    """
    places = counts.shape[1]
    usual = (counts.sum((0, 1)) + 0.5) / (rows.sum() * places)
    of_class = (counts.sum(1) + _PRIOR_COUNTS) / (rows[:, 0] * places * usual + _PRIOR_COUNTS)
    of_place = (counts.sum(0) + 1) / (rows.sum() * usual + 1)
    means = usual * of_class[:, None] * of_place
    expected = means * rows
    excess = ((counts - expected) ** 2 - expected).sum((0, 1)) / np.maximum((expected**2).sum((0, 1)), _TINY)
    shape = np.broadcast_to(np.minimum(1 / np.maximum(excess, _TINY), _MOST_SHAPE), counts.shape)
    return shape, shape / means


def _night_spread(nights: Sequence[Exceedances], counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns by how much rates differ between nights, as relative variances `[levels]`; 0 if that is unknown."""
    if len(nights) < _LEAST_NIGHTS:
        return np.zeros(counts.shape[2])
    square, expected_square = np.zeros((2, counts.shape[2]))
    for night in nights:
        share = night.rows[:, None, None] / rows
        expected = counts * share
        square += ((night.counts - expected) ** 2 - expected * (1 - share)).sum((0, 1))
        expected_square += (expected**2).sum((0, 1))
    return np.maximum(square / np.maximum(expected_square, _TINY), 0)


@dataclass(frozen=True)
class TailAudit:
    """Pictures of a class that look where the reference's hardly ever look; the fields are those of audit.json.

    Attributes:
        name: of the number that is far from usual; empty if it is cells of the grid.
        cells: (row, column) of the grid, from 0.
        side: `for` or `against` the class, `share` of the magnitude; `high` or `low` for a number.
        level: how many spreads beyond the median the pictures lie: the lowest at which they are a change.
        candidate: how many pictures of the candidate do.
        candidate_rows: of how many.
        reference: how many pictures of the reference do.
        reference_rows: of how many.
        expected: how many of the candidate's would be usual.
        p_value: the least of the place's levels, for all places, levels and classes of the comparison together.
    """

    name: str
    cells: list[list[int]]
    side: str
    level: float
    candidate: int
    candidate_rows: int
    reference: int
    reference_rows: int
    expected: float
    p_value: float


@dataclass(frozen=True)
class TailLimits:
    """When pictures in a tail are a change.

    Attributes:
        p_value: significance, for all places, levels and classes of a comparison at once.
        pictures: fewest pictures.
        share: least share of a class's pictures, beyond what is usual.
        ratio: how many times as many as is usual.
    """

    p_value: float
    pictures: int
    share: float
    ratio: float


def judge_tails(
    nights: Sequence[Exceedances], candidate: Exceedances, places: Places, limits: TailLimits
) -> list[list[TailAudit]]:
    """Returns for each class the places where more pictures look than the reference leads to expect.

    Of places that share a cell the most significant alone is returned; the most significant first.

    Args:
        nights: of the reference.
        candidate: of the same classes, in the same units.
        places: of these.
        limits: when it is a change.
    """
    rates, tests = Rates.of(nights, places), count_tests(candidate)
    p_values = np.minimum(rates.p_values(candidate, limits.pictures) * tests, 1)
    usual = rates.shape / rates.size
    shares = candidate.counts / np.maximum(candidate.rows, 1)[:, None, None]
    large = (shares - usual >= limits.share) & (shares >= limits.ratio * usual)
    found = (p_values <= limits.p_value) & large
    reference = np.sum([night.counts for night in nights], axis=0)
    rows = np.sum([night.rows for night in nights], axis=0)
    audits: list[list[TailAudit]] = []
    for number in range(len(candidate.rows)):
        listed: list[TailAudit] = []
        order = sorted(np.argwhere(found[number]).tolist(), key=lambda at: (p_values[number][tuple(at)], at))
        for place, best in order:
            here = places.all[place]
            cells = [list(cell) for cell in here.cells]
            if any(_overlap(here.name, cells, other) for other in listed):
                continue
            level = int(np.flatnonzero(found[number, place])[0])  # which most pictures lie beyond
            at = number, place, level
            listed.append(
                TailAudit(
                    name=here.name,
                    cells=cells,
                    side=here.side,
                    level=LEVELS[level],
                    candidate=int(candidate.counts[at]),
                    candidate_rows=int(candidate.rows[number]),
                    reference=int(reference[at]),
                    reference_rows=int(rows[number]),
                    expected=float(usual[at] * candidate.rows[number]),
                    p_value=float(p_values[number, place, best]),
                )
            )
        audits.append(listed)
    return audits


def count_tests(candidate: Exceedances) -> int:
    """Returns how many p-values a comparison has: of the classes that have rows, all places and levels."""
    return max(1, int((candidate.rows > 0).sum()) * int(np.prod(candidate.counts.shape[1:])))


def _overlap(name: str, cells: list[list[int]], other: TailAudit) -> bool:
    """Returns whether a place is the other one, shares cells with it, or is any place; whichever their sides are."""
    if ANYWHERE in (name, other.name):
        return bool(cells or other.cells) or name == other.name
    return name == other.name and (bool(name) or any(cell in other.cells for cell in cells))
