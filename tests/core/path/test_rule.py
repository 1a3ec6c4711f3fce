"""Path rules, on synthetic paths whose integral is known.

A `Path` has a gradient in each of many pixels that changes in steps at random positions, as a ReLU
network's does, over a smooth trend. Its exact integral is known, so errors and estimates can be
compared without any model.
"""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.path.adaptive import adaptive_rule
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.rule import PathRule, PathState

SHAPE = (4, 5, 3)


class Path:
    """A gradient that is a trend plus `jumps` steps per pixel, all below `end`."""

    def __init__(self, seed: int = 0, jumps: int = 400, end: float = 1.0, trend: float = 0.0):
        generator = np.random.default_rng(seed)
        self.at = generator.random(jumps) * end
        self.heights = generator.normal(size=(jumps, *SHAPE)) / np.sqrt(jumps)
        self.offset = generator.normal(size=SHAPE)
        self.trend = trend * generator.normal(size=SHAPE)

    def gradient(self, alpha: float) -> np.ndarray:
        return self.offset + self.trend * np.cos(3 * alpha) + self.heights[self.at < alpha].sum(axis=0)

    def score(self, alpha: float) -> float:
        rises = np.maximum(alpha - self.at, 0)[:, None, None, None] * self.heights
        return float((self.offset * alpha + self.trend * np.sin(3 * alpha) / 3 + rises.sum(axis=0)).sum())

    def integral(self) -> np.ndarray:
        return self.offset + self.trend * np.sin(3) / 3 + np.tensordot(1 - self.at, self.heights, axes=1)


