"""All passes on the architectures that people use, with random weights and small inputs.

The networks are smooth ones, so that what a pass changes is its own: with ReLU and random weights rounding
alone moves an attribution by up to 2 %, as `python -m benchmarks.equality` shows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from support.attributions import BATCH, attributions, distance
from support.networks import NAMES, photographs, save_network
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.model.step import compile_step
from transforms.core.model.step_batch import StepBatch

BLOCKS = dict.fromkeys(NAMES, 4) | {"densenet121": 7, "vit": None}
"""Of each network, so that a block follows a stride; the vision transformer is small as it is."""

LEFT_OUT = {name: {"pointwise_gradients"} for name in ("vit", "convnext_tiny")}  # they have no 1x1 convolutions


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "lite0"])
def test_attributions_agree_with_the_model_as_it_was_loaded(name: str, tmp_path: Path) -> None:
    path = save_network(name, str(tmp_path), 96, smooth=True, blocks=BLOCKS[name])
    model = classifier.load(path, ModelOptions(pixels="signed"))
    step, plain = compile_step(model, BATCH), compile_step(model, BATCH, ())
    assert {entry.name for entry in step.report if not entry.applied} == LEFT_OUT.get(name, set())
    images = photographs(96)[:2]
    assert distance(attributions(step, images), attributions(plain, images)) < 1e-5


@pytest.mark.slow
def test_threads_share_a_step_whose_gradients_have_long_sums(tmp_path: Path) -> None:
    """At this size TensorFlow's memory optimizer would let the threads' sums collide (see `call_options`)."""
    batch = 16
    step = compile_step(classifier.load(save_network("inception_v1", str(tmp_path))), batch)
    end = step.enter(photographs(224)[:1])[0]
    path = StepBatch.of_path(0 * end, end, np.linspace(0, 1, batch, dtype=np.float32), weight=1, target=0)
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(step.run, path) for _ in range(8)]
    first, *rest = [run.result() for run in runs]
    assert all((one.sums == first.sums).all() for one in rest)
