"""A classifier → the compiled gradient step: one score's gradient along straight paths, in full batches.

The step does what no library call does at once: it interpolates in the graph, so that only the ends
of each path cross into TensorFlow; differentiates the score with respect to the interpolated points
alone; and sums the weighted gradients per segment in the graph, so that memory does not grow with the
number of steps. One shape, one trace: functions that are traced again are never freed.

Where the model's first layers are affine, the *path space* is their output: a straight path of images
is a straight path there too. `enter` takes images into path space, `leave` takes a gradient back by
the transpose of the same layers, both once per image instead of once per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from transforms.core.classifier import Classifier

ALL = ("freeze",)
"""The passes, in the order in which they run."""


@dataclass(frozen=True)
class PassReport:
    """Whether a pass was applied, and the reason where it was not."""

    name: str
    applied: bool
    reason: str = ""


@dataclass(frozen=True)
class StepResult:
    """What one batch of steps gives.

    Attributes:
        sums: float32 `[max(segments) + 1, ...path space]`: weighted sums of dF/dz per segment.
        scores: float32 `[batch]`: F at each step.
        slopes: float32 `[batch]`: dF/dalpha at each step.
    """

    sums: np.ndarray
    scores: np.ndarray
    slopes: np.ndarray


class CompiledStep:
    """The gradient step of one classifier at one batch size; threads may share it.

    Attributes:
        batch: number of steps in one call of `run`.
        report: one entry per pass.
        path_shape: shape of one point in path space.
    """

    def __init__(
        self,
        classifier: Classifier,
        batch: int,
        forward: Callable[[tf.Tensor], tf.Tensor],
        report: tuple[PassReport, ...],
    ) -> None:
        self.batch = batch
        self.report = report
        self.path_shape = classifier.input_shape
        self._classifier = classifier
        self._forward = forward
        images = tf.TensorSpec([batch, *classifier.input_shape], tf.float32)
        self._outputs = tf.function(forward, autograph=False).get_concrete_function(images)
        self._step = self._trace()

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's raw outputs, float32 `[n, classes]`.

        Args:
            images: float32 `[n, height, width, 3]` in [0, 1], n at most `batch`.
        """
        count = len(images)
        padding = [(0, self.batch - count), (0, 0), (0, 0), (0, 0)]
        return self._outputs(tf.constant(np.pad(images, padding), tf.float32)).numpy()[:count]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 `[n, classes]`, of at most `batch` images `[n, height, width, 3]`."""
        return np.asarray(self._classifier.to_probabilities(self.outputs(images)))

    def enter(self, images: np.ndarray) -> np.ndarray:
        """Returns where images `[n, height, width, 3]` lie in path space, `[n, ...path space]`."""
        return images

    def leave(self, gradients: np.ndarray) -> np.ndarray:
        """Returns gradients in path space `[n, ...path space]` as gradients of raw pixels."""
        return gradients

    def run(
        self,
        starts: Any,
        ends: Any,
        slots: np.ndarray,
        alphas: np.ndarray,
        weights: np.ndarray,
        targets: np.ndarray,
        segments: np.ndarray,
    ) -> StepResult:
        """Evaluates the gradient at `z_j = start + alpha_j · (end − start)` for every step j of a batch.

        Args:
            starts: float32 `[paths, ...path space]`: where each path begins (its baseline).
            ends: float32 `[paths, ...path space]`: where each path ends (its image).
            slots: int32 `[batch]`: the path of each step.
            alphas: float32 `[batch]` in [0, 1].
            weights: float32 `[batch]`: each gradient's weight in its sum; 0 for padding.
            targets: int32 `[batch]`: the class whose score is differentiated.
            segments: int32 `[batch]`: the sum that each gradient goes to.
        """
        sums, scores, slopes = self._step(
            tf.constant(starts, tf.float32),
            tf.constant(ends, tf.float32),
            tf.constant(slots, tf.int32),
            tf.constant(alphas, tf.float32),
            tf.constant(weights, tf.float32),
            tf.constant(targets, tf.int32),
            tf.constant(segments, tf.int32),
        )
        return StepResult(sums.numpy(), scores.numpy(), slopes.numpy())

    def _trace(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        paths = tf.TensorSpec([None, *self.path_shape], tf.float32)
        floats, integers = (tf.TensorSpec([self.batch], kind) for kind in (tf.float32, tf.int32))

        def step(starts, ends, slots, alphas, weights, targets, segments):
            start = tf.gather(starts, slots)
            direction = tf.gather(ends, slots) - start
            points = start + _per_point(alphas, start) * direction
            scores = self._classifier.score(self._forward(points), targets)
            (gradients,) = tf.gradients(scores, points)
            slopes = tf.einsum("bd,bd->b", _flat(gradients), _flat(direction))
            weighted = gradients * _per_point(weights, gradients)
            sums = tf.math.unsorted_segment_sum(weighted, segments, tf.reduce_max(segments) + 1)
            return sums, scores, slopes

        return tf.function(step, autograph=False).get_concrete_function(
            paths, paths, integers, floats, floats, integers, integers
        )


def compile_step(classifier: Classifier, batch: int, passes: Sequence[str] = ALL) -> CompiledStep:
    """Compiles the gradient step of a classifier.

    Args:
        classifier: the loaded model.
        batch: number of steps in one model call.
        passes: names out of `ALL`; what is left out is not tried.

    Raises:
        ValueError: `passes` names an unknown pass, or the score can't be differentiated.
    """
    if unknown := sorted(set(passes) - set(ALL)):
        raise ValueError(f"passes={','.join(unknown)}: allowed are {', '.join(ALL)}")
    if classifier.frozen is None or "freeze" not in passes:
        reason = classifier.frozen_reason or "not asked for"
        return CompiledStep(classifier, batch, classifier.outputs, (PassReport("freeze", False, reason),))
    return CompiledStep(classifier, batch, classifier.frozen, (PassReport("freeze", True),))


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [tf.shape(values)[0], -1])


def _per_point(numbers: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns `numbers` `[batch]` shaped to multiply `points` `[batch, ...]`."""
    return tf.reshape(numbers, [-1] + [1] * (points.shape.rank - 1))
