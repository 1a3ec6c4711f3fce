"""Attributions by a compiled step alone, at a fixed rule, and how far two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from transforms.core.model.step_batch import StepBatch, midpoints

if TYPE_CHECKING:
    from transforms.core.model.step import CompiledStep

STEPS = 8
BATCH = 8


def attributions(step: CompiledStep, images: np.ndarray) -> np.ndarray:
    """Returns integrated gradients of class 7 by the midpoint rule from black, in the shape of `images`."""
    starts, ends = step.enter(np.zeros_like(images)), step.enter(images)
    gradients = np.zeros_like(ends)
    for index in range(len(images)):
        for part in np.split(midpoints(STEPS), STEPS // step.batch):
            batch = StepBatch.of_path(starts[index], ends[index], part, weight=1 / STEPS, target=7)
            gradients[index] += step.run(batch).sums[0]
    return step.leave(gradients) * images


def distance(found: np.ndarray, reference: np.ndarray) -> float:
    """Returns the largest of the images' relative L1 distances."""
    axes = (1, 2, 3)
    return float((np.abs(found - reference).sum(axes) / np.abs(reference).sum(axes)).max())
