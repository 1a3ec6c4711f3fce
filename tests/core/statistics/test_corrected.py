"""Corrected means are unbiased where cheap ones are not, their intervals hold, and small slices borrow or say nothing.

As in `test_interval`, shares of 1,000 draws within 93 to 97 % are those of 95 % intervals.
"""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.statistics.corrected import LEAST, Bias, corrected, pooled_bias
from transforms.core.statistics.interval import estimates
from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Distribution, Groups, Moments

DRAWS = 1000


def pair(reference: np.ndarray, cheap: np.ndarray) -> JointMoments:
    one, other = (values.astype(np.float32).reshape(len(values), -1) for values in (reference, cheap))
    return JointMoments.grouped(one, other, Groups.of([range(len(one))]))[0]


def moments(values: np.ndarray) -> Moments:
    return Moments.grouped(values.astype(np.float32).reshape(len(values), -1), Groups.of([range(len(values))]))[0]


def draw(rng: np.random.Generator, rows: int, known: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference values of mean 1, and cheap ones: too small by a quarter, and noisy."""
    reference = rng.normal(1, 1, rows)
    cheap = 0.75 * reference + rng.normal(0, 0.3, rows)
    return np.where(np.arange(rows) < known, reference, np.nan), cheap


@pytest.mark.parametrize(("rows", "known"), [(100, 50), (1000, 60), (5000, 100)])
def test_intervals_hold_the_mean_that_cheap_ones_miss(rows, known):
    rng, held, missed, widths = np.random.default_rng(rows), [], [], []
    for _ in range(DRAWS):
        reference, cheap = draw(rng, rows, known)
        (found,) = corrected(moments(cheap), pair(reference, cheap), [None])
        (naive,) = estimates(moments(cheap))
        (alone,) = estimates(moments(reference[:known]))
        held.append(found.low <= 1 <= found.high)
        missed.append(not naive.low <= 1 <= naive.high)
        widths.append(found.error / alone.error)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.mean(missed) > 0.5
    assert np.median(widths) < 1  # cheap values help


def test_the_weight_is_the_best_one():
    """The variance of the estimate equals that of the formula at its minimum, taken over a fine grid of weights."""
    reference, cheap = draw(np.random.default_rng(5), 400, 80)
    (found,) = corrected(moments(cheap), pair(reference, cheap), [None])
    known, own = reference[:80], cheap[:80]
    variances = [
        np.var(known - weight * own, ddof=1) / 80 + weight**2 * np.var(own, ddof=1) / 320
        for weight in np.linspace(0, 2, 2001)
    ]
    assert found.error**2 == pytest.approx(min(variances), rel=0.05)  # two rows less, and all of f's variance


def test_useless_cheap_values_leave_the_mean_of_the_reference():
    rng = np.random.default_rng(7)
    reference = np.where(np.arange(2000) < 200, rng.normal(1, 1, 2000), np.nan)
    (found,) = corrected(moments(rng.normal(9, 1, 2000)), pair(reference, rng.normal(9, 1, 2000)), [None])
    (alone,) = estimates(moments(reference[:200]))
    assert found.mean == pytest.approx(alone.mean, abs=alone.error)
    assert found.error == pytest.approx(alone.error, rel=0.05)


def test_a_number_is_corrected_as_a_vector_of_one():
    reference, cheap = draw(np.random.default_rng(9), 300, 70)
    (single,) = Distribution.grouped(cheap.astype(np.float32), Groups.of([range(300)]))
    joint = pair(reference, cheap)
    assert corrected(single, joint, [None]) == corrected(moments(cheap), joint, [None])


def test_where_every_row_is_known_the_mean_is_theirs():
    reference, cheap = draw(np.random.default_rng(11), 60, 60)
    (found,), (alone,) = corrected(moments(cheap), pair(reference, cheap), [None]), estimates(moments(reference))
    assert (found.mean, found.error) == (pytest.approx(alone.mean), pytest.approx(alone.error))


class TestSmallSlices:
    def classes(self, rng: np.random.Generator, between: float, count: int = 12) -> tuple[list[JointMoments], list]:
        """Classes of 200 rows with 20 known ones, whose biases vary; and what each of them truly lacks."""
        biases, made = rng.normal(0.3, between, count), []
        for bias in biases:
            reference = rng.normal(0, 1, 200)
            cheap = reference - bias + rng.normal(0, 0.1, 200)
            made.append(pair(np.where(np.arange(200) < 20, reference, np.nan), cheap))
        return made, biases

    def test_they_have_no_mean_without_a_bias_to_borrow(self):
        reference, cheap = draw(np.random.default_rng(13), 200, LEAST - 1)
        joint = pair(reference, cheap)
        assert corrected(moments(cheap), joint, [None]) == [None]
        (found,) = corrected(moments(cheap), joint, [Bias(0.25, 0.01, 9)])
        assert found.mean == pytest.approx(cheap.mean() + 0.25, abs=1e-6)
        assert found.error == pytest.approx(np.sqrt(np.var(cheap, ddof=1) / 200 + 0.01), rel=1e-6)

    def test_slices_without_any_reference_value_borrow_too(self):
        (found,) = corrected(moments(np.arange(10.0)), JointMoments(), [Bias(1.0, 0.0, 9)])
        assert found.mean == pytest.approx(5.5)

    @pytest.mark.parametrize("between", [0.0, 0.2])
    def test_the_pooled_bias_holds_that_of_a_further_class(self, between):
        rng, held = np.random.default_rng(17), []
        for _ in range(400):
            made, _ = self.classes(rng, between)
            (bias,) = pooled_bias(made)
            reference = rng.normal(0, 1, 200)
            own = rng.normal(0.3, between)
            (found,) = corrected(moments(reference - own), JointMoments(), [bias])
            held.append(found.low <= 0 <= found.high)
        assert 0.92 <= np.mean(held) <= 0.99  # of 400 draws; wider where classes are thought to differ by chance

    def test_too_few_classes_or_rows_tell_none(self):
        made, _ = self.classes(np.random.default_rng(19), 0.1)
        assert pooled_bias(made[:4]) == [None]
        assert pooled_bias([]) == []
        assert pooled_bias(made) != [None]
