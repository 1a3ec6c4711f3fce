"""Joint moments are those of rational arithmetic, whatever the order and the parts."""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Groups, Moments

RNG = np.random.default_rng(3)
ONE = (RNG.normal(size=(40, 3)) * [0.1, 3, 1e6]).astype(np.float32)
OTHER = (ONE + RNG.normal(size=(40, 3))).astype(np.float32)
SINGLE = RNG.normal(size=(40, 1)).astype(np.float32)


def of(one, other, rows=slice(None)) -> JointMoments:
    one, other = one[rows], other[rows]
    return JointMoments.grouped(one, other, Groups.of([range(len(one))]))[0] if len(one) else JointMoments()


def exact(value) -> Fraction:
    return Fraction(round(Fraction(float(value)) * 2**44), 2**44)


@pytest.mark.parametrize("other", [OTHER, SINGLE], ids=["pairs", "one number"])
def test_covariances_equal_rational_arithmetic(other):
    found = of(ONE, other)
    for element in range(3):
        pairs = [(exact(one[element]), exact(two[element % len(two)])) for one, two in zip(ONE, other, strict=True)]
        means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
        wanted = sum((one - means[0]) * (two - means[1]) for one, two in pairs) / len(pairs)
        assert found.covariance[element] == float(wanted)


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(40)), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_order_and_partition_gives_the_same(order, cuts):
    edges = sorted({0, 40, *cuts})
    parts = [of(ONE[order], SINGLE[order], slice(low, high)) for low, high in itertools.pairwise(edges)]
    assert functools.reduce(JointMoments.merge, parts, JointMoments()) == of(ONE, SINGLE)


def test_rows_that_lack_either_are_left_out():
    one, other = ONE.copy(), SINGLE.copy()
    one[3], other[[5, 7]] = np.nan, np.nan
    kept = [row for row in range(40) if row not in (3, 5, 7)]
    assert of(one, other) == of(ONE[kept], SINGLE[kept])
    assert of(one[[3]], other[[3]]) == JointMoments()
    with pytest.raises(ValueError, match="not finite"):
        of(np.array([[1, np.inf]]), np.array([[1.0]]))


def test_what_does_not_belong_together_is_refused():
    found = of(ONE, SINGLE)
    assert JointMoments.of(found.one, found.other, found.sums) == found
    for one, other, products in (
        (found.one, found.other, found.sums[:2]),
        (found.one, Moments(), found.sums),
        (found.one, of(ONE[:, :2], SINGLE).one, found.sums),
    ):
        with pytest.raises(ValueError, match="products of"):
            JointMoments.of(one, other, products)
