"""StepBatch and StepResult: one batch of steps along straight paths, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class StepBatch:
    """One batch of steps: step j is the gradient at `start + alphas[j] · (end − start)` of the path `slots[j]`.

    Attributes:
        starts: where each path begins (its baseline): float32 `[...path space]` each, as arrays or as
            `CompiledStep.place` returned them.
        ends: where each path ends (its image), likewise.
        slots: int32 `[batch]`: the path of each step.
        alphas: float32 `[batch]` in [0, 1].
        weights: float32 `[batch]`: each gradient's weight in its sum; 0 for padding.
        targets: int32 `[batch]`: the class whose score is differentiated.
        segments: int32 `[batch]`: the sum that each gradient goes to.
    """

    starts: np.ndarray | Sequence[Any]
    ends: np.ndarray | Sequence[Any]
    slots: np.ndarray
    alphas: np.ndarray
    weights: np.ndarray
    targets: np.ndarray
    segments: np.ndarray

    @classmethod
    def of_path(cls, start: np.ndarray, end: np.ndarray, alphas: np.ndarray, weight: float, target: int) -> StepBatch:
        """Returns steps of one path, whose gradients go to one sum with equal weights.

        Args:
            start: float32 `[...path space]`, and `end` likewise.
            end: where the path ends.
            alphas: float32 `[batch]` in [0, 1].
            weight: of each gradient.
            target: the class whose score is differentiated.
        """
        zeros = np.zeros(len(alphas), np.int32)
        weights = np.full(len(alphas), weight, np.float32)
        return cls(start[None], end[None], zeros, alphas, weights, zeros + np.int32(target), zeros)

    @property
    def sums(self) -> int:
        """Number of sums that the gradients go to."""
        return int(self.segments.max()) + 1


@dataclass(frozen=True, eq=False)
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


def midpoints(count: int) -> np.ndarray:
    """Returns the middles of `count` equal parts of a path, float32 `[count]`."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32)
