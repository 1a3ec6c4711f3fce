"""Exact accumulators: sums that come out the same, bit for bit, in any order; histograms are in `histogram`.

Float sums depend on the order of their terms. Here every value is first rounded to a whole number of
units of 2**-44, and only integers are added: sums, sums of squares and counts. Merging two accumulators
equals accumulating all values at once, and a variance can't turn out negative.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.core.histogram import COARSE, Histogram, buckets_of

_FRACTION_BITS = 44
_HALF_BITS = 22
_BLOCK = 1 << 14


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


@dataclass(frozen=True)
class Moments:
    """Exact count, sums and sums of squares of vectors.

    Attributes:
        count: number of vectors.
        sums: for each element, in units of 2**-44; empty when nothing was counted.
        squares: for each element, in units of 2**-88.
    """

    count: int = 0
    sums: tuple[int, ...] = ()
    squares: tuple[int, ...] = ()

    @classmethod
    def grouped(cls, values: np.ndarray, groups: Groups) -> list[Moments]:
        """Returns the moments of each group's rows of `values`.

        Args:
            values: float `[rows, elements]`.
            groups: of rows.

        Raises:
            ValueError: a value is not finite.
        """
        if not np.isfinite(values).all():
            raise ValueError("values that are not finite have no moments")
        sums, squares = _integer_moments(values, groups)
        return [cls(*parts) for parts in zip(groups.sizes.tolist(), map(tuple, sums), map(tuple, squares), strict=True)]

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of both.

        Raises:
            ValueError: their vectors differ in length.
        """
        if not self.count or not other.count:
            return self if self.count else other
        if len(self.sums) != len(other.sums):
            raise ValueError(f"vectors of {len(self.sums)} and of {len(other.sums)} elements can't be merged")
        return Moments(
            self.count + other.count,
            tuple(map(operator.add, self.sums, other.sums)),
            tuple(map(operator.add, self.squares, other.squares)),
        )

    @property
    def mean(self) -> list[float]:
        """The mean of each element, correctly rounded."""
        return [_mean(self.count, total) for total in self.sums]

    @property
    def std(self) -> list[float]:
        """The population standard deviation of each element."""
        return [_std(self.count, total, square) for total, square in zip(self.sums, self.squares, strict=True)]


@dataclass(frozen=True)
class Distribution:
    """Exact moments, range and histogram of float32 numbers; those that are not finite are left out.

    Attributes:
        count: number of finite values.
        total: their sum, in units of 2**-44.
        square: the sum of their squares, in units of 2**-88.
        low: the least value; infinite when nothing was counted.
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
        finite = np.isfinite(values)
        counts = groups.add(finite.astype(np.int64)).tolist()
        sums, squares = _integer_moments(np.where(finite, values, 0)[:, None], groups)
        lows = np.minimum.reduceat(np.where(finite, values, np.inf)[groups.members], groups.starts).tolist()
        highs = np.maximum.reduceat(np.where(finite, values, -np.inf)[groups.members], groups.starts).tolist()
        totals, second = (list(itertools.chain.from_iterable(column)) for column in (sums, squares))
        columns = (counts, totals, second, lows, highs, _histograms(values, finite, groups, most))
        return [cls(*parts) for parts in zip(*columns, strict=True)]

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
    return [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]


def _mean(count: int, total: int) -> float:
    return total / (count << _FRACTION_BITS)


def _std(count: int, total: int, square: int) -> float:
    return math.sqrt((count * square - total * total) / (count * count << 2 * _FRACTION_BITS))


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


def _integer_moments(values: np.ndarray, groups: Groups) -> tuple[list[list[int]], list[list[int]]]:
    """Returns each group's sums and sums of squares of `values` `[rows, elements]`, as Python integers."""
    units = np.rint(values.astype(np.float64) * 2.0**_FRACTION_BITS)
    small = np.abs(units).max(initial=0) < 2.0 ** (_FRACTION_BITS + 1)
    if small and groups.sizes.max(initial=0) <= _BLOCK:
        sums, squares = _sum_int64(units.astype(np.int64), groups)
    else:
        integers: Any = np.frompyfunc(int, 1, 1)(units)
        sums, squares = groups.add(integers), groups.add(integers * integers)
    return sums.tolist(), squares.tolist()


def _sum_int64(units: np.ndarray, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Sums in int64 without overflow: with |units| < 2**45, halves' products over 2**14 rows stay below 2**60."""
    high, low = units >> _HALF_BITS, units & ((1 << _HALF_BITS) - 1)
    sums: Any = groups.add(units).astype(object)
    squares: Any = groups.add(high * high).astype(object) << (2 * _HALF_BITS)
    squares += groups.add(high * low).astype(object) << (_HALF_BITS + 1)
    squares += groups.add(low * low).astype(object)
    return sums, squares
