"""Packing changes neither the answer nor the number of evaluations, whatever shares a batch.

The step is a stand-in in numpy whose gradient is known (F = w·z², image by image), so that each
property is exact up to float32 rounding of at most a few hundred terms: 1e-5.
"""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.model.batch_size import StepLadder
from transforms.core.model.step_batch import StepBatch, StepResult
from transforms.core.path.adaptive import adaptive_rule
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.integrate import Integrator, Path
from transforms.core.path.rule import PathRule
from transforms.core.path.shifted import shifted_rule

SHAPE = (2, 3, 3)
WEIGHT = np.linspace(-1.0, 2.0, 18, dtype=np.float32).reshape(SHAPE)


class QuadraticStep:
    """F(z) = Σ w·z², of which target t takes t + 1 times; counts its calls and their padding."""

    is_cut = False

    def __init__(self, batch: int, fits: int = 10_000) -> None:
        self.batch = batch
        self.fits = fits
        self.smaller: list[QuadraticStep] = []
        self.calls = 0
        self.evaluations = 0
        self.lock = threading.Lock()

    def with_batch(self, batch: int) -> QuadraticStep:
        smaller = QuadraticStep(batch, self.fits)
        self.smaller.append(smaller)
        return smaller

    def place(self, point: np.ndarray) -> np.ndarray:
        return point

    def run(self, batch: StepBatch) -> StepResult:
        starts, ends, slots, alphas = np.stack(batch.starts), np.stack(batch.ends), batch.slots, batch.alphas
        weights, targets, segments = batch.weights, batch.targets, batch.segments
        assert len(slots) == len(alphas) == len(weights) == len(targets) == len(segments) == self.batch
        if self.batch > self.fits:
            raise MemoryError("OOM when allocating tensor")
        with self.lock:
            self.calls += 1
            self.evaluations += int(np.count_nonzero(weights))
        direction = ends[slots] - starts[slots]
        points = starts[slots] + alphas[:, None, None, None] * direction
        scale = (targets + 1).astype(np.float32)[:, None, None, None]
        gradients = 2 * scale * WEIGHT * points
        sums = np.zeros((segments.max() + 1, *SHAPE), np.float32)
        np.add.at(sums, segments, gradients * weights[:, None, None, None])
        axes = (1, 2, 3)
        return StepResult(sums, (scale * WEIGHT * points**2).sum(axes), (gradients * direction).sum(axes))


def integrator(step: QuadraticStep, rule: PathRule, in_flight: int = 2) -> Integrator:
    return Integrator(StepLadder(step), rule, in_flight)


def paths_of(count: int) -> list[Path[int]]:
    generator = np.random.default_rng(7)
    paths = []
    for key in range(count):
        start, end = generator.random((2, *SHAPE), np.float32)
        paths.append(Path(key, start, end, end - start, target=key % 3))
    return paths


def truth(path: Path[int]) -> np.ndarray:
    return (path.target + 1) * WEIGHT * (path.end**2 - path.start**2)