def evaluate(path: Path, block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gradients = np.stack([path.gradient(alpha) for alpha in block.alphas])
    contribution = np.tensordot(block.weights, gradients, axes=1).astype(np.float32)
    scores = np.array([path.score(alpha) for alpha in block.alphas], np.float32)
    return contribution, scores, gradients.sum(axis=(1, 2, 3)).astype(np.float32)


def integrate(rule: PathRule, path: Path, order=lambda blocks: blocks) -> PathState:
    state = rule.start()
    for _ in range(1000):
        if state.done:
            return state
        for block in order(state.blocks()):
            state.absorb(block.key, *evaluate(path, block))
    raise AssertionError("the rule does not come to an end")


def error(state: PathState, path: Path) -> float:
    return np.abs(state.result() - path.integral()).sum() / np.abs(path.integral()).sum()


def nodes(rule: PathRule, path: Path) -> np.ndarray:
    seen: list[float] = []

    def record(blocks):
        seen.extend(itertools.chain.from_iterable(block.alphas for block in blocks))
        return blocks

    integrate(rule, path, record)
    return np.sort(seen)


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid", "left", "right", "gauss_legendre"])
@pytest.mark.parametrize("steps", [2, 3, 32, 51])
def test_a_fixed_rule_evaluates_exactly_its_steps_and_sums_them_all(rule, steps):
    path = Path(trend=1.0)
    state = integrate(fixed_rule(rule, steps), path)
    assert state.steps == len(nodes(fixed_rule(rule, steps), path)) == steps
    assert error(state, path) < 3.0 / steps
    assert state.converged


def test_one_step_is_an_answer_without_an_error_bar():
    state = integrate(fixed_rule("midpoint", 1), Path())
    assert np.isinf(state.error_estimate)
    assert state.converged


@pytest.mark.parametrize("rule", ["midpoint", "trapezoid", "simpson", "gauss_legendre"])
def test_the_estimate_of_a_fixed_rule_is_honest(rule):
    ratios = []
    for seed in range(40):
        path = Path(seed)
        state = integrate(fixed_rule(rule, 33), path)
        ratios.append(state.error_estimate / error(state, path))
    # 60 pixels and about 400 jumps: single paths scatter by some ten percent, their middle does not.
    assert 0.85 < np.median(ratios) < 1.15
    assert min(ratios) > 0.5
    assert max(ratios) < 2.0


@pytest.mark.parametrize("end", [1.0, 0.4])
def test_the_estimate_of_the_adaptive_rule_is_honest(end):
    ratios = []
    for seed in range(40):
        path = Path(seed, end=end)
        state = integrate(adaptive_rule(tolerance=0.02), path)
        ratios.append(state.error_estimate / error(state, path))
    assert 0.95 < np.median(ratios) < 1.3
    assert min(ratios) > 0.7
    assert max(ratios) < 1.7


def test_an_uneven_path_is_known_better_than_by_as_many_midpoints():
    gains = []
    for seed in range(20):
        path = Path(seed, end=0.25)
        state = integrate(adaptive_rule(tolerance=1e-9, max_steps=96), path)
        gains.append(error(integrate(fixed_rule("midpoint", state.steps), path), path) / error(state, path))
    assert np.median(gains) > 1.5


@given(max_steps=st.integers(9, 200), seed=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_never_exceeds_max_steps_and_says_so_when_they_do_not_suffice(max_steps, seed):
    path = Path(seed)
    state = integrate(adaptive_rule(tolerance=1e-9, max_steps=max_steps), path)
    assert max_steps * 3 / 4 < state.steps <= max_steps
    assert len(nodes(adaptive_rule(tolerance=1e-9, max_steps=max_steps), path)) == state.steps
    assert state.blocks() == ()
    assert not state.converged
    assert state.error_estimate > 1e-9


def test_no_node_is_evaluated_twice():
    alphas = nodes(adaptive_rule(tolerance=1e-9, max_steps=300), Path())
    assert np.diff(alphas).min() > 1e-4


def test_the_order_in_which_blocks_return_does_not_matter():
    path = Path(end=0.6)
    rule = adaptive_rule(tolerance=0.01)
    forward, backward = integrate(rule, path), integrate(rule, path, lambda blocks: blocks[::-1])
    assert np.array_equal(forward.result(), backward.result())
    assert forward.error_estimate == backward.error_estimate
    assert forward.steps == backward.steps


def test_blocks_are_handed_out_once():
    state = adaptive_rule().start()
    first = state.blocks()
    assert first
    assert state.blocks() == ()
    state.absorb(first[0].key, *evaluate(Path(), first[0]))
    assert state.blocks() == ()


def test_what_happens_between_the_first_nodes_is_not_overlooked():
    path = Path(jumps=2)
    path.offset[:] = 0.0
    path.at[:] = 0.27, 0.34  # the gradient is 0 but for there, as that of a probability that saturates
    path.heights[1] = -path.heights[0]
    state = integrate(adaptive_rule(tolerance=0.05), path)
    assert state.converged
    assert error(state, path) < 0.05


def test_memory_does_not_grow_with_the_number_of_steps():
    path, state, given_away = Path(), adaptive_rule(tolerance=1e-9, max_steps=500).start(), []
    most = 0
    while not state.done:
        for block in state.blocks():
            contribution, scores, slopes = evaluate(path, block)
            given_away.append(weakref.ref(contribution))
            state.absorb(block.key, contribution, scores, slopes)
            del contribution
            most = max(most, sum(array() is not None for array in given_away))
    assert state.steps > 450
    assert most <= 33 + 8 + 8  # gradients kept, those of a round, and the round that goes over


@pytest.mark.parametrize(("rule", "steps"), [(fixed_rule("midpoint", 24), 24), (adaptive_rule(), 9)])
def test_a_zero_map_has_no_error(rule, steps):
    path = Path()
    path.heights[:], path.offset[:] = 0.0, 0.0
    state = integrate(rule, path)
    assert state.converged
    assert state.error_estimate == 0.0
    assert state.steps == steps


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", [fixed_rule("midpoint", 24), adaptive_rule()])
def test_a_gradient_that_is_not_finite_ends_the_path_without_convergence(rule, bad):
    path = Path()
    path.heights[200, 0, 0, 0] = bad
    with np.errstate(invalid="ignore"):
        state = integrate(rule, path)
    assert not state.converged
    assert np.isinf(state.error_estimate)
    assert state.steps <= 24


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": np.nan}, {"max_steps": 8}])
def test_refuses_options_that_cannot_be_met(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        adaptive_rule(**options)
