"""All passes on the architectures that people use, with random weights and small inputs.

The networks are smooth ones, so that what a pass changes is its own: with ReLU and random weights rounding
alone moves an attribution by up to 2 %, as `python -m benchmarks.equality` shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.equality import BATCH, attributions, distance
from benchmarks.networks import NAMES, photographs, save_network
from transforms.core import classifier
from transforms.core.compile import compile_step

LEFT_OUT = {name: {"pointwise_gradients"} for name in ("vit", "convnext_tiny")}  # they have no 1x1 convolutions


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lite0"])
def test_attributions_agree_with_the_model_as_it_was_loaded(name: str, tmp_path: Path) -> None:
    model = classifier.load(save_network(name, str(tmp_path), 96, smooth=True), pixels="signed")
    step, plain = compile_step(model, BATCH), compile_step(model, BATCH, ())
    assert {entry.name for entry in step.report if not entry.applied} == LEFT_OUT.get(name, set())
    images = photographs(96)[:2]
    assert distance(attributions(step, images), attributions(plain, images)) < 1e-5
