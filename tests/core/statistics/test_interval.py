"""Intervals hold the mean as often as they say; a control variate with the right expectation narrows them.

The shares of 1,000 draws that hold it vary by 0.7 % (standard deviation of a share of 95 %), so that 93 to 97 % are
within three of these.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from transforms.core.statistics.interval import controlled, estimates, student
from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Groups, Moments

DRAWS = 1000


@pytest.mark.parametrize("freedom", [1, 2, 5, 6, 9, 30, 1000])
def test_quantiles_are_those_of_student(freedom):
    assert student(freedom) == pytest.approx(stdtrit(freedom, 0.975), abs=2e-4)


def test_a_single_row_tells_no_error():
    (found,) = estimates(Moments.grouped(np.ones((1, 1), np.float32), Groups.of([[0]]))[0])
    assert (found.mean, found.error, found.low, found.high) == (1, None, None, None)


@pytest.mark.parametrize("rows", [5, 100])
def test_intervals_hold_the_mean_in_95_of_100_draws(rows):
    rng = np.random.default_rng(rows)
    values = rng.normal(2, 1, (rows, DRAWS)).astype(np.float32)
    found = estimates(Moments.grouped(values, Groups.of([range(rows)]))[0])
    held = np.mean([each.low <= 2 <= each.high for each in found])
    assert 0.93 <= held <= 0.97


def joint(values: np.ndarray, control: np.ndarray) -> JointMoments:
    return JointMoments.grouped(values, control[:, None], Groups.of([range(len(values))]))[0]


def test_a_control_narrows_and_still_holds_the_mean():
    rng, held, widths = np.random.default_rng(1), [], []
    for _ in range(DRAWS):
        noise = rng.normal(0, 2, 100)
        values = (rng.normal(1, 1, 100) + noise).astype(np.float32)[:, None]
        moments = joint(values, noise.astype(np.float32))
        (plain,), (narrowed,) = estimates(moments.one), controlled(moments)
        held.append(narrowed.low <= 1 <= narrowed.high)
        widths.append(narrowed.error / plain.error)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.median(widths) == pytest.approx(1 / np.sqrt(5), rel=0.05)  # of the variance 5, 4 are the control's


def test_a_control_that_does_not_vary_or_that_few_rows_have_changes_nothing():
    values = np.arange(6, dtype=np.float32)[:, None]
    for rows, control in ((6, np.zeros(6)), (3, np.array([1.0, 2, 4]))):
        moments = joint(values[:rows], control.astype(np.float32))
        assert controlled(moments) == estimates(moments.one)
