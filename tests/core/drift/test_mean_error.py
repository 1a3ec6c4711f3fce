"""Standard errors of class-matched means: those of stratified sampling, and intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.drift.contrast import Known, class_matched_weights
from transforms.core.drift.mean_error import NORMAL, standard_errors

RNG = np.random.default_rng(2)


def present(values: np.ndarray, classes: np.ndarray, reference: int) -> Known:
    return Known(values, classes, class_matched_weights(classes, np.arange(len(classes)) >= reference))


def test_they_are_those_of_a_stratified_mean():
    classes = np.array([0] * 30 + [1] * 10 + [0] * 8 + [1] * 12)
    values = RNG.normal(size=(60, 2)) + classes[:, None]
    found = standard_errors(present(values, classes, 40))
    for side, rows in enumerate((np.arange(60) < 40, np.arange(60) >= 40)):
        wanted = sum(
            (share**2) * values[rows & (classes == one)].var(axis=0, ddof=1) / (rows & (classes == one)).sum()
            for one, share in ((0, 0.75), (1, 0.25))  # the reference's mix
        )
        np.testing.assert_allclose(found[side], np.sqrt(wanted), rtol=1e-12)


def test_intervals_hold_the_mean():
    """Of 500 draws, 95 % give or take 1 %: within three of these."""
    held = []
    for _ in range(500):
        classes = RNG.integers(0, 3, 200)
        values = RNG.normal(classes, 1)
        known = present(values, classes, 100)
        error = standard_errors(known)[1][0]
        shares = np.bincount(classes[:100], minlength=3) / 100
        held.append(abs(known.weights.candidate[0] @ values - shares @ [0, 1, 2]) <= NORMAL * error)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
