"""Half precision and XLA: kept where they are faster and leave the maps as they were, refused with the reason else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.networks import fused_module
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import accelerate as accelerations
from transforms.core.model import classifier
from transforms.core.model.accelerate import accelerate
from transforms.core.model.options import ModelOptions
from transforms.core.model.step import ALL, CompiledStep, compile_step
from transforms.core.model.step_batch import StepBatch

BOTH = ("half_precision", "xla")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(
        fused_module(tmp_path_factory.mktemp("model") / "net", "softplus"), ModelOptions(pixels="signed")
    )


@pytest.fixture
def step(model) -> CompiledStep:
    return compile_step(model, 4)


@pytest.fixture
def each_faster(monkeypatch):
    rates = iter([2.0, 1.0] * 9)  # of a candidate and of what it would replace
    monkeypatch.setattr(accelerations, "steps_a_second", lambda step, in_flight, calls: next(rates))


def maps(step: CompiledStep) -> np.ndarray:
    """Returns the maps of three paths of different classes in one batch, `[3, height, width, 3]`."""
    images = np.random.default_rng(5).random((3, *step.image_shape), np.float32)
    slots = np.array([0, 1, 2, 2], np.int32)
    alphas, weights = np.array([0.5, 0.5, 0.2, 0.7], np.float32), np.array([1, 1, 0.5, 0.5], np.float32)
    points = step.enter(images)
    return step.leave(step.run(StepBatch(points * 0, points, slots, alphas, weights, slots, slots)).sums) * images


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).sum() / np.abs(wanted).sum())


@pytest.fixture
def tolerant(monkeypatch):
    monkeypatch.setattr(accelerations, "MOST_DIFFERENT", 0.2)  # a processor sums float16 in float16


@pytest.mark.parametrize(
    ("name", "low", "high"), [("xla", 0, 1e-5), ("half_precision", 1e-5, 0.05), ("bfloat16", 1e-5, 0.2)]
)
def test_what_is_faster_and_alike_is_kept(name, low, high, step, each_faster, tolerant):
    accelerated = accelerate(step, [name])
    assert [(entry.name, entry.applied) for entry in accelerated.report] == [(n, True) for n in (*ALL, name)]
    for other in (accelerated, accelerated.with_batch(8).with_batch(4)):
        assert low <= difference(maps(other), maps(step)) < high


def test_bfloat16_is_tried_if_float16_is_not_kept(step, each_faster, tolerant, monkeypatch):
    kept, refused = accelerate(step, ["half_precision", "bfloat16"]).report[-2:]
    assert (kept.applied, refused.applied) == (True, False)
    assert refused.reason == "the model has no linear layer with constant weights that fit bfloat16"
    rates = iter([1.0, 2.0, 2.0, 1.0])
    monkeypatch.setattr(accelerations, "steps_a_second", lambda step, in_flight, calls: next(rates))
    assert [entry.applied for entry in accelerate(step, ["half_precision", "bfloat16"]).report[-2:]] == [False, True]


def test_both_together(step, each_faster, tolerant):
    before = dict(vars(step))
    accelerated = accelerate(step, BOTH)
    assert vars(step) == before
    assert [entry.applied for entry in accelerated.report[-2:]] == [True, True]
    assert 1e-5 < difference(maps(accelerated), maps(step)) < 0.05


@pytest.mark.parametrize("name", ["half_precision", "bfloat16"])
def test_what_changes_maps_is_refused(name, step, each_faster):
    before = dict(vars(step))
    accelerated = accelerate(step, [name])
    assert vars(step) == before
    assert difference(maps(accelerated), maps(step)) == 0
    assert accelerated.report[-1].reason.startswith("changes maps by ")


def test_what_is_slower_is_refused(step, monkeypatch):
    rates = iter([1.0, 2.0])
    monkeypatch.setattr(accelerations, "steps_a_second", lambda step, in_flight, calls: next(rates))
    before = dict(vars(step))
    accelerated = accelerate(step, ["xla"])
    assert vars(step) == before
    assert difference(maps(accelerated), maps(step)) == 0
    assert accelerated.report[-1].reason == "1 steps a second, against 2 without"


def test_a_step_that_does_not_fit_is_tried_at_half_its_batch(model, monkeypatch):
    run = CompiledStep.run

    def limited(self, *arguments):
        if self.batch > 2:
            raise MemoryError("OOM when allocating tensor")
        return run(self, *arguments)

    monkeypatch.setattr(CompiledStep, "run", limited)
    step = compile_step(model, 4, ())
    accelerated = accelerate(step, ["half_precision"])
    assert (accelerated.batch, step.batch, accelerated.report[-1].applied) == (2, 4, False)
    monkeypatch.setattr(CompiledStep, "run", lambda *_: (_ for _ in ()).throw(MemoryError("OOM")))
    with pytest.raises(MemoryError, match="batch of one"):
        accelerate(step, ["half_precision"])


def test_what_a_model_cannot_have_is_refused(model):
    step = compile_step(model, 4, ())
    assert accelerate(step, ["half_precision"]).report[-1].reason == "the model could not be frozen"


def test_the_settings_ask_for_them(model, each_faster, tolerant):
    attributor = Attributor(model, Settings(precision="mixed", xla=True), batch_size=4)
    assert [entry.name for entry in attributor.step.report] == [*ALL, "half_precision", "bfloat16", "xla"]
    assert not Settings().accelerations
