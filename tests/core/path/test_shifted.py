"""The shifted rule is unbiased: over all shifts, the mean of its sums is the integral, whatever the number of steps.

Each shift moves all nodes together, so as the shift goes through [0, 1) the nodes go through all of [0, 1], at equal
pace. The mean over a fine grid of shifts is therefore a midpoint sum with thousands of nodes: its error is at most the
height of a jump over twice the number of nodes, and of second order where the function is smooth. The midpoint rule is
exact for neither function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from transforms.core.path.fixed import fixed_rule
from transforms.core.path.rule import PathRule
from transforms.core.path.shifted import shifted_rule

SHIFTS = (np.arange(2000) + 0.5) / 2000
STEPS = [1, 2, 3, 8]
FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "jumps": (lambda alphas: np.where(alphas > 0.137, 3.0, -1.0) - 2.0 * (alphas > 0.731), 3 - 4 * 0.137 - 2 * 0.269),
    "polynomial": (lambda alphas: 5 * alphas**4 - 3 * alphas**2 + 0.5, 0.5),
}


def integrate(rule: PathRule, function: Callable[[np.ndarray], np.ndarray], *shift: float) -> float:
    state = rule.start(*shift)
    while not state.done:
        for block in state.blocks():
            values = function(block.alphas)
            state.absorb(block.key, np.full((1, 1, 1), block.weights @ values), values, values)
    return float(state.result()[0, 0, 0])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_mean_over_the_shifts_is_the_integral(name, steps):
    function, integral = FUNCTIONS[name]
    sums = [integrate(shifted_rule(steps), function, shift) for shift in SHIFTS]
    assert np.mean(sums) == pytest.approx(integral, abs=4 / (2 * len(SHIFTS) * steps))
    assert np.std(sums) > 1e-3  # or the mean would prove nothing


@pytest.mark.parametrize("steps", [2, 3, 8])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_midpoint_rule_is_not_exact_for_them(name, steps):
    function, integral = FUNCTIONS[name]
    assert abs(integrate(fixed_rule("midpoint", steps), function) - integral) > 4 / (2 * len(SHIFTS) * steps)


def test_half_a_shift_is_the_midpoint_rule_and_no_shift_that_of_left_ends():
    function, _ = FUNCTIONS["polynomial"]
    for steps in (2, 5):
        middles, lefts = (pytest.approx(integrate(fixed_rule(rule, steps), function)) for rule in ("midpoint", "left"))
        assert integrate(shifted_rule(steps), function) == middles
        assert integrate(shifted_rule(steps), function, 0.5) == middles
        assert integrate(shifted_rule(steps), function, 0.0) == lefts


@pytest.mark.parametrize("steps", STEPS)
def test_a_path_is_one_block_that_is_handed_out_once(steps):
    state = shifted_rule(steps).start(0.25)
    (block,) = state.blocks()
    assert state.blocks() == ()
    assert not state.done
    assert state.steps == len(block.alphas) == steps
    assert block.weights.sum() == pytest.approx(1, abs=1e-14)
    assert (block.alphas >= 0).all()
    assert (block.alphas < 1).all()


def test_it_tells_no_error():
    state = shifted_rule(4).start(0.25)
    for block in state.blocks():
        state.absorb(block.key, np.ones((1, 1, 1), np.float32), np.ones(4), np.ones(4))
    assert state.done
    assert (state.error_estimate, state.converged) == (None, None)


def test_what_is_no_number_of_steps_or_no_shift_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        shifted_rule(0)
    for shift in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"shift must be in \[0, 1\)"):
            shifted_rule(3).start(shift)
