"""Scores from end to end: each with each ending of a model, and an operator of the user's that takes tensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import tensor
from tests.saved_models import save
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.vocabulary import SCORES

SIZE = 8
KERNEL = tensor(3, 3, 3, 4)
ENDINGS = {
    "logits": (4, tf.identity),
    "softmax": (4, tf.nn.softmax),
    "sigmoid": (4, tf.sigmoid),
    "one logit": (1, tf.identity),
    "one sigmoid": (1, tf.sigmoid),
}
OPERATOR = """
import tensorflow as tf

calls = []

def margin(outputs, targets):
    calls.append(tf.executing_eagerly())
    assert tf.is_tensor(outputs) and outputs.dtype == tf.float32 and outputs.shape.rank == 2, outputs
    assert tf.is_tensor(targets) and targets.dtype == tf.int32 and targets.shape.rank == 1, targets
    chosen = tf.gather(outputs, targets, axis=1, batch_dims=1)
    return chosen - outputs.shape.with_rank(2)[1] * outputs.dtype.max ** 0 * tf.reduce_mean(outputs, axis=1)
"""


def model(folder: Path, ending: str, score: str) -> classifier.Classifier:
    classes, last = ENDINGS[ending]
    head = tensor(4, classes, scale=2.0)

    def outputs(images: Any) -> Any:
        features = tf.nn.softplus(tf.nn.conv2d(images, KERNEL, 1, "SAME"))
        return last(tf.reduce_mean(features, [1, 2]) @ head)

    found = "logits" if ending == "one logit" else "auto"
    return classifier.load(save(folder, outputs, SIZE, SIZE), ModelOptions(score=score, outputs=found))


def images(count: int) -> np.ndarray:
    return np.random.default_rng(4).random((count, SIZE, SIZE, 3), np.float32)


@pytest.mark.parametrize(("ending", "score"), [(e, s) for e in ENDINGS for s in SCORES])
def test_every_score_explains_every_ending(ending, score, tmp_path):
    made = model(tmp_path / "model", ending, score)
    for explanation in Attributor(made, Settings(rule="midpoint", steps=16), 8).explain(images(2)):
        (attribution,) = explanation.attributions
        image = tf.constant(explanation.pixels.array[None])
        targets = tf.constant([attribution.target])
        # the graph of the batch is optimised, that of the test is not: float32 rounding
        assert attribution.score == pytest.approx(float(made.score(made.explained(image), targets)[0]), rel=1e-5)
        black = float(made.score(made.explained(tf.zeros_like(image)), targets)[0])
        assert attribution.baseline_score == pytest.approx(black, rel=1e-5)
        # a smooth model and 16 midpoints
        assert abs(attribution.convergence_delta) < 0.01 * max(1.0, abs(attribution.score - black))
        assert 0 <= explanation.predictions[0].probability <= 1


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_operator_takes_tensors_while_tracing_and_afterwards(ending, tmp_path, monkeypatch):
    name = f"operator_of_{ending.replace(' ', '_')}"
    (tmp_path / f"{name}.py").write_text(OPERATOR)
    monkeypatch.syspath_prepend(tmp_path)
    made = model(tmp_path / "model", ending, f"{name}:margin")
    (explanation,) = Attributor(made, Settings(faithfulness=1.0, rule="midpoint", steps=16), 8).explain(images(1))
    outputs = made.outputs(images(1)).numpy()[0]
    (attribution,) = explanation.attributions
    wanted = outputs[attribution.target] - len(outputs) * outputs.mean()
    assert attribution.score == pytest.approx(wanted, abs=1e-5)  # float32
    assert set(__import__(name).calls) == {True, False}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_classifier_makes_tensors_of_what_it_is_given(ending, tmp_path):
    made = model(tmp_path / "model", ending, "log_odds")
    outputs = made.outputs(images(2).astype(np.float64))
    targets = np.zeros(2, np.int64)
    wanted = made.score(outputs, tf.constant(targets, tf.int32))
    for given in [(outputs.numpy(), targets), (outputs.numpy().tolist(), [0, 0]), (outputs, tf.constant(targets))]:
        found = made.score(*given)
        assert tf.is_tensor(found)
        np.testing.assert_array_equal(found, wanted)
    assert tf.is_tensor(made.to_probabilities(outputs.numpy()))
    np.testing.assert_array_equal(made.to_probabilities(outputs.numpy()), made.to_probabilities(outputs))
