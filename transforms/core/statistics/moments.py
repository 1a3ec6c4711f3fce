"""Exact accumulators: sums that come out the same, bit for bit, in any order; histograms are in `histogram`.

Float sums depend on the order of their terms. Here every value is first rounded to a whole number of
units of 2**-44, and only integers of any size are added: sums, sums of squares and counts. Merging two accumulators
equals accumulating all values at once, and a variance cannot turn out negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from transforms.core.statistics.histogram import COARSE, Histogram, buckets_of
from transforms.core.statistics.words import (
    FRACTION_BITS,
    MOST_ROWS,
    add_words,
    group_squares,
    group_sums,
    integers,
    joined,
    limbs_of,
    shrunk,
    stacked,
    units_of,
    words_of,
)

_ELEMENTS = 16


@dataclass(frozen=True)
class Groups:
    """Which rows form which group; a row may be in several groups, and no group is empty.

    Attributes:
        members: int64 `[memberships]`, row numbers, one group after the other.
        starts: int64 `[groups]`, where each group starts in `members`.
    """

    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Groups:
        """Returns the groups whose row numbers are given, in their order."""
        sizes = [len(group) for group in rows]
        members = np.fromiter((row for group in rows for row in group), np.int64, sum(sizes))
        return cls(members, np.cumsum([0, *sizes[:-1]]))

    @property
    def sizes(self) -> np.ndarray:
        """Number of rows, int64 `[groups]`."""
        return np.diff(self.starts, append=len(self.members))

    def add(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum over each group's rows of `values` `[rows, …]`, as `[groups, …]`."""
        return np.add.reduceat(values[self.members], self.starts, axis=0)


@dataclass(frozen=True, slots=True)
class Moments:
    """Exact count, sums and sums of squares of vectors, of any magnitude.

    Attributes:
        count: number of vectors.
        words: of each sum.
        totals: int64 `[2, words, elements]` as bytes, see `words`: sums in units of 2**-44 and sums of squares in units
            of 2**-88.
    """

    count: int = 0
    words: int = 0
    totals: bytes = b""

    @classmethod
    def of(cls, count: int, sums: Sequence[int], squares: Sequence[int]) -> Moments:
        """Returns the moments of `count` vectors, given what `sums` and `squares` say of them.

        Raises:
            ValueError: there are no such vectors.
        """
        if count < 0 or len(sums) != len(squares) or (not count and (any(sums) or any(squares))):
            raise ValueError(f"{count} vectors with sums of {len(sums)} and squares of {len(squares)} elements")
        if any(total * total > count * square for total, square in zip(sums, squares, strict=True)):
            raise ValueError(f"{count} vectors with a variance less than 0")
        both = words_of([*sums, *squares])
        return cls._packed(count, both.reshape(len(both), 2, len(sums)).swapaxes(0, 1)) if count else cls()

    @classmethod
    def grouped(cls, values: np.ndarray, groups: Groups) -> list[Moments]:
        """Returns the moments of each group's rows of `values`; unknown vectors are left out.

        Args:
            values: float `[rows, elements]`, at most a block of rows; see `blocks`. An unknown vector is NaN in every
                element.
            groups: of rows.

        Raises:
            ValueError: a value of a known vector is not finite.
        """
        known = ~np.isnan(values).all(axis=1)
        if not known.any():
            return [cls()] * len(groups.starts)
        totals = _totals_of(units_of(np.where(known[:, None], values, 0)), groups)
        counts = groups.add(known.astype(np.int64)).tolist()
        return [cls._packed(count, each) if count else cls() for count, each in zip(counts, totals, strict=True)]

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of both.

        Raises:
            ValueError: their vectors differ in length.
        """
        if not self.count or not other.count:
            return self if self.count else other
        one, more = self._totals(), other._totals()
        if one.shape[-1] != more.shape[-1]:
            raise ValueError(f"vectors of {one.shape[-1]} and of {more.shape[-1]} elements cannot be merged")
        return Moments._packed(self.count + other.count, add_words(one, more))

    @property
    def sums(self) -> list[int]:
        """The sum of each element, in units of 2**-44; empty when nothing was counted."""
        return integers(self._totals()[0]) if self.count else []

    @property
    def squares(self) -> list[int]:
        """The sum of the squares of each element, in units of 2**-88."""
        return integers(self._totals()[1]) if self.count else []

    @property
    def mean(self) -> list[float]:
        """The mean of each element, correctly rounded."""
        return [_mean(self.count, total) for total in self.sums]

    @property
    def std(self) -> list[float]:
        """The population standard deviation of each element."""
        return [_std(self.count, total, square) for total, square in zip(self.sums, self.squares, strict=True)]

    @classmethod
    def _packed(cls, count: int, totals: np.ndarray) -> Moments:
        totals = shrunk(totals)
        return cls(count, totals.shape[-2], totals.tobytes())

    def _totals(self) -> np.ndarray:
        return np.frombuffer(self.totals, np.int64).reshape(2, self.words, -1)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Exact moments, range and histogram of float32 numbers; those that are not finite are left out.

    Attributes:
        count: number of finite values.
        total: their sum, in units of 2**-44.
        square: the sum of their squares, in units of 2**-88.
        low: the least value, never −0; infinite when nothing was counted.
        high: the greatest value.
        histogram: counts by bucket.
    """

    count: int = 0
    total: int = 0
    square: int = 0
    low: float = math.inf
    high: float = -math.inf
    histogram: Histogram = field(default_factory=Histogram)

    @classmethod
    def grouped(cls, values: np.ndarray, groups: Groups, most: Sequence[int] = ()) -> list[Distribution]:
        """Returns the distribution of `values` over each group's rows.

        Args:
            values: float32 `[rows]`.
            groups: of rows.
            most: buckets that each group's histogram holds; by default COARSE.
        """
        most = most or [COARSE] * len(groups.starts)
        values = values + np.float32(0)  # turns −0 into 0, or else the range would depend on the order
        finite = np.isfinite(values)
        counts = groups.add(finite.astype(np.int64)).tolist()
        units = units_of(np.where(finite, values, 0))
        by_group = _totals_of(units[:, None], groups)[..., 0]
        totals, squares = (integers(by_group[:, power].T) for power in (0, 1))
        lows = np.minimum.reduceat(np.where(finite, values, np.inf)[groups.members], groups.starts).tolist()
        highs = np.maximum.reduceat(np.where(finite, values, -np.inf)[groups.members], groups.starts).tolist()
        columns = (counts, totals, squares, lows, highs, _histograms(values, finite, groups, most))
        return [cls(*parts) if parts[0] else cls() for parts in zip(*columns, strict=True)]

    def merge(self, other: Distribution) -> Distribution:
        """Returns the distribution of both."""
        if not self.count or not other.count:
            return self if self.count else other
        return Distribution(
            self.count + other.count,
            self.total + other.total,
            self.square + other.square,
            min(self.low, other.low),
            max(self.high, other.high),
            self.histogram.merge(other.histogram),
        )

    @property
    def mean(self) -> float | None:
        """The mean, correctly rounded; None where nothing was counted."""
        return _mean(self.count, self.total) if self.count else None

    @property
    def std(self) -> float | None:
        """The population standard deviation; None where nothing was counted."""
        return _std(self.count, self.total, self.square) if self.count else None

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """Returns, for each of `shares`, the value below which that share lies, to the width of a bucket.

        Args:
            shares: in [0, 1].

        Returns:
            As many values; None where nothing was counted.
        """
        if not self.count:
            return [None] * len(shares)
        return [min(max(value, self.low), self.high) for value in self.histogram.quantiles(shares)]


