"""What a model's outputs are: found, asked for, or refused; and the classes and scores that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.saved_models import save
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
    """Returns the maps of a class, or of what has no classes, by 64 midpoints."""
    which, targets = ("top1", [target] * len(PICTURES)) if model.by_class else ("none", None)
    attributor = Attributor(model, Settings(rule="midpoint", steps=64, targets=which), batch_size=4)
    return np.stack([each.attributions[0].values for each in attributor.explain(PICTURES, targets)])


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


class TestHeads:
    def test_go_by_the_names_of_their_layers(self) -> None:
        import keras

        keras.utils.set_random_seed(0)
        images = keras.Input([SIZE, SIZE, 3])
        flat = keras.layers.Flatten()(images)
        heads = [keras.layers.Dense(count, "softmax", name=name)(flat) for name, count in (("kind", 2), ("color", 4))]
        model = keras.Model(images, heads)
        with pytest.raises(UsageError, match="output_name: the model has several, name one of color, kind"):
            classifier.load(model)
        for name, count in (("kind", 2), ("color", 4), ("output_1", 4)):
            assert classifier.load(model, ModelOptions(output_name=name)).classes == count
        with pytest.raises(UsageError, match="output_name='colour': the model has color, kind"):
            classifier.load(model, ModelOptions(output_name="colour"))


class TestOutOfDoubt:
    """Whatever the last operation is, no softmax is taken of probabilities; also of a model that cannot be frozen."""

    @pytest.mark.parametrize(
        "last",
        [
            lambda z: (tf.nn.softmax(z) + tf.nn.softmax(-z)) / 2,
            lambda z: tf.map_fn(lambda one: tf.nn.softmax(one[None])[0], z),
            lambda z: tf.function(tf.nn.softmax, jit_compile=True, autograph=False)(z),
            lambda z: tf.nn.softmax(z) * 0.9 + 0.1 / 3,
        ],
    )
    def test_probabilities_stay_what_they_are(self, last: Callable[[tf.Tensor], tf.Tensor]) -> None:
        model = load(lambda images: last(linear(images)))
        assert (model.kind, model.task) == ("softmax", "classes")
        np.testing.assert_array_equal(model.to_probabilities(model.outputs(PICTURES)), model.outputs(PICTURES))
        found = model.score(model.explained(PICTURES), [0, 1, 2])
        np.testing.assert_array_equal(found, np.diag(model.outputs(PICTURES)))

    def test_the_maps_of_an_ensemble_are_those_of_its_probabilities(self) -> None:
        def probabilities(images: tf.Tensor) -> tf.Tensor:
            return (tf.nn.softmax(linear(images)) + tf.nn.softmax(-linear(images))) / 2

        wanted = integrated_gradients(lambda points: probabilities(points)[:, 1])
        assert distance(maps(load(probabilities), 1), wanted) < 1e-5  # float32

    def test_single_outputs_may_come_without_an_axis(self) -> None:
        model = load(lambda images: tf.sigmoid(linear(images, 1))[:, 0])
        assert (model.task, model.outputs(PICTURES).shape) == ("binary", (3, 2))

    def test_a_dropout_that_is_left_on_is_refused(self) -> None:
        with pytest.raises(UsageError, match="model: it is random"):
            load(lambda images: linear(tf.nn.dropout(images, 0.1)))

    def test_a_layer_for_bytes_that_is_fed_units_is_suspected(self) -> None:
        def outputs(images: tf.Tensor) -> tf.Tensor:
            return linear(images / 127.5 - 1.0)

        suspicion, *_ = load(outputs).facts.suspicions
        assert "multiply their input by 0.0078" in suspicion and "--pixels byte" in suspicion
        assert not load(outputs, pixels="byte").facts.suspicions

    def test_images_that_contradict_what_was_found_end_the_job(self) -> None:
        def outputs(images: tf.Tensor) -> tf.Tensor:  # logits only for a picture that is not among the fixed ones
            red = tf.reduce_all(tf.equal(images[:, :1, :1], tf.constant([[0.75, 0.125, 0.25]])), [1, 2, 3])
            return tf.where(red[:, None], linear(images) + 3.0, tf.nn.softmax(linear(images)))

        model = load(outputs)
        assert model.kind == "softmax"
        attributor = Attributor(model, Settings(rule="midpoint", steps=2), batch_size=2)
        pictures = PICTURES.copy()
        pictures[0, 0, 0] = (0.75, 0.125, 0.25)
        with pytest.raises(UsageError, match="outputs='softmax'"):
            attributor.explain(pictures)


class TestCache:
    def test_a_known_model_is_not_looked_at_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        path = save(tmp_path / "net", linear, SIZE, SIZE)
        first = classifier.load(path)
        monkeypatch.setattr("transforms.core.model.classifier.examine", None)
        second = classifier.load(path, ModelOptions(class_names=("a", "b", "c"), score="log_odds"))
        assert second.evidence == first.evidence
        (file,) = (tmp_path / "cache" / "ig-audit" / "evidence").iterdir()
        for changed in ("", "{}", "[]", file.read_text().replace('"count": 3', '"count": "3"')):
            file.write_text(changed)
            with pytest.raises(TypeError):  # it would be looked at again
                classifier.load(path)
        monkeypatch.undo()

    def test_other_pixels_are_another_function(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        path = save(tmp_path / "net", linear, SIZE, SIZE)
        evidence = {classifier.load(path, ModelOptions(pixels=pixels)).evidence for pixels in ("unit", "byte")}
        assert len(evidence) == 2
