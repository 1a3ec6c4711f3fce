"""Histograms hold each value in a narrow bucket, never more buckets than they may, and forget the order of their parts.

The brute-force answer takes all values at once, at the finest level at which their buckets fit.
"""

from __future__ import annotations

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.statistics.histogram import Histogram, bucket_edge, buckets_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def of(values, most: int) -> Histogram:
    counts = sorted(Counter(buckets_of(np.array(values, np.float32)).tolist()).items())
    return Histogram.of(most, 0, *([pair[side] for pair in counts] for side in (0, 1)))


def brute_force(values, most: int) -> dict[tuple[float, float], int]:
    buckets = buckets_of(np.array(values, np.float32)).tolist()
    level = next(level for level in range(32) if len({bucket >> level for bucket in buckets}) <= most)
    counts = Counter(bucket >> level for bucket in buckets)
    return {(bucket_edge(one << level), bucket_edge((one + 1) << level)): counts[one] for one in sorted(counts)}


def bars(histogram: Histogram) -> dict[tuple[float, float], int]:
    return {(low, high): count for low, high, count in histogram.bars()}


@settings(deadline=None)
@given(FLOATS)
def test_a_value_lies_in_its_bucket_and_buckets_are_narrow(value):
    ((low, high, count),) = of([value], 2).bars()
    assert count == 1
    assert low <= value <= high
    assert low < high
    if abs(value) > 2.0**-126:
        assert high - low <= 2.0**-6 * max(abs(low), abs(high))


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(2, 9), st.data())
def test_any_parts_merged_in_any_order_are_the_whole_and_never_too_large(values, most, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    edges = [0, *cuts, len(values)]
    parts = [of(values[low:high], most) for low, high in itertools.pairwise(edges)]
    while len(parts) > 1:
        one = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        other = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(one.merge(other))
    assert parts[0] == of(values, most)
    assert bars(parts[0]) == brute_force(values, most)
    assert len(parts[0].buckets) <= most
    assert list(parts[0].buckets) == sorted(set(parts[0].buckets))
    for value in values:
        assert any(low <= np.float32(value) <= high for low, high, _ in parts[0].bars())


@settings(deadline=None)
@given(st.lists(FLOATS, max_size=60), st.integers(2, 9))
def test_a_histogram_comes_back_from_its_pickle(values, most):
    assert pickle.loads(pickle.dumps(of(values, most))) == of(values, most)


def test_resolution_is_halved_only_where_buckets_do_not_fit():
    values = np.linspace(1, 2, 64, endpoint=False)
    assert (of(values, 64).level, len(of(values, 64).buckets)) == (0, 64)
    assert (of(values, 63).level, len(of(values, 63).buckets)) == (1, 32)
    assert of(np.repeat(values, 100), 64).counts.tolist() == [100] * 64


def test_counts_beyond_32_bits_are_held():
    many = Histogram.of(4, 0, [1, 2], [2**32 - 1, 5])
    assert many.merge(many).counts.tolist() == [2**33 - 2, 10]
    with pytest.raises(OverflowError):
        Histogram.of(4, 0, [1 << 15], [1])


@pytest.mark.parametrize(("most", "level"), [(1, 0), (4, -1)])
def test_what_could_never_be_halved_enough_is_refused(most, level):
    with pytest.raises(ValueError, match=f"at most {most} buckets at level {level}"):
        Histogram.of(most, level, [-1, 0], [1, 1])


def test_quantiles_of_a_coarse_histogram_are_within_its_buckets():
    values = np.random.default_rng(0).lognormal(0, 1, 5000).astype(np.float32)
    coarse, shares = of(values, 64), [0.05, 0.25, 0.5, 0.75, 0.95]
    assert coarse.level > 0
    for found, exactly in zip(coarse.quantiles(shares), np.quantile(values, shares), strict=True):
        (low, high) = next((low, high) for low, high, _ in coarse.bars() if low <= exactly <= high)
        assert low <= found <= high
    with pytest.raises(ValueError, match="nothing"):
        Histogram().quantiles([0.5])