def blocks(rows: int) -> list[slice]:
    """Returns the slices that cut `rows` rows into blocks small enough for `grouped`."""
    return [slice(start, start + MOST_ROWS) for start in range(0, rows, MOST_ROWS)]


def _mean(count: int, total: int) -> float:
    return total / (count << FRACTION_BITS)


def _std(count: int, total: int, square: int) -> float:
    return math.sqrt((count * square - total * total) / (count * count << 2 * FRACTION_BITS))


def _histograms(values: np.ndarray, finite: np.ndarray, groups: Groups, most: Sequence[int]) -> list[Histogram]:
    owner = np.repeat(np.arange(len(groups.starts)), groups.sizes)
    kept = finite[groups.members]
    keys = (owner << 32) + buckets_of(values)[groups.members]
    found, counts = np.unique(keys[kept], return_counts=True)
    found_owner = (found + (1 << 31)) >> 32
    buckets, sizes = (found - (found_owner << 32)).tolist(), counts.tolist()
    ends = np.searchsorted(found_owner, np.arange(len(groups.starts) + 1)).tolist()
    return [
        Histogram.of(held, 0, buckets[start:end], sizes[start:end])
        for held, (start, end) in zip(most, itertools.pairwise(ends), strict=True)
    ]


def _totals_of(units: np.ndarray, groups: Groups) -> np.ndarray:
    """Returns each group's sums and sums of squares of `[rows, elements]`, int64 `[groups, 2, words, elements]`.

    A few elements at a time, which fit into a processor's cache.

    Raises:
        ValueError: there are more rows than can be added in one go.
    """
    if len(units) > MOST_ROWS:
        raise ValueError(f"{len(units)} rows, more than a block of {MOST_ROWS}")
    starts = range(0, max(1, units.shape[1]), _ELEMENTS)
    return joined([_element_totals(units[:, start : start + _ELEMENTS], groups) for start in starts])


def _element_totals(units: np.ndarray, groups: Groups) -> np.ndarray:
    limbs = limbs_of(units)
    return stacked([group_sums(limbs, groups.add), group_squares(limbs, groups.add)])
