"""Exact accumulators: sums that come out the same, bit for bit, in any order; histograms are in `histogram`.

Float sums depend on the order of their terms. Here every value is first rounded to a whole number of
units of 2**-44, and only integers are added: sums, sums of squares and counts. Merging two accumulators
equals accumulating all values at once, and a variance cannot turn out negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.core.statistics.histogram import COARSE, Histogram, buckets_of

_FRACTION_BITS = 44
_HALF_BITS = 22
_BLOCK = 1 << 14
_ELEMENTS = 16
_MOST_VECTORS = 1 << 37
_LOW, _SIGN = (1 << 64) - 1, 1 << 63
_ELEMENT_BYTES = 32


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
    """Exact count, sums and sums of squares of vectors; their elements are less than 2 in magnitude, as all shares are.

    Attributes:
        count: number of vectors; less than 2**37, so that nothing overflows.
        totals: int64 `[2, 2, elements]` as bytes: sums in units of 2**-44 and sums of squares in units of 2**-88, the
            high 64 bits of each and then the low ones. Python's integers would take three times the memory.
    """

    count: int = 0
    totals: bytes = b""

    @classmethod
    def of(cls, count: int, sums: Sequence[int], squares: Sequence[int]) -> Moments:
        """Returns the moments of `count` vectors, given what `sums` and `squares` say of them.

        Raises:
            ValueError: there are no such vectors.
        """
        most, most_squared = count << _FRACTION_BITS + 1, count << 2 * (_FRACTION_BITS + 1)
        if not 0 <= count < _MOST_VECTORS or len(sums) != len(squares):
            raise ValueError(f"{count} vectors with sums of {len(sums)} and squares of {len(squares)} elements")
        if any(abs(one) > most for one in sums) or any(not 0 <= one <= most_squared for one in squares):
            raise ValueError(f"sums of {count} vectors with elements of 2 and more")
        halves = [
            [[total >> 64 for total in totals], [(total + _SIGN & _LOW) - _SIGN for total in totals]]
            for totals in (sums, squares)
        ]
        return cls(count, np.array(halves, np.int64).tobytes())

    @classmethod
    def grouped(cls, values: np.ndarray, groups: Groups) -> list[Moments]:
        """Returns the moments of each group's rows of `values`; unknown vectors are left out.

        Args:
            values: float `[rows, elements]`, at most a block of rows; see `blocks`. An unknown vector is NaN in every
                element.
            groups: of rows.

        Raises:
            ValueError: a value of a known vector is not finite, or not less than 2 in magnitude.
        """
        known = ~np.isnan(values).all(axis=1)
        if not known.any():
            return [cls()] * len(groups.starts)
        units = _units(np.where(known[:, None], values, 0))
        if not _is_small(units):
            raise ValueError("values that are not finite, or of 2 and more in magnitude, have no moments")
        counts, totals = groups.add(known.astype(np.int64)).tolist(), _small_totals(units, groups)
        return [cls(count, each.tobytes()) if count else cls() for count, each in zip(counts, totals, strict=True)]

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of both.

        Raises:
            ValueError: their vectors differ in length.
            OverflowError: they are 2**37 and more.
        """
        if not self.count or not other.count:
            return self if self.count else other
        if len(self.totals) != len(other.totals):
            lengths = (len(moments.totals) // _ELEMENT_BYTES for moments in (self, other))
            raise ValueError("vectors of {} and of {} elements cannot be merged".format(*lengths))
        if self.count + other.count >= _MOST_VECTORS:
            raise OverflowError(f"more than {_MOST_VECTORS} vectors")
        return Moments(self.count + other.count, _add(self._halves(), other._halves()).tobytes())

    @property
    def sums(self) -> list[int]:
        """The sum of each element, in units of 2**-44; empty when nothing was counted."""
        return _integers(self._halves()[0])

    @property
    def squares(self) -> list[int]:
        """The sum of the squares of each element, in units of 2**-88."""
        return _integers(self._halves()[1])

    @property
    def mean(self) -> list[float]:
        """The mean of each element, correctly rounded."""
        return [_mean(self.count, total) for total in self.sums]

    @property
    def std(self) -> list[float]:
        """The population standard deviation of each element."""
        return [_std(self.count, total, square) for total, square in zip(self.sums, self.squares, strict=True)]

    def _halves(self) -> np.ndarray:
        return np.frombuffer(self.totals, np.int64).reshape(2, 2, -1)


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
        totals, squares = _totals(np.where(finite, values, 0), groups)
        lows = np.minimum.reduceat(np.where(finite, values, np.inf)[groups.members], groups.starts).tolist()
        highs = np.maximum.reduceat(np.where(finite, values, -np.inf)[groups.members], groups.starts).tolist()
        columns = (counts, totals, squares, lows, highs, _histograms(values, finite, groups, most))
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


def _units(values: np.ndarray) -> np.ndarray:
    return np.rint(values.astype(np.float64) * 2.0**_FRACTION_BITS)


def _is_small(units: np.ndarray) -> bool:
    return bool((np.abs(units) < 2.0 ** (_FRACTION_BITS + 1)).all())


def _totals(values: np.ndarray, groups: Groups) -> tuple[list[int], list[int]]:
    """Returns each group's sum and sum of squares of `values` `[rows]`, of any magnitude."""
    units = _units(values)
    if _is_small(units) and len(units) <= _BLOCK:
        totals = _small_totals(units[:, None], groups)
        return _integers(totals[:, 0, :, 0].T), _integers(totals[:, 1, :, 0].T)
    integers: Any = np.frompyfunc(int, 1, 1)(units)
    return groups.add(integers).tolist(), groups.add(integers * integers).tolist()


def _small_totals(units: np.ndarray, groups: Groups) -> np.ndarray:
    """Returns each group's sums and sums of squares of `units` `[rows, elements]`, int64 `[groups, 2, 2, elements]`.

    A few elements at a time, which fit into a processor's cache.
    """
    if len(units) > _BLOCK:
        raise ValueError(f"{len(units)} rows, more than a block of {_BLOCK}")
    columns = (units[:, start : start + _ELEMENTS].astype(np.int64) for start in range(0, units.shape[1], _ELEMENTS))
    return np.concatenate([_element_totals(column, groups) for column in columns], axis=-1)


def _element_totals(units: np.ndarray, groups: Groups) -> np.ndarray:
    """Returns `_small_totals`: with |units| < 2**45, sums of products of halves over 2**14 rows stay below 2**60."""
    high, low = units >> _HALF_BITS, units & ((1 << _HALF_BITS) - 1)
    squares = _add(_split(groups.add(high * high), 2 * _HALF_BITS), _split(groups.add(low * low)))
    squares = _add(squares, _split(groups.add(high * low), _HALF_BITS + 1))
    return np.stack([_split(groups.add(units)), squares], axis=1)


def _split(values: np.ndarray, shift: int = 0) -> np.ndarray:
    """Returns `values << shift` of 128 bits as high and low 64 bits, int64 `[…, 2, elements]` for `[…, elements]`."""
    high = values >> (64 - shift) if shift else values >> 63  # of a negative value, ones
    return np.stack([high, values << shift], axis=-2)


def _add(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the sums of numbers of 128 bits, halved as by `_split`."""
    total = first + second
    carried = total[..., 1, :].view(np.uint64) < first[..., 1, :].view(np.uint64)
    total[..., 0, :] += carried
    return total


def _integers(halves: np.ndarray) -> list[int]:
    """Returns numbers of 128 bits, halved as by `_split` `[2, elements]`."""
    high, low = halves[0].tolist(), np.ascontiguousarray(halves[1]).view(np.uint64).tolist()
    return [(first << 64) + second for first, second in zip(high, low, strict=True)]
