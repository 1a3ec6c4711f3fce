"""Tiny smooth models of any input, and their maps by a gradient tape to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions

STEPS = 16
CLASSES = 3
SMOOTH = 1e-5


def weights(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng([seed, *shape]).normal(0, 0.7, shape), tf.float32)


def network(height: int, width: int, channels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a smooth function of floats `[batch, height, width, channels]` in [0, 1] to logits."""
    kernel, head = weights(3, 3, channels, 4), weights(height * width * 4, CLASSES, seed=1)

    def logits(images: tf.Tensor) -> tf.Tensor:
        features = tf.nn.softplus(tf.nn.conv2d(images, kernel, 1, "SAME"))
        return tf.reshape(features, [-1, height * width * 4]) @ head * 0.3

    return logits


def pictures(height: int, width: int, channels: int, count: int = 2) -> np.ndarray:
    """Returns pictures of whole numbers over 255, of which a byte loses nothing."""
    values = np.random.default_rng(5).integers(0, 256, (count, height, width, channels))
    return (values / 255).astype(np.float32)


def plain(outputs: Callable[[tf.Tensor], tf.Tensor], image: np.ndarray, target: int) -> np.ndarray:
    """Returns integrated gradients of the probability by a tape, from black, at the midpoints."""
    alphas = ((np.arange(STEPS) + 0.5) / STEPS).astype(np.float32)
    points = tf.constant(alphas[:, None, None, None] * image)
    with tf.GradientTape() as tape:
        tape.watch(points)
        score = tf.nn.softmax(tf.cast(outputs(points), tf.float32))[:, target]
    return tape.gradient(score, points).numpy().mean(0, dtype=np.float64) * image


def check(model: Any, outputs: Callable[[tf.Tensor], tf.Tensor], tolerance: float = SMOOTH, **options: Any) -> Any:
    """Checks maps and predictions of a model against a function of raw pixels in [0, 1]; returns the classifier."""
    loaded = classifier.load(model, ModelOptions(**options))
    attributor = Attributor(loaded, Settings(rule="midpoint", steps=STEPS), batch_size=8)
    images = pictures(*loaded.input_shape)
    for image, found in zip(images, attributor.explain(images), strict=True):
        attribution = found.attributions[0]
        wanted = plain(outputs, image, attribution.target)
        assert np.abs(attribution.values - wanted).sum() <= tolerance * np.abs(wanted).sum()
        assert np.abs(wanted).sum() > 1e-3
        probabilities = tf.nn.softmax(tf.cast(outputs(image[None]), tf.float32))[0]
        assert found.predictions[0].probability == pytest.approx(float(probabilities[attribution.target]), rel=1e-3)
    return loaded


def save(folder: Path, function: Callable[..., Any], *specs: tf.TensorSpec, signature: str = "serving_default") -> str:
    module = tf.Module()
    module.function = tf.function(function, input_signature=list(specs), autograph=False)
    tf.saved_model.save(module, str(folder), signatures={signature: module.function})
    return str(folder)


def spec(*shape: int | None, dtype: Any = tf.float32, name: str = "images") -> tf.TensorSpec:
    return tf.TensorSpec([None, *shape], dtype, name=name)
