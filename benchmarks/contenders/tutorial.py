"""The algorithm of TensorFlow's tutorial, from its text: https://www.tensorflow.org/tutorials/interpretability/integrated_gradients.

One image at a time: interpolate, differentiate the probability batch by batch in a `tf.function`,
keep all gradients, average them by the trapezoidal rule, multiply by the difference from the baseline.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.contenders.keras_model import load_probabilities
from benchmarks.contenders.process import Contender, Setup, serve


class Tutorial(Contender):
    """Explains image by image; `steps` counts both ends of the path."""

    def __init__(self, setup: Setup) -> None:
        self._model = load_probabilities(setup.keras_model)
        self._gradients = tf.function(self._one_batch)

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> list[np.ndarray]:
        """See Contender."""
        return [self._explain(image, target, steps, batch) for image, target in zip(images, targets, strict=True)]

    def _explain(self, pixels: np.ndarray, target: int, steps: int, batch: int) -> np.ndarray:
        image, baseline = tf.constant(pixels), tf.zeros_like(pixels)
        alphas = tf.linspace(0.0, 1.0, steps)
        gradients = [
            self._gradients(baseline, image, alphas[start : start + batch], tf.constant(target))
            for start in range(0, steps, batch)
        ]
        total = tf.concat(gradients, axis=0)
        average = tf.reduce_mean((total[:-1] + total[1:]) / 2.0, axis=0)
        return ((image - baseline) * average).numpy()

    def _one_batch(self, baseline: tf.Tensor, image: tf.Tensor, alphas: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        interpolated = baseline + alphas[:, None, None, None] * (image - baseline)
        with tf.GradientTape() as tape:
            tape.watch(interpolated)
            probability = self._model(interpolated, training=False)[:, target]
        return tape.gradient(probability, interpolated)


if __name__ == "__main__":
    serve(Tutorial)
