"""Path rules: which gradients of one path to evaluate next, until its integral is known well enough.

A rule never sees a gradient on its own. It hands out *blocks*, sets of weighted nodes, and gets back
one array for each: the block's weighted sum of gradients times (x − x'). So a path costs a handful of
arrays, however many steps it takes, and every decision depends on that path alone, never on what else
shares its batches or in which order blocks return.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

overflowing = np.errstate(invalid="ignore", over="ignore")
"""Gradients may overflow: that shows in the estimate and is not worth a warning."""


MIDDLE = 0.5
"""The shift by which equally spaced nodes lie in the middle of their intervals: the midpoint rule."""


@dataclass(frozen=True, eq=False)
class Block:
    """Nodes of one accumulator, to be evaluated in any batches.

    Attributes:
        key: names the block within its path.
        alphas: float64 `[n]` in [0, 1].
        weights: float64 `[n]`.
    """

    key: int
    alphas: np.ndarray
    weights: np.ndarray


class PathState(Protocol):
    """One path being integrated."""

    @property
    def done(self) -> bool:
        """Whether nothing more will be asked for."""

    @property
    def steps(self) -> int:
        """Number of nodes handed out so far."""

    @property
    def error_estimate(self) -> float | None:
        """Estimated L1 error of `result()` over its L1 norm; infinite if it cannot be told.

        None if the rule estimates no error.
        """

    @property
    def converged(self) -> bool | None:
        """Whether the estimate is within the tolerance; for a fixed rule, whether the result is finite.

        None if the rule estimates no error.
        """

    def blocks(self) -> tuple[Block, ...]:
        """The blocks wanted now and not handed out before; empty while others are outstanding, or when done."""

    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        """Takes what a block came to.

        Args:
            key: of the block.
            contribution: float32 `[height, width, channels]`: `Σ weights[j] · gradient(alphas[j]) · (x − x')`.
            scores: float32 `[n]`: F at the block's nodes.
            slopes: float32 `[n]`: dF/dalpha at the block's nodes.
        """

    def result(self) -> np.ndarray:
        """The integral, float32 `[height, width, channels]`, once done."""


class PathRule(Protocol):
    """A recipe for integrating paths."""

    def start(self, shift: float = MIDDLE) -> PathState:
        """The state of a new path.

        Args:
            shift: in [0, 1), the path's own; by which a rule moves its nodes if it is one of shifted nodes.
        """


def norm(values: np.ndarray) -> float:
    """The L1 norm; summed in float64 only if float32, whose sums are pairwise, overflows."""
    magnitudes = np.abs(values)
    total = float(magnitudes.sum())
    return total if np.isfinite(total) else float(magnitudes.sum(dtype=np.float64))


def ratio(error: float, norm: float) -> float:
    """The relative error; 0 of an exact zero map, infinite where either is not finite."""
    if error == 0 and norm == 0:
        return 0.0
    ratio = error / norm if norm else np.inf
    return ratio if np.isfinite(ratio) else np.inf
