"""Random weights in the last layer: which layer that is, and whether maps change with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import tensor
from tests.saved_models import save, smooth
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.randomization import MOST_ALIKE, check_randomization
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes
from transforms.core.model.passes.randomize import randomize_last_layer
from transforms.core.record import Randomization

SHAPE = (8, 8, 3)
KERNEL = tensor(3, 3, 3, 4)
HEAD, OTHER_HEAD = tensor(4, 5, scale=2.0), tensor(4, 2, seed=1)


def frozen(function: Any) -> FrozenGraph:
    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    return flatten(freeze(tf.function(function, autograph=False).get_concrete_function(spec)))


def weights(graph: FrozenGraph) -> dict[str, np.ndarray]:
    """Returns what each linear layer multiplies by, by the name of the layer."""
    nodes = Nodes(graph)
    return {node.name: nodes.constant(node.input[1]) for node in nodes if node.op in ("Conv2D", "MatMul")}


def features(images: Any) -> Any:
    return tf.reduce_mean(tf.nn.softplus(tf.nn.conv2d(images, KERNEL, 1, "SAME")), [1, 2])


def one_head(images: Any) -> Any:
    return tf.nn.softmax(features(images) @ HEAD * 3.0 + 0.5)


def two_heads(images: Any) -> Any:
    found = features(images)
    return tf.concat([found @ HEAD, tf.sigmoid(found @ OTHER_HEAD)], axis=1)


@pytest.mark.parametrize(("function", "heads"), [(one_head, [HEAD]), (two_heads, [HEAD, OTHER_HEAD])])
def test_the_layers_that_no_other_follows_get_new_weights_of_the_same_size(function, heads):
    before = frozen(function)
    after = randomize_last_layer(before)
    found = weights(after)
    changed = {name for name, values in weights(before).items() if not np.array_equal(values, found[name])}
    assert len(changed) == len(heads) == len(found) - 1
    assert sorted(found[name].shape for name in changed) == sorted(head.shape for head in heads)
    for name in changed:  # of 8 or 20 draws: within four standard deviations of their size
        size, wanted = (np.sqrt(np.mean(values[name] ** 2)) for values in (found, weights(before)))
        assert size == pytest.approx(wanted, rel=4 / np.sqrt(2 * found[name].size))
    images = tf.constant(np.random.default_rng(0).random((2, *SHAPE)), tf.float32)
    one, other = (tf.function(graph, autograph=False)(images).numpy() for graph in (before, after))
    assert np.abs(one - other).max() > 0.01


def test_the_same_seed_gives_the_same_weights():
    graph = frozen(one_head)
    one, again, other = (weights(randomize_last_layer(graph, seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_a_model_without_weights_is_refused():
    with pytest.raises(NotApplicableError, match="no linear layer"):
        randomize_last_layer(frozen(lambda images: tf.reduce_mean(images, [1, 2])))


def check(path: str, score: str = "logit") -> Randomization:
    attributor = Attributor(classifier.load(path, ModelOptions(score=score)), Settings(), 8)
    images = np.random.default_rng(3).random((2, *attributor.classifier.input_shape), np.float32)
    found = check_randomization(attributor, images, [0, 1])
    assert found == check_randomization(attributor, images, [0, 1])
    return found


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_the_maps_of_a_model_change_with_its_last_layer(tmp_path, score):
    found = check(smooth(tmp_path / "smooth"), score)
    assert (found.images, found.passed, found.reason) == (2, True, "")
    assert -1 <= found.similarity < MOST_ALIKE


def test_a_model_whose_last_layer_gives_no_gradient_fails(tmp_path):
    def outputs(images: Any) -> Any:
        found = tf.reduce_mean(images**2, [1, 2])
        return found + tf.stop_gradient(found) @ tf.constant(tensor(3, 3))

    found = check(save(tmp_path / "deaf", outputs, 8, 8))
    assert (found.images, found.passed) == (2, False)
    assert found.similarity == pytest.approx(1)


def test_why_there_is_no_check_is_said(tmp_path):
    def branching(images: Any) -> Any:
        found = tf.reduce_mean(images, [1, 2])
        return tf.cond(tf.shape(images)[0] > 0, lambda: found @ tf.constant(tensor(3, 3)), lambda: found)

    for number, (outputs, reason) in enumerate(
        [
            (branching, "control flow"),
            (lambda images: 3.0 * tf.reduce_mean(images**2, [1, 2]), "no linear layer"),
            (lambda images: (0.0 * images)[:, 0, 0] @ tf.constant(tensor(3, 3)) + [1, 2, 3], "the same everywhere"),
        ]
    ):
        found = check(save(tmp_path / str(number), outputs, 8, 8))
        assert (found.images, found.similarity, found.passed) == (0, None, None)
        assert reason in found.reason


def test_a_check_does_not_touch_the_attributor(tmp_path):
    attributor = Attributor(classifier.load(smooth(tmp_path / "smooth")), Settings(rule="midpoint", steps=4), 8)
    images = np.random.default_rng(3).random((1, 32, 32, 3), np.float32)
    before, graph = attributor.explain(images, [0]), dataclasses.replace(attributor.classifier)
    check_randomization(attributor, images, [0])
    np.testing.assert_array_equal(
        before[0].attributions[0].values, attributor.explain(images, [0])[0].attributions[0].values
    )
    assert vars(graph) == vars(attributor.classifier)
