"""What a model's outputs are: found, asked for, or refused; and the classes and scores that follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.classifier import Classifier
from transforms.core.model.options import ModelOptions

SIZE = 4
WEIGHTS = tf.constant(np.random.default_rng(0).normal(0, 0.3, [SIZE * SIZE * 3, 3]), tf.float32)
PICTURES = np.random.default_rng(1).random([3, SIZE, SIZE, 3], np.float32)


def linear(images: tf.Tensor, count: int = 3) -> tf.Tensor:
    """Returns `count` logits, with values on both sides of zero."""
    return tf.tanh(tf.reshape(images, [-1, SIZE * SIZE * 3]) @ WEIGHTS[:, :count]) * 2.0 - 0.3


def load(function: Callable[[tf.Tensor], Any], **options: Any) -> Classifier:
    """Loads a function as a model."""
    return classifier.load(function, ModelOptions(input_size=f"{SIZE}x{SIZE}", **options))


def maps(model: Classifier, target: int) -> np.ndarray:
    """Returns the maps of a class, by 64 midpoints."""
    attributor = Attributor(model, Settings(rule="midpoint", steps=64), batch_size=4)
    return np.stack([each.attributions[0].values for each in attributor.explain(PICTURES, [target] * len(PICTURES))])


def integrated_gradients(score: Callable[[tf.Tensor], tf.Tensor], steps: int = 64) -> np.ndarray:
    """Returns maps by the definition: from black, by as many midpoints."""
    gradients = []
    for alpha in (np.arange(steps, dtype=np.float32) + 0.5) / steps:
        points = tf.constant(PICTURES * alpha)
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = score(points)
        gradients.append(tape.gradient(scores, points).numpy())
    return np.asarray(np.mean(gradients, axis=0, dtype=np.float64) * PICTURES)


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).sum() / np.abs(wanted).sum())


class TestOneOutputOfTwoClasses:
    @pytest.mark.parametrize("last", ["logits", "sigmoid"])
    @pytest.mark.parametrize("score", ["probability", "log_odds"])
    def test_decides_between_two_classes(self, last: str, score: str) -> None:
        activation = tf.sigmoid if last == "sigmoid" else tf.identity
        model = load(lambda images: activation(linear(images, 1)), outputs=last, score=score)
        assert (model.task, model.kind, model.names) == ("binary", last, ("class_0", "class_1"))
        positive = tf.sigmoid(linear(tf.constant(PICTURES), 1)).numpy()
        found = model.to_probabilities(model.outputs(PICTURES)).numpy()
        np.testing.assert_allclose(found, np.concatenate([1 - positive, positive], 1), atol=1e-6)  # rounding
        first, second = maps(model, 0), maps(model, 1)
        np.testing.assert_array_equal(first, -second)
        assert np.abs(second).max() > 0
        last_of = {"probability": tf.sigmoid, "log_odds": tf.identity}[score]
        assert distance(second, integrated_gradients(lambda points: last_of(linear(points, 1)))) < 1e-5  # float32

    def test_takes_two_names(self) -> None:
        def positive(images: tf.Tensor) -> tf.Tensor:
            return tf.sigmoid(linear(images, 1))

        assert load(positive, class_names=("cat", "dog")).names == ("cat", "dog")
        with pytest.raises(UsageError, match="class_names: 1 class names for a model with one output, so two classes"):
            load(positive, class_names=("dog",))

    def test_of_what_is_asked_unless_it_is_a_sigmoid(self) -> None:
        with pytest.raises(
            UsageError, match=r"a logit or a regression's value\? Give --outputs logits or --outputs va"
        ):
            load(lambda images: linear(images, 1))
        with pytest.raises(UsageError, match="outputs: a softmax over the model's single output is 1"):
            load(lambda images: tf.nn.softmax(linear(images, 1)))

    def test_has_the_columns_where_it_cannot_be_frozen(self) -> None:
        model = load(lambda images: tf.sigmoid(tf.map_fn(lambda one: linear(one[None], 1)[0], images)))
        assert model.frozen is None
        assert (model.task, model.outputs(PICTURES).shape) == ("binary", (3, 2))
        wanted = integrated_gradients(lambda points: tf.sigmoid(linear(points, 1)))
        assert distance(maps(model, 1), wanted) < 1e-5  # float32


class TestValues:
    def test_are_scores_themselves(self) -> None:
        model = load(lambda images: 100 * linear(images, 1), outputs="values")
        assert (model.task, model.names) == ("values", ("output_0",))
        np.testing.assert_array_equal(model.to_probabilities(model.outputs(PICTURES)), model.outputs(PICTURES))
        wanted = integrated_gradients(lambda points: 100 * linear(points, 1))
        assert distance(maps(model, 0), wanted) < 1e-5  # float32

    @pytest.mark.parametrize("score", ["logit", "log_odds"])
    def test_have_no_other_score(self, score: str) -> None:
        with pytest.raises(UsageError, match=f"score='{score}': a regression's value is the score itself"):
            load(linear, outputs="values", score=score)

    def test_take_as_many_names_as_there_are(self) -> None:
        assert load(linear, outputs="values", class_names=("x", "y", "z")).names == ("x", "y", "z")
        with pytest.raises(UsageError, match="class_names: 2 class names for a model with 3 outputs"):
            load(linear, outputs="values", class_names=("x", "y"))
