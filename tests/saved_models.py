"""Tiny SavedModels, written by the tests that need them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def save(folder: Path, outputs: Callable[[Any], Any], height: int, width: int) -> str:
    """Saves a function of images float32 `[batch, height, width, 3]` in [0, 1] as a SavedModel; returns its path."""
    import tensorflow as tf

    module = tf.Module()
    module.__call__ = tf.function(outputs, input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32)])
    signatures = {"serving_default": module.__call__}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return str(folder)


def smooth(folder: Path, size: int = 32, classes: int = 5) -> str:
    """Saves a smooth convolutional classifier with logits: rounding cannot flip what it does not have."""
    import tensorflow as tf

    generator = np.random.default_rng(3)
    kernel = tf.constant(generator.normal(0, 0.4, [5, 5, 3, 8]), tf.float32)
    head = tf.constant(generator.normal(0, 2.0, [8 * 4, classes]), tf.float32)

    def outputs(images: Any) -> Any:
        features = tf.nn.softplus(tf.nn.conv2d(images * 2.0 - 1.0, kernel, 2, "SAME"))
        side = features.shape[1] // 2
        pooled = tf.nn.avg_pool2d(features, side, side, "VALID")
        return tf.reshape(pooled, [-1, 8 * 4]) @ head

    return save(folder, outputs, size, size)
