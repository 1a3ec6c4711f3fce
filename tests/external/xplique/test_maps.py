"""Our maps are Xplique's at the same rule and steps.

Its `steps` points lie on a trapezoidal rule, both ends included, as our `trapezoid` has them. Both add at most 33 terms
in float32, and differ by no more than the rounding of these: 1e-5 of a map's L1 norm.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from xplique.attributions import IntegratedGradients

from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier

CLASSES, SIDE = 5, 24
IMAGES = np.random.default_rng(1).random((CLASSES, SIDE, SIDE, 3), np.float32)
TARGETS = np.arange(CLASSES)


@pytest.fixture(scope="module")
def logits() -> keras.Model:
    keras.utils.set_random_seed(3)
    images = keras.layers.Input((SIDE, SIDE, 3))
    large = keras.initializers.RandomNormal(stddev=0.5)  # or the path would be so straight that all rules agree
    x = keras.layers.Conv2D(8, 5, strides=2, activation="softplus")(images)
    x = keras.layers.Conv2D(16, 3, activation="tanh", kernel_initializer=large)(x)
    return keras.Model(images, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(x)))


@pytest.fixture(scope="module")
def loaded(logits, tmp_path_factory) -> classifier.Classifier:
    path = tmp_path_factory.mktemp("model") / "tiny.keras"
    logits.save(path)
    return classifier.load(str(path))


def ours(loaded: classifier.Classifier, **options) -> np.ndarray:
    explained = Attributor(loaded, Settings(**options), batch_size=8).explain(IMAGES, TARGETS)
    return np.stack([explanation.attributions[0].values for explanation in explained])


def theirs(logits: keras.Model, steps: int, baseline: float = 0.0) -> np.ndarray:
    probabilities = keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
    explainer = IntegratedGradients(probabilities, batch_size=8, steps=steps, baseline_value=baseline, reducer=None)
    return explainer.explain(IMAGES, np.eye(CLASSES, dtype=np.float32)[TARGETS]).numpy()


def distances(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Returns the L1 distance of each map, relative to the L1 norm of the expected one."""
    axes = (1, 2, 3)
    return np.abs(found - expected).sum(axes) / np.abs(expected).sum(axes)


@pytest.mark.parametrize("steps", [2, 7, 33])
@pytest.mark.parametrize(("name", "value"), [("black", 0.0), ("white", 1.0), ("gray", 0.5)])
def test_equal_at_the_same_rule_and_steps(logits, loaded, steps, name, value):
    mine = ours(loaded, rule="trapezoid", steps=steps, baseline=name)
    assert distances(mine, theirs(logits, steps, value)).max() < 1e-5


@pytest.mark.parametrize(
    "other", [{"rule": "midpoint"}, {"rule": "trapezoid", "steps": 8}, {"rule": "trapezoid", "baseline": "white"}]
)
def test_other_steps_rules_or_baselines_differ(logits, loaded, other):
    found = distances(ours(loaded, **{"steps": 7, **other}), theirs(logits, 7))
    assert found.min() > 1e-4  # ten times what equal ones may differ by


def test_many_steps_of_theirs_come_to_our_adaptive_rule(logits, loaded):
    """By its own estimate, of which the tolerance is the limit."""
    mine = ours(loaded, rule="adaptive", tolerance=0.001)
    assert distances(mine, theirs(logits, 512)).max() < 0.001
