"""All passes on the architectures that people use, with random weights and small inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import NAMES, save_network
from transforms.core import classifier
from transforms.core.compile import CompiledStep, compile_step

STEPS = 8
LEFT_OUT = {
    "vit": {"fold_batch_norm", "pointwise_gradients"},  # it has neither batch norms nor 1x1 convolutions
    "convnext_tiny": {"pointwise_gradients"},  # its 1x1 convolutions are dense layers
}


def attribution(step: CompiledStep, images: np.ndarray, target: int) -> np.ndarray:
    """Returns integrated gradients by the midpoint rule, black baseline, one image in a batch."""
    starts, ends = step.enter(np.zeros_like(images)), step.enter(images)
    alphas = ((np.arange(STEPS) + 0.5) / STEPS).astype(np.float32)
    ones, zeros = np.ones(STEPS, np.int32), np.zeros(STEPS, np.int32)
    sums = [
        step.run(starts, ends, index * ones, alphas, ones / STEPS, target * ones, zeros).sums[0]
        for index in range(len(images))
    ]
    return step.leave(np.stack(sums)) * images


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lite0"])
def test_attributions_agree_with_the_model_as_it_was_loaded(name: str, tmp_path: Path) -> None:
    model = classifier.load(save_network(name, str(tmp_path), 96), pixels="signed")
    step, plain = compile_step(model, STEPS), compile_step(model, STEPS, ())
    assert {entry.name for entry in step.report if not entry.applied} == LEFT_OUT.get(name, set())
    images = np.random.default_rng(0).random((2, *model.input_shape), np.float32)
    found, wanted = (attribution(each, images, 7) for each in (step, plain))
    assert np.abs(found - wanted).sum() < 2e-3 * np.abs(wanted).sum()  # rounding flips ReLU masks
