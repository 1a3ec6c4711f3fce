"""What is explained in place of the outputs: the logits before them, or a layer; predictions stay the outputs'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.core.model.test_outputs import PICTURES, SIZE, distance, integrated_gradients, linear, load, maps
from tests.saved_models import save
from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.classifier import Classifier
from transforms.core.model.options import ModelOptions

Function = Callable[[tf.Tensor], tf.Tensor]

SMALL = 1e-5
"""Relative L1 distance of two sums of the same float32 gradients."""


def less_maximum(logits: tf.Tensor) -> tf.Tensor:
    return logits - tf.reduce_max(logits, 1, keepdims=True)


def written_out(logits: tf.Tensor) -> tf.Tensor:
    exponentials = tf.exp(logits)
    return exponentials / tf.reduce_sum(exponentials, 1, keepdims=True)


def through_logarithm(logits: tf.Tensor) -> tf.Tensor:
    return tf.exp(logits - tf.reduce_logsumexp(logits, 1, keepdims=True))


def check(model: Classifier, score: Function, target: int = 0) -> None:
    """Compares the score of a model, and its gradients, with those of `score`."""
    points = tf.constant(PICTURES)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        found, wanted = model.score(model.explained(points), tf.fill([3], target)), score(points)
    np.testing.assert_allclose(found, wanted, atol=2e-6)  # rounding
    np.testing.assert_allclose(tape.gradient(found, points), tape.gradient(wanted, points), atol=2e-6)


SOFTMAXES: dict[str, Function] = {
    "one operation": tf.nn.softmax,
    "of the second axis": lambda z: tf.squeeze(tf.nn.softmax(z[:, :, None], axis=1), 2),
    "reshaped and cast": lambda z: tf.cast(
        tf.reshape(tf.nn.softmax(tf.cast(z, tf.float64)[:, None]), [-1, 3]), "float32"
    ),
    "less its maximum": lambda z: tf.nn.softmax(less_maximum(z)),
    "written out": written_out,
    "written out, less its maximum": lambda z: written_out(less_maximum(z)),
    "written out twice": lambda z: tf.exp(less_maximum(z)) / tf.reduce_sum(tf.exp(less_maximum(z)), 1, keepdims=True),
    "by a reciprocal": lambda z: tf.exp(z) * tf.math.reciprocal(tf.reduce_sum(tf.exp(z), 1, keepdims=True)),
    "exponential of a log-softmax": lambda z: tf.exp(tf.nn.log_softmax(z)),
    "exponential of a difference": through_logarithm,
}
NO_SOFTMAXES: dict[str, Function] = {
    "average": lambda z: (tf.nn.softmax(z) + tf.nn.softmax(2 * z)) / 2,
    "mapped": lambda z: tf.map_fn(lambda one: tf.nn.softmax(one[None])[0], z),
    "clipped": lambda z: tf.clip_by_value(tf.nn.softmax(z), 1e-7, 1.0),
}


@pytest.mark.parametrize("name", SOFTMAXES)
def test_the_logits_of_a_softmax_are_found_however_it_is_written(name: str) -> None:
    model = load(lambda images: SOFTMAXES[name](linear(images)), score="logit")
    assert (model.kind, model.task) == ("softmax", "classes")
    np.testing.assert_allclose(model.explained(PICTURES), linear(tf.constant(PICTURES)), atol=1e-6)  # rounding
    check(model, lambda points: linear(points)[:, 1], target=1)


def test_logits_are_explained_and_probabilities_predicted() -> None:
    model = load(lambda images: tf.nn.softmax(linear(images)), score="logit")
    attributor = Attributor(model, Settings(rule="midpoint", steps=64), batch_size=4)
    found = attributor.explain(PICTURES, [1, 1, 1])
    wanted = integrated_gradients(lambda points: linear(points)[:, 1])
    assert distance(np.stack([each.attributions[0].values for each in found]), wanted) < SMALL
    logits = linear(tf.constant(PICTURES))
    for explanation, row, probabilities in zip(found, logits, tf.nn.softmax(logits).numpy(), strict=True):
        predicted = [each.probability for each in explanation.predictions]
        assert predicted == pytest.approx(sorted(probabilities)[::-1], abs=1e-6)
        assert explanation.attributions[0].score == pytest.approx(float(row[1]), abs=1e-6)
    np.testing.assert_allclose(attributor.step.outputs(PICTURES), model.outputs(PICTURES), atol=1e-6)


def test_a_part_of_a_softmax_is_asked_about() -> None:
    def outputs(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(linear(images))[:, 1:2]

    with pytest.raises(UsageError, match="outputs: the model's single output is between"):
        load(outputs)
    assert load(outputs, outputs="sigmoid").task == "binary"


@pytest.mark.parametrize("name", NO_SOFTMAXES)
def test_a_model_without_such_logits_is_refused_with_another_score(name: str) -> None:
    def outputs(images: tf.Tensor) -> tf.Tensor:
        return NO_SOFTMAXES[name](linear(images))

    with pytest.raises(UsageError, match=r"score='logit': .*probabilities \(softmax\).*allowed are log_odds"):
        load(outputs, score="logit")
    model = load(outputs, score="log_odds")
    assert model.kind == "softmax"

    def log_odds(points: tf.Tensor) -> tf.Tensor:
        probability = NO_SOFTMAXES[name](linear(points))[:, 1]
        return tf.math.log(probability) - tf.math.log(1 - probability)

    check(model, log_odds, target=1)


@pytest.mark.parametrize(
    "last", [tf.sigmoid, lambda z: 1 / (1 + tf.exp(-z)), lambda z: tf.math.reciprocal(1 + tf.exp(-z))]
)
@pytest.mark.parametrize("count", [1, 3])
def test_the_logits_of_a_sigmoid_are_found(last: Function, count: int) -> None:
    model = load(lambda images: last(linear(images, count)), score="logit")
    assert (model.kind, model.task) == ("sigmoid", "binary" if count == 1 else "labels")
    check(model, lambda points: linear(points, count)[:, 0 if count == 1 else 1], target=1)
    if count == 1:
        check(model, lambda points: -linear(points, count)[:, 0], target=0)


def test_the_logits_of_a_log_softmax_are_those_that_it_is_taken_of() -> None:
    model = load(lambda images: tf.nn.log_softmax(linear(images)), score="logit")
    assert model.kind == "logits"
    check(model, lambda points: linear(points)[:, 1], target=1)
    np.testing.assert_allclose(
        model.to_probabilities(model.outputs(PICTURES)), tf.nn.softmax(linear(tf.constant(PICTURES))), atol=1e-6
    )


def test_logits_are_found_after_a_loop() -> None:
    def outputs(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.map_fn(lambda one: linear(one[None])[0], images))

    model = load(outputs, score="logit")
    assert model.frozen is None
    assert distance(maps(model, 1), integrated_gradients(lambda points: linear(points)[:, 1])) < SMALL


def keras_model(last: str = "softmax") -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inside = keras.Sequential(
        [keras.Input([SIZE, SIZE, 3]), keras.layers.Conv2D(2, 3, activation="tanh", name="inner")]
    )
    return keras.Sequential(
        [
            keras.Input([SIZE, SIZE, 3]),
            inside,
            keras.layers.Flatten(name="features"),
            keras.layers.Dense(3, name="logits"),
            keras.layers.Activation(last, name="last"),
        ]
    )


def before(model: Any, name: str) -> Function:
    import keras

    return keras.Model(model.inputs, model.get_layer(name).output)


class TestLayer:
    def test_of_a_keras_model_goes_by_name_and_index(self) -> None:
        model = keras_model()
        found = classifier.load(model, ModelOptions(layer="logits", score="logit"))
        for index in ("-2", "2"):
            same = classifier.load(model, ModelOptions(layer=index, score="logit"))
            np.testing.assert_array_equal(same.explained(PICTURES), found.explained(PICTURES))
        assert found.kind == "softmax"
        assert found.frozen is not None
        logits = before(model, "logits")
        assert distance(maps(found, 1), integrated_gradients(lambda points: logits(points)[:, 1])) < SMALL
        attributor = Attributor(found, Settings(rule="midpoint", steps=8), batch_size=2)
        (explanation, *_) = attributor.explain(PICTURES, [1, 1, 1])
        wanted = sorted(model(PICTURES)[0].numpy())[::-1]
        assert [each.probability for each in explanation.predictions] == pytest.approx(wanted, abs=1e-6)

    def test_of_a_saved_model_goes_by_its_tensor(self, tmp_path: Path) -> None:
        def outputs(images: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(tf.identity(linear(images), name="head") * 2.0, name="last")

        path = save(tmp_path, outputs, SIZE, SIZE)
        for name in ("head", "head:0"):
            model = classifier.load(path, ModelOptions(layer=name, score="logit"))
            assert distance(maps(model, 2), integrated_gradients(lambda points: linear(points)[:, 2])) < SMALL
        with pytest.raises(UsageError, match=r"layer='heat': the model has no such layer or tensor; near are .*head"):
            classifier.load(path, ModelOptions(layer="heat", score="logit"))

    def test_that_is_missing_is_refused_with_those_that_are_near(self) -> None:
        model = keras_model()
        with pytest.raises(UsageError, match=r"layer='logit': the model has no such layer or tensor; near.*logits"):
            classifier.load(model, ModelOptions(layer="logit", score="logit"))
        with pytest.raises(UsageError, match="layer='7': the model has 4 layers"):
            classifier.load(model, ModelOptions(layer="7", score="logit"))

    def test_needs_a_score_that_it_has(self) -> None:
        model = keras_model()
        with pytest.raises(UsageError, match="score='probability': a layer is no probability; give --score logit"):
            classifier.load(model, ModelOptions(layer="logits"))
        with pytest.raises(UsageError, match=r"layer='features': it gives .*needs --score module:function.*none"):
            classifier.load(model, ModelOptions(layer="features", score="logit"))

    @pytest.mark.parametrize("layer", ["features", "inner"])
    def test_of_any_shape_is_explained_by_a_function(
        self, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "means.py").write_text(
            "import tensorflow as tf\n"
            "def mean(outputs, targets):\n"
            "    return tf.reduce_mean(outputs, range(1, outputs.shape.rank))\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        model = keras_model()
        found = classifier.load(model, ModelOptions(layer=layer, score="means:mean"))
        assert not found.by_class
        features = before(model, "features")
        assert (
            distance(maps(found, 0), integrated_gradients(lambda points: tf.reduce_mean(features(points), 1))) < SMALL
        )


class TestDense:
    @pytest.fixture
    def scores(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "dense_scores.py").write_text(
            "import tensorflow as tf\n"
            "def corner(outputs, targets):\n"
            "    return outputs[:, 0, 0, 1]\n"
            "def both(outputs, targets):\n"
            "    return outputs['boxes'][:, 1, 0] * outputs['classes'][:, 2]\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

    def test_outputs_of_any_shape_are_for_a_function(self, scores: None) -> None:
        with pytest.raises(UsageError, match=r"expected outputs \[batch, classes\], found .* need --score module:func"):
            load(tf.tanh)
        model = load(tf.tanh, score="dense_scores:corner")
        assert (model.task, model.kind, model.names, model.by_class) == ("dense", "values", (), False)
        assert model.frozen is not None
        assert model.outputs(PICTURES).shape == (3, SIZE, SIZE, 3)
        check(model, lambda points: tf.tanh(points)[:, 0, 0, 1])

    def test_several_outputs_come_by_name(self, scores: None) -> None:
        def outputs(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                "boxes": tf.tanh(images)[:, :, 0, :],
                "classes": linear(images),
                "count": tf.fill([tf.shape(images)[0], 1], 1),
            }

        with pytest.raises(UsageError, match="output_name: the model has several, name one of boxes, classes, count"):
            load(outputs)
        model = load(outputs, score="dense_scores:both")
        assert model.task == "dense"
        check(model, lambda points: tf.tanh(points)[:, 1, 0, 0] * linear(points)[:, 2])
