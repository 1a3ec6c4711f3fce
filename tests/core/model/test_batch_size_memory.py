"""Memory that runs out anywhere halves the batch, and changes nothing else: injected in every call of the device."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.saved_models import smooth
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.randomization import check_randomization
from transforms.core.explain.settings import Settings
from transforms.core.model import calibration, classifier
from transforms.core.model.batch_size import StepLadder
from transforms.core.model.step import CompiledStep, compile_step
from transforms.core.record import Explanation

CALLS = ("outputs", "enter", "leave", "run")
EVERYTHING = {"targets": "top2", "baseline": "black blur:3 uniform:5", "gradient": True, "faithfulness": 0.5}
FIXED = {"rule": "midpoint", "steps": 5}
ADAPTIVE = {"rule": "adaptive", "steps": None, "max_steps": 40}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth", size=16))


@pytest.fixture(scope="module", autouse=True)
def traced_once():
    """Steps have no state: every test of this module takes the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "compile_step", functools.cache(compile_step))
        patch.setattr(CompiledStep, "with_batch", functools.cache(CompiledStep.with_batch))
        yield


def make(model, batch: int, **settings: Any) -> Attributor:
    return Attributor(model, Settings(**(EVERYTHING | FIXED | settings)), batch)


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).random((count, 16, 16, 3), np.float32)


class Device:
    """Counts the calls of a compiled step, by name, and fails those that `fails` chooses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = dict.fromkeys(CALLS, 0)
        self.fails = lambda name, count, batch: False
        for name in CALLS:
            monkeypatch.setattr(CompiledStep, name, self._counted(name, getattr(CompiledStep, name)))

    def _counted(self, name: str, call: Any) -> Any:
        def counted(step: CompiledStep, *arguments: Any) -> Any:
            self.counts[name] += 1
            if self.fails(name, self.counts[name], step.batch):
                raise MemoryError("OOM when allocating tensor")
            return call(step, *arguments)

        return counted


@pytest.fixture
def device(monkeypatch) -> Device:
    return Device(monkeypatch)


def assert_alike(found: list[Explanation], wanted: list[Explanation]) -> None:
    """Compares explanations; the same steps in other batches: float32 rounding of sums of 12 terms."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.image.id == other.image.id
        np.testing.assert_array_equal(one.pixels.array, other.pixels.array)
        for here, there in zip(one.attributions, other.attributions, strict=True):
            assert (here.target, here.rank, here.steps) == (there.target, there.rank, there.steps)
            np.testing.assert_allclose(here.values, there.values, atol=1e-6)
            np.testing.assert_allclose(here.gradient, there.gradient, atol=1e-6)
            for name in ("score", "baseline_score", "convergence_delta", "error_estimate"):
                assert getattr(here, name) == pytest.approx(getattr(there, name), abs=1e-5), name
            for name in ("insertion_auc", "deletion_auc"):
                there_too = getattr(there.faithfulness, name)
                assert getattr(here.faithfulness, name) == pytest.approx(there_too, abs=1e-6), name


