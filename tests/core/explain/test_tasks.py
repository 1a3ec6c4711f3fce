"""Explanations of each kind of task, of arrays and of encoded images."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.core.model.test_outputs import PICTURES, SIZE, linear
from tests.pipeline.job import png
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation, Failure, Image

NAMES = ("cat", "dog", "cow")


@pytest.fixture(scope="module")
def labels() -> Attributor:
    options = ModelOptions(input_size=f"{SIZE}x{SIZE}", class_names=NAMES)
    settings = Settings(rule="midpoint", steps=4, targets="labels", faithfulness=0)
    return Attributor.open(lambda images: tf.sigmoid(linear(images)), model=options, settings=settings, batch_size=4)


def test_several_targets_of_an_array(labels):
    first, second, third = labels.explain(PICTURES, [["cow", 0], 1, [0, 1, 1]])
    found = [[each.target for each in one.attributions] for one in (first, second, third)]
    assert found == [[2, 0], [1], [1, 2]]
    assert first.task == "labels"
    (same,) = labels.explain(PICTURES[0], "cow")
    np.testing.assert_array_equal(same.attributions[0].values, first.attributions[0].values)
    everywhere = labels.explain(PICTURES, "dog")
    assert [one.attributions[0].target for one in everywhere] == [1, 1, 1]
    with pytest.raises(ValueError, match="image 0: target 'horse' is not a class name"):
        labels.explain(PICTURES[0], "horse")


def test_labels_of_images(labels):
    data = [png((picture * 255).astype(np.uint8)) for picture in PICTURES]
    stored = [(0, 2), ("dog",), (0, 0, 0)]
    images = [Image(str(i), "", i, *each) for i, each in enumerate(zip(data, stored, strict=True))]
    images += [Image("3", "", 3, data[0]), Image("4", "", 4, data[0], ("horse",))]
    both, one, no_true, missing, unusable = labels.attribute(images)
    assert isinstance(both, Explanation) and isinstance(one, Explanation)
    assert (both.label, one.label) == ((0, 2), (1,))
    assert {each.target for each in both.attributions} == {0, 2}
    assert both.decided == tuple(np.flatnonzero(labels.classifier.outputs(both.pixels.array[None])[0] > 0.5))
    assert [failed.stage for failed in (no_true, missing, unusable) if isinstance(failed, Failure)] == [
        *("target", "target", "label")
    ]


def test_values_have_no_rank_and_no_probability():
    options = ModelOptions(input_size=f"{SIZE}x{SIZE}", outputs="values")
    settings = Settings(rule="midpoint", steps=4, targets="class:1", faithfulness=1)
    attributor = Attributor.open(linear, model=options, settings=settings, batch_size=4)
    (found,) = attributor.explain(PICTURES[0])
    values = linear(tf.constant(PICTURES[:1])).numpy()[0]
    assert [each.value for each in found.predictions] == pytest.approx(values.tolist(), abs=1e-6)  # float32
    assert {each.probability for each in found.predictions} == {None}
    (attribution,) = found.attributions
    assert (attribution.rank, attribution.target) == (None, 1)
    assert attribution.score == pytest.approx(values[1], abs=1e-6)  # float32
    assert attribution.faithfulness.insertion_auc is None


def test_dense_outputs_have_no_target():
    options = ModelOptions(input_size=f"{SIZE}x{SIZE}", score="tests.pipeline.task_scores:second_class")
    settings = Settings(rule="midpoint", steps=4, targets="none")
    attributor = Attributor.open(lambda images: images[..., :2] ** 2, model=options, settings=settings, batch_size=4)
    (found,) = attributor.explain(PICTURES[0])
    assert (found.task, found.predictions, found.attributions[0].target) == ("dense", (), None)
    with pytest.raises(ValueError, match="has no classes; leave out targets"):
        attributor.explain(PICTURES[0], 0)


def test_outputs_that_are_not_finite_are_a_failure_and_no_missing_target():
    options = ModelOptions(input_size=f"{SIZE}x{SIZE}", outputs="sigmoid")
    settings = Settings(rule="midpoint", steps=4, targets="above:0.5", faithfulness=0)

    def blind(images: tf.Tensor) -> tf.Tensor:
        broken = tf.reduce_max(images, (1, 2, 3), keepdims=True)[:, :, 0, 0] < 1e-3
        return tf.where(broken, np.nan, tf.sigmoid(linear(images)))

    attributor = Attributor.open(blind, model=options, settings=settings, batch_size=4)
    (found,) = attributor.attribute([Image("0", "", 0, png(np.zeros((SIZE, SIZE, 3), np.uint8)))])
    assert isinstance(found, Failure) and found.stage == "attribute"
