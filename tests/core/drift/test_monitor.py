"""The evidence of a night, and what adds up over nights.

Under the prediction an e-value's mean is at most 1: summed over the whole distribution, not sampled. Under the model as
a whole the average sum grows by at most 1 a night, which takes sampling.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import gammaln

from transforms.core.drift import monitor
from transforms.core.drift.evidence import Tally
from transforms.core.drift.onset import Onset

ROWS = 500


def tally(counts: np.ndarray, rows: int = ROWS) -> Tally:
    return Tally(counts, np.full(counts.shape[:-2], rows))


def quiet_rates(years: int, seed: int, slices: int = 4, statistics: int = 16, levels: int = 2) -> np.ndarray:
    """Returns rates of pictures, most of them next to none, a few large."""
    shape = (years, slices, statistics, levels)
    return np.random.default_rng(seed).gamma(0.3, 0.01, shape) / np.array([1, 10])


def begun(rates: np.ndarray, rng: np.random.Generator, nights: int = 30) -> monitor.State:
    return monitor.start(tally(rng.poisson(rates * ROWS * nights), ROWS * nights), nights)


def negative_binomial(counts: np.ndarray, mean: float, size: float) -> np.ndarray:
    odds = mean / (mean + size)
    logs = gammaln(size + counts) - gammaln(size) - gammaln(counts + 1)
    return np.exp(logs + size * np.log1p(-odds) + counts * np.log(odds))


def e_values_of(counts: np.ndarray, rows: int, mean: float, shape: float, spread: float) -> np.ndarray:
    """Returns the e-value of each count, all predicted the same way."""
    everywhere = np.ones((1, len(counts), 1))
    predicted = monitor.Prediction(mean * everywhere, shape * everywhere, np.full((1, 1, 1), spread))
    return monitor.e_values(predicted, tally(counts[None, :, None], rows))[0, :, 0]


@pytest.mark.parametrize("rows", [1, 31, 500])
@pytest.mark.parametrize(
    ("mean", "shape", "spread"), [(0.001, 0.5, 0.05), (0.5, 0.5, 0.0), (2.0, 30.0, 0.05), (40.0, 1000.0, 0.3)]
)
def test_an_e_value_has_a_mean_of_at_most_1_under_the_prediction(rows, mean, shape, spread):
    counts = np.arange(6000)
    likely = negative_binomial(counts, mean, 1 / (1 / shape + spread))
    e_values = e_values_of(counts, rows, mean, shape, spread)
    total = (likely * e_values).sum()
    assert likely.sum() == pytest.approx(1, abs=1e-9)  # otherwise nothing follows from the sum
    assert total <= 1 + 1e-9  # rounding of 6,000 logarithms of gamma functions
    cut = e_values.max() >= 1e30
    assert total == pytest.approx(1, abs=1e-9) or (cut or rows * 0.25 > 8)  # nothing is given away for no reason


def test_an_e_value_is_the_ratio_of_two_distributions():
    """Against the definition: the usual number and an additional one, from a mixture of Poisson distributions."""
    counts, mean, shape, rows = np.arange(8), 0.3, 2.0, 40
    usual = negative_binomial(counts, mean, shape)
    means = rows * np.array(monitor.SHARES)[:, None]
    extra = np.exp(counts * np.log(means) - means - gammaln(counts + 1)).mean(axis=0)
    changed = np.convolve(usual, extra)[: len(counts)]
    np.testing.assert_allclose(e_values_of(counts, rows, mean, shape, 0.0), changed / usual, rtol=1e-10)


@pytest.mark.parametrize("rows", [0, 1, 30, 499, 100_000])
def test_a_change_brings_some_number_of_extra_pictures(rows):
    extras, weights = monitor.extra_pictures(np.array([rows]))
    assert extras[0] == 0 and (np.diff(extras) > 0).all()
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
    assert (weights @ extras)[0] <= rows * np.mean(monitor.SHARES) + 1e-9  # rounded down, so as to promise no more


def test_large_counts_are_finite():
    rows = 1_000_000
    e_values = e_values_of(np.array([0, 1, 1000, 200_000]), rows, 5.0, 1000.0, 0.01)
    assert np.isfinite(e_values).all() and e_values[-1] > 1e20 and e_values[0] < 1e-3


def test_rates_are_fitted_to_all_places():
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 0.01, (10, 200, 1))
    fitted = monitor.fit_rates(tally(rng.poisson(rates * 5000), 5000))
    assert fitted.shape[0] == pytest.approx(2.0, rel=0.15)  # of 2,000 rates: 3 standard errors
    assert fitted.shape[0] / fitted.rows[0] == pytest.approx(0.02, rel=0.05)


def test_the_fit_outweighs_no_place_of_its_own():
    """Places that are all alike would be taken for certain: one odd place would then never be believed."""
    fitted = monitor.fit_rates(tally(np.full((3, 50, 1), 7), 700))
    assert fitted.rows[0] == pytest.approx(700)
    assert monitor.fit_rates(tally(np.zeros((3, 50, 1), int), 700)).shape[0] == monitor.SHAPE


def test_the_average_sum_grows_by_at_most_1_a_night():
    rng = np.random.default_rng(1)
    rates = quiet_rates(300, 2)
    state = begun(rates, rng)
    for night in range(1, 41):
        state = monitor.advance(state, tally(rng.poisson(rates * ROWS)))
        assert state.average.mean() <= night
    assert state.average.max() > state.average.mean() > 0.1  # something did add up


def test_nights_that_differ_widen_the_prediction():
    rng = np.random.default_rng(3)
    rates = np.full((1, 4, 64, 1), 0.02)
    steady = varied = begun(rates, rng)
    for _ in range(30):
        steady = monitor.advance(steady, tally(rng.poisson(rates * ROWS)))
        varied = monitor.advance(varied, tally(rng.poisson(rates * ROWS * rng.gamma(4, 1 / 4, (1, 4, 1, 1)))))
    rows = np.full((1, 4), ROWS)
    narrow, wide = (monitor.predict(state, rows).spread.mean() for state in (steady, varied))
    assert narrow < monitor.SPREAD < wide
    assert 0.1 < wide < 0.3  # 1 / 4, the deviations of the largest nights cut, and what was assumed before


@pytest.mark.parametrize("spread", [0.0, 0.25])
def test_quiet_years_raise_no_more_alarms_than_were_asked_for(spread):
    """At 36.5 a year, an alarm in 10 nights, so that few nights tell; nights differ in the second case."""
    rng = np.random.default_rng(4)
    rates = quiet_rates(100, 5)
    state = begun(rates, rng)
    alarms, nights = 0, 100
    for _ in range(nights):
        factor = rng.gamma(1 / spread, spread, (100, 4, 1, 1)) if spread else 1.0
        state = monitor.advance(state, tally(rng.poisson(rates * ROWS * factor)))
        raised = state.average >= monitor.threshold(36.5)
        alarms += int(raised.sum())
        state = monitor.restart(state, raised)
    assert 0 < alarms <= 100 * nights / 10


def test_a_change_raises_an_alarm_soon_and_is_the_largest_sum():
    rng = np.random.default_rng(6)
    rates = quiet_rates(20, 7)
    state = begun(rates, rng)
    for _ in range(5):
        state = monitor.advance(state, tally(rng.poisson(rates * ROWS)))
    assert (state.average < monitor.threshold(1)).all()
    rates[:, 2, 5, 1] += 0.02
    for _ in range(3):
        state = monitor.advance(state, tally(rng.poisson(rates * ROWS)))
    assert (state.average >= monitor.threshold(1)).all()
    assert (state.sums.reshape(20, -1).argmax(axis=1) == np.ravel_multi_index((2, 5, 1), rates.shape[1:])).all()


def test_it_calibrates_until_there_is_a_week():
    state = monitor.start(tally(np.zeros((2, 4, 1), int)), 3)
    burst = tally(np.full((2, 4, 1), 9))
    for _ in range(monitor.NIGHTS - 3):
        assert state.calibrating
        state = monitor.advance(state, burst)
        assert not state.sums.any()
    assert not state.calibrating
    assert state.past.counts[0, 0, 0] == 9 * (monitor.NIGHTS - 3)
    assert monitor.advance(state, burst).sums.all()


def test_a_slice_without_rows_waits():
    rng = np.random.default_rng(8)
    state = begun(quiet_rates(1, 9)[0], rng)
    state = monitor.advance(state, tally(rng.poisson(1, state.sums.shape)))
    missing = tally(np.zeros(state.sums.shape, int), 0)
    assert (monitor.advance(state, missing).sums == state.sums).all()


def test_a_reset_leaves_the_references_alone():
    rng = np.random.default_rng(10)
    rates = quiet_rates(3, 11)
    first = state = begun(rates, rng)
    for _ in range(4):
        state = monitor.advance(state, tally(rng.poisson(rates * ROWS)))
    reset = monitor.restart(state, np.array([False, True, False]))
    for name in ("sums", "excess", "squares", "nights"):
        assert (getattr(reset, name)[1] == getattr(first, name)[1]).all()
        assert (getattr(reset, name)[[0, 2]] == getattr(state, name)[[0, 2]]).all()
    assert (reset.past.counts[1] == first.references.counts[1]).all()
    assert (reset.past.counts[0] == state.past.counts[0]).all()


def test_histories_in_step_are_the_same_as_one_by_one():
    rng = np.random.default_rng(12)
    rates = quiet_rates(3, 13)
    together = begun(rates, rng)
    alone = [monitor.start(Tally(together.past.counts[i], together.past.rows[i]), 30) for i in range(3)]
    for _ in range(4):
        night = tally(rng.poisson(rates * ROWS))
        together = monitor.advance(together, night)
        alone = [monitor.advance(one, Tally(night.counts[i], night.rows[i])) for i, one in enumerate(alone)]
    np.testing.assert_allclose(together.sums, np.stack([one.sums for one in alone]), rtol=1e-9)


def test_slices_that_come_later_start_with_their_references():
    rng = np.random.default_rng(14)
    state = begun(quiet_rates(1, 15)[0], rng)
    state = monitor.advance(state, tally(rng.poisson(1, state.sums.shape)))
    more = tally(np.full((1, *state.sums.shape[1:]), 2), 900)
    wider = monitor.widen(state, more)
    assert wider.sums.shape[0] == state.sums.shape[0] + 1
    assert (wider.sums[:-1] == state.sums).all() and not wider.sums[-1].any()
    assert (wider.past.counts[-1] == 2).all() and wider.past.rows[-1] == 900
    assert wider.average < state.average
    monitor.advance(wider, tally(rng.poisson(1, wider.sums.shape)))


def test_the_onset_is_the_night_since_which_evidence_adds_up():
    onset = Onset.none((1, 1, 1))
    for count, e_value in [(9, 50.0), (0, 0.01), (0, 0.1), (4, 20.0), (5, 30.0)]:
        onset = onset.advance(tally(np.full((1, 1, 1), count)), np.full((1, 1, 1), 0.2), np.full((1, 1, 1), e_value))
    found = {field.name: getattr(onset, field.name).item() for field in dataclasses.fields(onset)}
    assert found == pytest.approx({"product": 600, "nights": 2, "pictures": 9, "rows": 2 * ROWS, "expected": 0.4})
