"""Counts judged by the others: calibrated where rates vary, and an outlier does not hide itself or another."""

from __future__ import annotations

import numpy as np

from transforms.core.findings.rates import Rates, judge_counts


def test_counts_whose_rates_vary_are_hardly_ever_unlikely():
    rng = np.random.default_rng(0)
    smallest = []
    for _ in range(200):
        rates = rng.gamma(0.5, 4, 1000)
        smallest.append(judge_counts(rng.poisson(rates).astype(float), np.full(1000, 500.0)).p_values.min() * 1000)
    # by construction 2 of 200; four standard deviations of a binomial count above that
    assert sum(p < 0.01 for p in smallest) <= 8
    poisson = Rates(float(2 / 500), 1e6).p_values(
        rng.poisson(rng.gamma(0.5, 4, 1000)).astype(float), np.full(1000, 500.0)
    )
    assert poisson.min() * 1000 < 0.01  # which a rate that does not vary would not have been


def test_an_outlier_is_seen_beside_another():
    counts = np.random.default_rng(1).poisson(1, 1000).astype(float)
    counts[3] = counts[700] = 60
    judged = judge_counts(counts, np.full(1000, 500.0))
    assert (judged.p_values[[3, 700]] < 1e-12).all()
    assert (np.delete(judged.p_values, [3, 700]) > 1e-6).all()
    assert 0.8 < judged.expected[0] < 1.2  # three standard deviations of the mean of 1,000 counts are 0.1


def test_of_few_counts_each_is_judged_by_the_others():
    counts = np.array([2.0, 1, 3, 2, 1, 2, 90])
    judged = judge_counts(counts, np.full(7, 500.0))
    assert judged.p_values[-1] < 1e-6
    assert (judged.p_values[:-1] > 0.01).all()


def test_too_few_others_show_nothing():
    assert judge_counts(np.array([0.0, 90, 0]), np.full(3, 500.0)).p_values.tolist() == [1, 1, 1]
