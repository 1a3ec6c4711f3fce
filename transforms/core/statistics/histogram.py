"""Histograms of float32 numbers: exact, of bounded size, and the same in any order.

Buckets are cut by the bits of a float32 (sign, exponent, top 6 bits of the mantissa): they need no range in advance,
are at most 1.6 % wide, and every run cuts them alike. Where values take more buckets than a histogram holds, it halves
its resolution: every two neighbors become one, until they fit. How often depends on the values alone, as no part of
them takes more buckets than all of them, so parts that were halved before they were merged give the same counts.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

COARSE = 64
"""Most buckets of a histogram of which there are thousands."""

FINE = 4096
"""Most buckets of a histogram of which there are few."""

_SHIFT = 17
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket.

    Attributes:
        most: buckets that it holds; at least 2.
        level: how often its resolution was halved.
        buckets: numbers of the buckets that are taken, ascending; see `bucket_edge`.
        counts: of the values in each, in as few bytes as they take.
    """

    most: int = COARSE
    level: int = 0
    buckets: array[int] = field(default_factory=lambda: array("h"))
    counts: array[int] = field(default_factory=lambda: array("B"))

    @classmethod
    def of(cls, most: int, level: int, buckets: Iterable[int], counts: Iterable[int]) -> Histogram:
        """Returns the histogram of so many values in each of some buckets (ascending), at `level` or coarser.

        Raises:
            OverflowError: there is no such bucket, or a count of 2**64 and more.
            ValueError: no histogram is so small, or so fine.
        """
        if most < 2 or level < 0:
            raise ValueError(f"a histogram of at most {most} buckets at level {level}")
        numbers, held = list(buckets), list(counts)
        while len(numbers) > most:
            numbers, held = _halve(numbers, held)
            level += 1
        return cls(most, level, array("h", numbers), _compact(held))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as the gaps between its buckets: mostly a byte each, and alike, so that they compress well."""
        gaps = [after - before for before, after in itertools.pairwise(self.buckets)]
        return _histogram_of_gaps, (self.most, self.level, self.buckets[:1], _compact(gaps), self.counts)

    def merge(self, other: Histogram) -> Histogram:
        """Returns the histogram of the values of both; it holds as many buckets as the one that holds fewer."""
        level = max(self.level, other.level)
        merged = dict(self._at(level))
        for bucket, count in other._at(level):
            merged[bucket] = merged.get(bucket, 0) + count
        buckets = sorted(merged)
        return Histogram.of(min(self.most, other.most), level, buckets, map(merged.__getitem__, buckets))

    def bars(self) -> Iterator[tuple[float, float, int]]:
        """Yields the lower and upper edge of each bucket that is taken, and its count, ascending."""
        for bucket, count in zip(self.buckets, self.counts, strict=True):
            yield bucket_edge(bucket << self.level), bucket_edge((bucket + 1) << self.level), count

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """Returns, for each of `shares` in [0, 1], the value below which that share lies, to the width of a bucket.

        Raises:
            ValueError: nothing was counted.
        """
        ends = list(itertools.accumulate(self.counts))
        if not ends:
            raise ValueError("a histogram of nothing has no quantiles")
        bars, values = list(self.bars()), []
        for share in shares:
            rank = share * (ends[-1] - 1)
            position = bisect.bisect_right(ends, rank)
            low, high, count = bars[position]
            values.append(low + (high - low) * (rank - (ends[position] - count) + 0.5) / count)
        return values

    def _at(self, level: int) -> Iterable[tuple[int, int]]:
        """Returns buckets and counts at a level that is no finer."""
        buckets: Sequence[int] = self.buckets
        counts: Sequence[int] = self.counts
        for _ in range(level - self.level):
            buckets, counts = _halve(buckets, counts)
        return zip(buckets, counts, strict=True)


@functools.lru_cache(maxsize=1 << 15)
def bucket_edge(bucket: int) -> float:
    """Returns the lower edge of a bucket of the finest resolution, which is the upper edge of the one before."""
    edge = float(np.uint32(min(abs(bucket) << _SHIFT, 0x7FFFFFFF)).view(np.float32))
    return math.copysign(edge if edge <= _FLOAT32_MAX else _FLOAT32_MAX, bucket)


def buckets_of(values: np.ndarray) -> np.ndarray:
    """Returns the bucket of each of `values` (float32), at the finest resolution."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)  # adding 0 turns -0 into 0
    magnitude = (bits & 0x7FFFFFFF) >> _SHIFT
    return np.where(bits < 0, ~magnitude, magnitude)


def _histogram_of_gaps(most: int, level: int, first: array[int], gaps: array[int], counts: array[int]) -> Histogram:
    buckets = itertools.accumulate(gaps, initial=first[0]) if first else ()
    return Histogram(most, level, array("h", buckets), counts)


def _compact(values: Sequence[int]) -> array[int]:
    """Returns values that are not negative, in as few bytes each as all of them take."""
    largest = max(values, default=0)
    return array(next((code for code in "BHI" if largest < 1 << 8 * array(code).itemsize), "Q"), values)


def _halve(buckets: Sequence[int], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    merged: dict[int, int] = {}
    for bucket, count in zip(buckets, counts, strict=True):
        merged[bucket >> 1] = merged.get(bucket >> 1, 0) + count
    return list(merged), list(merged.values())
