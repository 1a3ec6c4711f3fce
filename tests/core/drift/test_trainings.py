"""p-values from a handful of trainings: uniform if the candidate is one more, small if it is not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from transforms.core.drift.trainings import _inverse_trigamma, count_p_values, moderated_p_values


def draws(count: int, numbers: int, seed: int, spread: object = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the effect of one draw against the mean of `count` others, and of each of these against the rest."""
    values = np.random.default_rng(seed).normal(0, spread, (count + 1, numbers))
    known = values[1:]
    errors = [known[one] - np.delete(known, one, axis=0).mean(axis=0) for one in range(count)]
    return values[0] - known.mean(axis=0), np.stack(errors)


@pytest.mark.parametrize("count", [3, 5, 8])
def test_p_values_of_one_more_draw_are_uniform_whether_spreads_are_alike_or_not(count):
    spreads = np.random.default_rng(9).gamma(2, 1, 20_000) ** 0.5
    for spread in (1.0, spreads):
        p_values = moderated_p_values(*draws(count, 20_000, 0, spread))
        for level in (0.001, 0.01, 0.1):
            # three standard errors of a binomial share, and a half for spreads that are not inverse gamma
            allowed = 1.5 * level + 3 * (level / 20_000) ** 0.5
            assert (p_values <= level).mean() <= allowed
        assert (p_values <= 0.1).mean() > 0.05


def test_a_change_beyond_the_spread_of_draws_is_found_and_a_direction_can_be_asked_for():
    effects, errors = draws(5, 500, 1)
    effects[3] = -9
    assert moderated_p_values(effects, errors)[3] < 1e-6
    assert moderated_p_values(effects, errors, one_sided=True)[3] > 0.99
    assert moderated_p_values(-effects, errors, one_sided=True)[3] < 1e-6


def test_numbers_that_a_draw_moves_together_count_as_few():
    rng = np.random.default_rng(4)
    common = rng.normal(0, 1, (4, 1)) * np.ones(30) + rng.normal(0, 0.1, (4, 30))  # nearly one number, 30 times
    false = {True: 0, False: 0}
    for draw in range(300):
        values = np.random.default_rng(draw).normal(0, 1, (4, 1)) + 0.1 * rng.permutation(common)
        known = values[1:]
        errors = np.stack([known[one] - np.delete(known, one, axis=0).mean(axis=0) for one in range(3)])
        for together in false:
            p_values = moderated_p_values(values[0] - known.mean(axis=0), errors, together=together)
            false[together] += p_values.min() * 30 <= 0.01
    assert false[True] <= 6 < false[False]  # of 300, at a level of a hundredth


def test_unknown_numbers_have_no_p_value():
    effects, errors = draws(4, 6, 2)
    effects[1], errors[2, 3] = np.nan, np.nan
    assert moderated_p_values(effects, errors)[[1, 3]].tolist() == [1, 1]
    assert moderated_p_values(np.full(2, np.nan), errors[:, :2]).tolist() == [1, 1]


@pytest.mark.parametrize("value", [0.01, 0.5, 3.0, 40.0])
def test_inverse_trigamma_inverts_trigamma(value):
    assert scipy.special.polygamma(1, _inverse_trigamma(value)) == pytest.approx(value, rel=1e-6)  # of the last step


@pytest.mark.parametrize("varying", [False, True])
def test_counts_like_those_of_trainings_are_no_surprise(varying):
    rng, numbers, count = np.random.default_rng(3), 5_000, 5
    rates = rng.gamma(0.3, 0.01, numbers)
    own = rates * (rng.gamma(2, 0.5, (count + 1, numbers)) if varying else 1)
    counts = rng.binomial(500, np.minimum(own, 1) * np.ones((count + 1, 1)))
    pictures = np.full(numbers, 500)
    p_values = count_p_values(counts[0], pictures, counts[1:], np.full((count, numbers), 500))
    assert (p_values <= 0.001).mean() <= 0.002  # twice the level: the spread is only known on average
    assert p_values.min() * numbers > 0.005


def test_a_few_pictures_where_there_are_hardly_any_are_a_surprise():
    usual = np.zeros((5, 640), int)
    usual[:, :40] = 2
    counts = usual[0].copy()
    counts[100] = 10
    p_values = count_p_values(counts, np.full(640, 500), usual, np.full((5, 640), 500))
    assert p_values[100] * 640 < 1e-4
    assert np.delete(p_values, 100).min() * 640 > 0.05
    assert count_p_values(np.zeros(3, int), np.ones(3, int), usual[:, -3:], np.ones((5, 3), int)).tolist() == [1, 1, 1]
