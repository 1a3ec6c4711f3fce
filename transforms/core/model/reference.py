"""Reference: what a model itself gives for two fixed pictures, by which any graph made of it can be checked.

Exact passes change outputs by rounding, and gradients by that and by a few ReLUs whose sign rounding changes; a graph
of another model, or another function of it, is far off.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from transforms.core.model.pictures import natural_pictures
from transforms.core.model.score import Score
from transforms.core.model.step_batch import StepBatch

if TYPE_CHECKING:
    from transforms.core.model.step import CompiledStep

PICTURES = 2
MOST_OUTPUTS = 1e-3
"""Largest difference of an output, relative to the largest output."""

MOST_GRADIENTS = 0.02
"""L1 distance of a picture's gradient, relative to its L1 norm."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model gives for the fixed pictures.

    Attributes:
        targets: int32 `[PICTURES]`, the class whose score is differentiated.
        explained: float32 `[PICTURES, …]`, what the score is made of.
        gradients: float32 `[PICTURES, height, width, channels]`, of the score with respect to raw pixels.
    """

    targets: np.ndarray
    explained: np.ndarray
    gradients: np.ndarray

    @classmethod
    def of(
        cls, explained: Callable[[tf.Tensor], tf.Tensor], score: Score, shape: tuple[int, int, int]
    ) -> Reference | None:
        """Returns what a function gives; None if TensorFlow cannot differentiate it, or its memory does not suffice.

        Args:
            explained: images `[n, *shape]` → what the score is made of.
            score: that and targets → one number an image.
            shape: (height, width, channels).
        """

        def evaluate(images: tf.Tensor) -> tuple[tf.Tensor, ...]:
            values = explained(images)
            flat = values.shape.rank == 2
            targets = tf.argmax(values, 1, tf.int32) if flat else tf.zeros([PICTURES], tf.int32)
            (gradients,) = tf.gradients(score(values, targets), images)
            return targets, values, gradients

        try:
            traced = tf.function(evaluate, autograph=False)
            found = cls(*(each.numpy() for each in traced(tf.constant(natural_pictures(shape, PICTURES)))))
        except (LookupError, AttributeError, NotImplementedError, TypeError, ValueError, tf.errors.OpError):
            return None
        finite = np.isfinite(found.explained).all() and np.isfinite(found.gradients).all()
        return found if finite and found.gradients.any() else None

    def difference(self, step: CompiledStep) -> str:
        """Returns in what a compiled step differs from the model by more than rounding; empty if in nothing.

        Raises:
            MemoryError: a batch does not fit into the device's memory.
        """
        pictures = natural_pictures(step.image_shape, PICTURES)
        if pictures.shape != self.gradients.shape:
            return f"pictures of {step.image_shape}, not of {self.gradients.shape[1:]}"
        pieces = [slice(first, first + step.batch) for first in range(0, PICTURES, step.batch)]
        with ThreadPoolExecutor(1) as threads:  # TensorFlow optimizes each function at its first call, on one core
            waiting = threads.submit(lambda: [_gradients(step, pictures[each], self.targets[each]) for each in pieces])
            found = np.concatenate([step.explained(pictures[piece]) for piece in pieces])
            gradients = np.concatenate(waiting.result())
        if found.shape != self.explained.shape:
            return f"outputs of shape {found.shape[1:]}, not {self.explained.shape[1:]}"
        largest = float(np.abs(self.explained).max())
        off = float(np.abs(found - self.explained).max())
        if not off <= MOST_OUTPUTS * largest:
            return f"outputs that differ by {off / largest if largest else off:.1%} of the largest"
        distance, norm = (
            np.abs(each).sum((1, 2, 3), dtype=np.float64) for each in (gradients - self.gradients, gradients)
        )
        if not (distance <= MOST_GRADIENTS * norm).all():
            return f"gradients that differ by {np.max(distance / np.maximum(norm, np.finfo(float).tiny)):.1%}"
        return ""

    def to_bytes(self) -> bytes:
        """Returns the arrays in NumPy's format."""
        stream = io.BytesIO()
        np.savez(stream, targets=self.targets, explained=self.explained, gradients=self.gradients)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """Returns what `to_bytes` gave; unpickles nothing.

        Raises:
            ValueError, KeyError, OSError: the bytes are something else.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(arrays["targets"], arrays["explained"], arrays["gradients"])


def _gradients(step: CompiledStep, pictures: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the gradients at up to a batch of pictures, float32 `[n, height, width, channels]`, by one call."""
    points, count = step.enter(pictures), len(pictures)
    places = np.minimum(np.arange(step.batch), count - 1).astype(np.int32)
    weights = (np.arange(step.batch) < count).astype(np.float32)
    alphas: Any = np.ones(step.batch, np.float32)
    batch = StepBatch(points, points, places, alphas, weights, targets[places].astype(np.int32), places)
    return step.leave(step.run(batch).sums)