@given(count=st.integers(0, 9), batch=st.integers(1, 40), steps=st.integers(2, 30), in_flight=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_every_path_is_integrated_exactly_however_it_is_packed(count, batch, steps, in_flight):
    step = QuadraticStep(batch)
    integrals = list(integrator(step, fixed_rule("midpoint", steps), in_flight).integrate(paths_of(count)))
    assert sorted(integral.key for integral in integrals) == list(range(count))
    for integral in integrals:
        np.testing.assert_allclose(integral.values, truth(paths_of(count)[integral.key]), atol=1e-5)
        assert integral.steps == steps == len(integral.nodes)
    assert step.evaluations == count * steps


def test_batches_are_full_until_the_last():
    step = QuadraticStep(16)
    list(integrator(step, fixed_rule("midpoint", 50)).integrate(paths_of(7)))
    assert step.calls == -(-7 * 50 // 16)


@pytest.mark.parametrize(("steps", "batch", "calls"), [(1001, 500, 3), (999, 1000, 1)])
def test_model_calls_of_one_image(steps, batch, calls):
    """The counts of saliency's own tests."""
    step = QuadraticStep(batch)
    list(integrator(step, fixed_rule("midpoint", steps)).integrate(paths_of(1)))
    assert step.calls == calls


def test_the_same_paths_give_the_same_bits():
    def once() -> list[tuple[int, bytes]]:
        same = integrator(QuadraticStep(8), adaptive_rule(tolerance=0.01, max_steps=200), in_flight=3)
        return [(integral.key, integral.values.tobytes()) for integral in same.integrate(paths_of(9))]

    assert once() == once()


def test_an_adaptive_path_depends_on_nothing_it_shares_a_batch_with():
    def alone(path: Path[int]) -> np.ndarray:
        return next(integrator(QuadraticStep(5), adaptive_rule(0.01, 200), 1).integrate([path])).values

    together = integrator(QuadraticStep(16), adaptive_rule(0.01, 200)).integrate(paths_of(6))
    for integral in together:
        np.testing.assert_allclose(integral.values, alone(paths_of(6)[integral.key]), atol=1e-6)


def test_paths_are_taken_as_they_are_needed():
    taken = []

    def source():
        for path in paths_of(100):
            taken.append(path.key)
            yield path

    next(iter(integrator(QuadraticStep(16), fixed_rule("midpoint", 16), in_flight=2).integrate(source())))
    assert len(taken) < 10


def test_nodes_are_the_saturation_curve():
    (integral,) = integrator(QuadraticStep(4), fixed_rule("midpoint", 10)).integrate(paths_of(1))
    path = paths_of(1)[0]
    alphas, scores, slopes = integral.nodes.T
    np.testing.assert_allclose(alphas, (np.arange(10) + 0.5) / 10, atol=1e-6)
    points = path.start + alphas[:, None, None, None] * path.difference
    np.testing.assert_allclose(scores, (WEIGHT * points**2).sum((1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(slopes.mean(), truth(path).sum(), atol=1e-5)


def test_a_batch_that_does_not_fit_is_taken_apart_and_nothing_is_lost():
    step = QuadraticStep(32, fits=9)
    integrals = list(integrator(step, fixed_rule("midpoint", 50), in_flight=3).integrate(paths_of(6)))
    assert sorted(integral.key for integral in integrals) == list(range(6))
    for integral in integrals:
        np.testing.assert_allclose(integral.values, truth(paths_of(6)[integral.key]), atol=1e-5)
    (half,) = step.smaller
    (quarter,) = half.smaller
    assert (step.evaluations, half.evaluations, quarter.evaluations, quarter.batch) == (0, 0, 300, 8)


def test_not_even_one_step_fits():
    with pytest.raises(MemoryError, match="batch of one"):
        list(integrator(QuadraticStep(4, fits=0), fixed_rule("midpoint", 10)).integrate(paths_of(2)))


def test_a_failing_batch_is_not_swallowed():
    step = QuadraticStep(4)
    step.run = lambda *_: (_ for _ in ()).throw(RuntimeError("device lost"))
    with pytest.raises(RuntimeError, match="device lost"):
        list(integrator(step, fixed_rule("midpoint", 10)).integrate(paths_of(2)))


def test_a_path_may_have_a_rule_and_a_shift_of_its_own():
    paths = [dataclasses.replace(path, shift=path.key / 10) for path in paths_of(6)]
    paths[3] = dataclasses.replace(paths[3], rule=adaptive_rule(0.01, 200))
    alone = next(integrator(QuadraticStep(5), adaptive_rule(0.01, 200), 1).integrate(paths_of(4)[3:]))
    step = QuadraticStep(16)
    found = {each.key: each for each in integrator(step, shifted_rule(4)).integrate(paths)}
    assert step.evaluations == 5 * 4 + alone.steps
    np.testing.assert_allclose(found[3].values, alone.values, atol=1e-6)
    assert (found[3].steps, found[3].converged) == (alone.steps, True)
    for key in (0, 1, 2, 4, 5):
        np.testing.assert_allclose(found[key].nodes[:, 0], (np.arange(4) + key / 10) / 4, atol=1e-6)
        assert found[key].error_estimate is found[key].converged is None