@pytest.mark.parametrize("rule", [FIXED, ADAPTIVE], ids=["fixed", "adaptive"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_never_fits_at_a_size_is_made_at_the_next(model, device, name, rule):
    wanted = make(model, 4, **rule).explain(images())
    disturbed = make(model, 16, **rule)
    device.fails = lambda called, count, batch: called == name and batch > 4
    assert_alike(disturbed.explain(images()), wanted)
    assert disturbed.step.batch == 4


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("place", ["first", "in the middle", "last"])
def test_memory_may_run_out_at_any_moment(model, device, name, place):
    undisturbed = make(model, 8)
    before = device.counts[name]
    wanted = undisturbed.explain(images())
    calls = device.counts[name] - before
    disturbed, when = make(model, 8), {"first": 1, "in the middle": calls // 2, "last": calls}[place]
    fails_at = device.counts[name] + when
    device.fails = lambda called, count, batch: called == name and count == fails_at
    assert_alike(disturbed.explain(images()), wanted)
    assert disturbed.step.batch == 4


def test_memory_that_shrinks_all_the_time_leaves_a_batch_of_one(model, device):
    wanted = make(model, 1).explain(images(3))
    disturbed = make(model, 16)
    device.fails = lambda called, count, batch: batch > 1 and count % 3 == 2
    assert_alike(disturbed.explain(images(3)), wanted)
    assert disturbed.step.batch == 1


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_does_not_fit_with_one_says_so(model, device, name):
    disturbed = make(model, 4)
    device.fails = lambda called, count, batch: called == name
    with pytest.raises(MemoryError, match="with a batch of one: OOM when"):
        disturbed.explain(images(3))


@pytest.mark.parametrize("name", CALLS)
def test_warming_up_finds_the_size_that_fits(model, device, name):
    disturbed = make(model, 8)
    device.fails = lambda called, count, batch: called == name and batch > 2
    disturbed.warm_up()
    assert disturbed.step.batch == 2


def test_threads_that_share_an_attributor_shrink_it_together(model, device):
    wanted = make(model, 2).explain(images())
    disturbed = make(model, 16)
    device.fails = lambda called, count, batch: batch > 2 and count % 2 == 0
    with ThreadPoolExecutor(3) as threads:
        for found in threads.map(disturbed.explain, [images()] * 3):
            assert_alike(found, wanted)
    assert disturbed.step.batch in (2, 4, 8)


@pytest.mark.parametrize("name", ["enter", "run", "leave"])
def test_the_check_of_the_model_shrinks_too(model, device, name):
    made = make(model, 8)
    wanted = check_randomization(made, images(2), [0, 1])
    device.fails = lambda called, count, batch: called == name and batch > 4
    found = check_randomization(made, images(2), [0, 1])
    assert found.images == 2
    assert found.similarity == pytest.approx(wanted.similarity, abs=1e-3)  # ranks of pixels that rounding swaps


class Shared:
    """A step of a device whose memory, in steps, all calls share."""

    def __init__(self, batch: int, free: list[int]) -> None:
        self.batch = batch
        self.free = free

    def with_batch(self, batch: int) -> Shared:
        return Shared(batch, self.free)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        self.free.append(-self.batch)
        time.sleep(0.01)  # so that calls meet
        fits = sum(self.free) >= 0
        time.sleep(0.01)
        self.free.append(self.batch)
        if not fits:
            raise MemoryError("OOM when allocating tensor")
        return images


@pytest.mark.parametrize(("memory", "least"), [(12, 4), (6, 2), (2, 1)])
def test_calls_that_run_side_by_side_do_not_push_each_other_down_further_than_needed(memory, least):
    """Of three threads, batches of 4 fit into 12 steps, of 2 into 6; into 2 fits not even one each, but one alone."""
    ladder = StepLadder(Shared(8, [memory]))
    values = np.arange(24, dtype=np.float32)
    with ThreadPoolExecutor(3) as threads:
        for found in threads.map(ladder.outputs, [values] * 3):
            np.testing.assert_array_equal(found, values)
    assert least <= ladder.step.batch < 8


def test_a_step_that_was_left_behind_is_not_called():
    ladder = StepLadder(Shared(8, [100]))
    old = ladder.step
    assert ladder.attempt(old, lambda: "done") == "done"

    def fails() -> str:
        raise MemoryError("OOM")

    assert ladder.attempt(old, fails) is None
    assert ladder.step.batch == 4
    assert ladder.attempt(old, lambda: pytest.fail("called")) is None
    assert ladder.attempt(old, fails) is None
    assert ladder.step.batch == 4


def test_other_errors_pass_and_shrink_nothing():
    ladder = StepLadder(Shared(8, [100]))
    with pytest.raises(RuntimeError, match="device lost"):
        ladder.call(lambda step: (_ for _ in ()).throw(RuntimeError("device lost")))
    assert ladder.step.batch == 8
    assert ladder.call(lambda step: step.batch) == 8
