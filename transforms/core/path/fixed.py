"""Fixed rules: every path is sampled at the nodes of one quadrature, whose two halves estimate the error."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from transforms.core.path.quadrature import Quadrature, error_factor, fixed
from transforms.core.path.rule import MIDDLE, Block, PathRule, PathState, norm, overflowing, ratio


def fixed_rule(rule: str, steps: int) -> PathRule:
    """The path rule that evaluates exactly `steps` nodes of a fixed quadrature.

    Raises:
        ValueError: as `quadrature.fixed`.
    """
    return _FixedRule(fixed(rule, steps))


@dataclass(frozen=True)
class _FixedRule:
    quadrature: Quadrature

    def start(self, shift: float = MIDDLE) -> PathState:
        return _FixedPath(self.quadrature)


class _FixedPath:
    """Two interleaved halves, so that their difference tells the error of their sum.

    Neighbors fall into the halves as + − − +: so they share their center, and a difference between
    them comes from the path's steps, not from its trend.
    """

    def __init__(self, quadrature: Quadrature):
        self.steps = len(quadrature.alphas)
        self._quadrature = quadrature
        self._half = np.isin(np.arange(self.steps) % 4, (1, 2)).astype(int)
        self._offered = False
        self._sums: dict[int, np.ndarray] = {}

    @property
    def done(self) -> bool:
        return len(self._sums) == min(self.steps, 2)

    @property
    @overflowing
    def error_estimate(self) -> float:
        if self.steps < 2:
            return np.inf
        shares = np.array([self._quadrature.weights[self._half == half].sum() for half in (0, 1)])
        scale = np.array([shares[1], -shares[0]])
        factor = error_factor(
            self._quadrature.alphas, self._quadrature.weights, self._quadrature.weights * scale[self._half]
        )
        difference = self._sums[0] * np.float32(scale[0]) + self._sums[1] * np.float32(scale[1])
        return ratio(factor * norm(difference), norm(self.result()))

    @property
    def converged(self) -> bool:
        return self.done and bool(np.isfinite(norm(self.result())))

    def blocks(self) -> tuple[Block, ...]:
        if self._offered:
            return ()
        self._offered = True
        return tuple(
            Block(half, self._quadrature.alphas[self._half == half], self._quadrature.weights[self._half == half])
            for half in range(min(self.steps, 2))
        )

    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        self._sums[key] = contribution

    @overflowing
    def result(self) -> np.ndarray:
        return functools.reduce(np.add, (self._sums[half] for half in sorted(self._sums)))
