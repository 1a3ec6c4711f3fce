"""Saliency (https://github.com/PAIR-code/saliency): the mean of `steps` points, both ends included.

It leaves the gradient to its user; here that is a `tf.function`, faster than the eager one of its examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import saliency.core as saliency
import tensorflow as tf

from benchmarks.contenders.keras_model import load_probabilities
from benchmarks.contenders.process import Contender, Setup, serve


class Saliency(Contender):
    """Explains image by image."""

    def __init__(self, setup: Setup) -> None:
        self._model = load_probabilities(setup.keras_model)
        self._gradients = tf.function(self._differentiate)
        self._method = saliency.IntegratedGradients()

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> list[np.ndarray]:
        """See Contender."""
        return [
            self._method.GetMask(image, self._call_model, tf.constant(target), x_steps=steps, batch_size=batch)
            for image, target in zip(images, targets, strict=True)
        ]

    def _call_model(self, images: np.ndarray, call_model_args: tf.Tensor, expected_keys: list[str]) -> dict[str, Any]:
        gradients = self._gradients(tf.constant(images, tf.float32), call_model_args)
        return {saliency.INPUT_OUTPUT_GRADIENTS: gradients.numpy()}

    def _differentiate(self, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            probability = self._model(images, training=False)[:, target]
        return tape.gradient(probability, images)


if __name__ == "__main__":
    serve(Saliency)
