"""Distances against scipy, scikit-learn, and values derived by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from transforms.core.drift.distance import (
    jensen_shannon,
    ndcg,
    population_stability_index,
    total_variation,
    wasserstein,
)

ROUNDING = 1e-12  # a few dozen float64 operations on numbers of order 1


def shares(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.4), size=shape[:-1])


def test_jensen_shannon_is_scipys():
    p, q = shares(0, (7, 64)), shares(1, (7, 64))
    assert jensen_shannon(p, q) == pytest.approx(
        scipy.spatial.distance.jensenshannon(p, q, base=2, axis=-1), abs=ROUNDING
    )


def test_jensen_shannon_reaches_its_bounds():
    p = np.array([0.5, 0.5, 0, 0])
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, p[::-1]) == pytest.approx(1, abs=ROUNDING)
    assert math.isfinite(jensen_shannon(p, np.zeros(4)))


def test_total_variation_is_the_share_that_moves():
    assert total_variation(np.array([0.7, 0.3, 0]), np.array([0.2, 0.3, 0.5])) == pytest.approx(0.5)


def test_ndcg_by_hand_and_as_scikit_learn_has_it():
    reference, candidate = np.array([0.70, 0.50, 0.05]), np.array([0.10, 0.20, 0.70])
    log3 = math.log2(3)
    by_hand = (0.05 + 0.50 / log3 + 0.70 / 2) / (0.70 + 0.50 / log3 + 0.05 / 2)  # ranked third, second, first
    assert by_hand == pytest.approx(0.687640, abs=1e-6)
    assert ndcg(reference, candidate) == pytest.approx(by_hand, abs=ROUNDING)
    assert ndcg(reference, candidate) == pytest.approx(ndcg_score([reference], [candidate]), abs=ROUNDING)


def test_ndcg_of_the_same_ranking_is_one_and_of_any_other_less():
    reference = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0, 0, 0]])
    candidate = np.array([[9, 8, 7], [9, 7, 8], [1, 2, 3]])
    same, other, nothing = ndcg(reference, candidate)
    assert same == nothing == 1
    assert other < 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans())
def test_wasserstein_is_scipys(seed, rows, tied):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, rows).astype(float) if tied else rng.normal(size=rows)
    p, q = rng.dirichlet(np.ones(rows), size=3), rng.dirichlet(np.ones(rows), size=3)
    expected = [scipy.stats.wasserstein_distance(values, values, *pair) for pair in zip(p, q, strict=True)]
    assert wasserstein(values, (p - q).T) == pytest.approx(expected, abs=1e-10)


def test_population_stability_index_by_hand():
    values = np.repeat(np.arange(10.0), 2)
    reference = np.tile([0.1, 0], 10)
    moved = np.where(values < 5, 0.2, 0) * np.tile([0, 1], 10)
    expected = 5 * (0.2 - 0.1) * math.log(0.2 / 0.1) + 5 * (1e-4 - 0.1) * math.log(1e-4 / 0.1)
    assert population_stability_index(values, reference, moved) == pytest.approx(expected)
    assert population_stability_index(values, reference, reference[::-1]) == 0


def test_population_stability_index_of_a_constant_that_changed():
    values = np.array([8.0, 8, 9, 9])
    before, after = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert population_stability_index(values, before, before) == 0
    assert population_stability_index(values, before, after) > 1
