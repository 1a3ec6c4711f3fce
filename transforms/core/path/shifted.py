"""The shifted rule: equally spaced nodes, moved together by a shift that is uniform over all paths.

A rule with fixed nodes is biased: its error depends on where gradients change along the path, which images have in
common, so that it does not average out over images. Equally spaced nodes (j + u)/n with u uniform in [0, 1) visit every
alpha alike: the mean of their sum over u is the integral itself, whatever n (Cranley and Patterson 1976, "Randomization
of number theoretic methods for multiple integration"). So what is linear in the map, such as the signed sum of a cell,
is unbiased, and its mean over images has an honest standard error. A single map of few steps is noisy, completeness
holds in the mean only, and nothing estimates the error of the map itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.core.path.quadrature import Quadrature, shifted
from transforms.core.path.rule import MIDDLE, Block, PathRule, PathState


def shifted_rule(steps: int) -> PathRule:
    """The path rule that evaluates `steps` equally spaced nodes, moved by each path's own shift.

    Raises:
        ValueError: fewer than one step.
    """
    shifted(steps, MIDDLE)
    return _ShiftedRule(steps)


@dataclass(frozen=True)
class _ShiftedRule:
    steps: int

    def start(self, shift: float = MIDDLE) -> PathState:
        return _ShiftedPath(shifted(self.steps, shift))


class _ShiftedPath:
    """One block for all nodes: as there is no error estimate, one sum is enough."""

    def __init__(self, quadrature: Quadrature) -> None:
        self.steps = len(quadrature.alphas)
        self._blocks: tuple[Block, ...] = (Block(0, quadrature.alphas, quadrature.weights),)
        self._sum: np.ndarray | None = None

    @property
    def done(self) -> bool:
        return self._sum is not None

    @property
    def error_estimate(self) -> None:
        return None

    @property
    def converged(self) -> None:
        return None

    def blocks(self) -> tuple[Block, ...]:
        blocks, self._blocks = self._blocks, ()
        return blocks

    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        self._sum = contribution

    def result(self) -> np.ndarray:
        if self._sum is None:
            raise ValueError("the path's block has not been absorbed")
        return self._sum
