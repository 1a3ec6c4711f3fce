"""Path rules: which gradients of one path to evaluate next, until its integral is known well enough.

A rule never sees a gradient on its own. It hands out *blocks*, sets of weighted nodes, and gets back
one array for each: the block's weighted sum of gradients times (x − x'). So a path costs a handful of
arrays, however many steps it takes, and every decision depends on that path alone, never on what else
shares its batches or in which order blocks return.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transforms.core.quadrature import Quadrature, error_factor, fixed

_overflowing = np.errstate(invalid="ignore", over="ignore")
"""Gradients may overflow: that shows in the estimate and is not worth a warning."""


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
    def error_estimate(self) -> float:
        """Estimated L1 error of `result()` over its L1 norm; infinite where it cannot be told."""

    @property
    def converged(self) -> bool:
        """Whether the estimate is within the tolerance; for a fixed rule, whether the result is finite."""

    def blocks(self) -> tuple[Block, ...]:
        """The blocks wanted now and not handed out before; empty while others are outstanding, or when done."""

    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        """Takes what a block came to.

        Args:
            key: of the block.
            contribution: float32 `[height, width, 3]`: `Σ weights[j] · gradient(alphas[j]) · (x − x')`.
            scores: float32 `[n]`: F at the block's nodes.
            slopes: float32 `[n]`: dF/dalpha at the block's nodes.
        """

    def result(self) -> np.ndarray:
        """The integral, float32 `[height, width, 3]`, once done."""


class PathRule(Protocol):
    """A recipe for integrating paths."""

    def start(self) -> PathState:
        """The state of a new path."""


def fixed_rule(rule: str, steps: int) -> PathRule:
    """The path rule that evaluates exactly `steps` nodes of a fixed quadrature.

    Raises:
        ValueError: as `quadrature.fixed`.
    """
    return _FixedRule(fixed(rule, steps))


def adaptive_rule(tolerance: float = 0.05, max_steps: int = 512, strata: int = 8) -> PathRule:
    """The path rule that spends as few steps as an estimated error of `tolerance` needs.

    Args:
        tolerance: relative L1 error to reach.
        max_steps: number of nodes never exceeded; at least three for each stratum.
        strata: number of equal parts of the path that are refined independently: one array each.

    Raises:
        ValueError: a tolerance that is not positive, or too few steps to estimate any error.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, not {tolerance}")
    if max_steps < 3 * strata:
        raise ValueError(f"max_steps must be at least {3 * strata} for the adaptive rule, not {max_steps}")
    return _AdaptiveRule(tolerance, max_steps, strata)


@dataclass(frozen=True)
class _FixedRule:
    quadrature: Quadrature

    def start(self) -> PathState:
        return _FixedPath(self.quadrature)


@dataclass(frozen=True)
class _AdaptiveRule:
    tolerance: float
    max_steps: int
    strata: int

    def start(self) -> PathState:
        return _AdaptivePath(self.tolerance, self.max_steps, self.strata)


class _FixedPath:
    """Two interleaved halves, so that their difference tells the error of their sum.

    Neighbours fall into the halves as + − − +: so they share their centre, and a difference between
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
    @_overflowing
    def error_estimate(self) -> float:
        if self.steps < 2:
            return np.inf
        shares = np.array([self._quadrature.weights[self._half == half].sum() for half in (0, 1)])
        scale = np.array([shares[1], -shares[0]])
        factor = error_factor(
            self._quadrature.alphas, self._quadrature.weights, self._quadrature.weights * scale[self._half]
        )
        difference = self._sums[0] * np.float32(scale[0]) + self._sums[1] * np.float32(scale[1])
        return _ratio(factor * _norm(difference), _norm(self.result()))

    @property
    def converged(self) -> bool:
        return self.done and bool(np.isfinite(_norm(self.result())))

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

    @_overflowing
    def result(self) -> np.ndarray:
        return functools.reduce(np.add, (self._sums[half] for half in sorted(self._sums)))


@dataclass
class _Stratum:
    """An equal part of the path, sampled at nested midpoints.

    Attributes:
        index: position among `count` strata.
        nodes: how many midpoints `mean` holds; each refinement triples them and keeps the old.
        mean: float32 `[height, width, 3]`: the stratum's part of the integral.
        moved: L1 distance by which the last refinement moved `mean`.
    """

    index: int
    count: int
    nodes: int = 0
    mean: np.ndarray | None = None
    moved: float = np.inf

    @property
    def cost(self) -> int:
        """Steps of the next refinement."""
        return max(1, 2 * self.nodes)

    def block(self, key: int) -> Block:
        """The nodes of the next refinement."""
        fine = max(1, 3 * self.nodes)
        new = [j for j in range(fine) if self.nodes == 0 or j % 3 != 1]
        alphas = (self.index + (np.array(new) + 0.5) / fine) / self.count
        return Block(key, alphas, np.full(len(new), 1.0 / (fine * self.count)))

    def refine(self, contribution: np.ndarray) -> None:
        """Takes the nodes of `block` into the mean."""
        if self.mean is None:
            self.nodes, self.mean = 1, contribution
            return
        mean = self.mean / np.float32(3.0) + contribution
        self.moved = _norm(mean - self.mean)
        self.nodes, self.mean = 3 * self.nodes, mean


_TRIPLED = error_factor((np.arange(3) + 0.5) / 3, np.full(3, 1 / 3), np.array([1, -2, 1]) / 3)
"""Error of three nested midpoints over their distance from the one: the same for n → 3n."""


class _AdaptivePath:
    """Rounds of refinements of the strata that promise most per step.

    A round is chosen when all blocks of the last one are back, so the order of their return changes
    nothing.
    """

    parallel = 2

    def __init__(self, tolerance: float, max_steps: int, strata: int):
        self.steps = 0
        self.done = False
        self._tolerance = tolerance
        self._max_steps = max_steps
        self._strata = [_Stratum(index, strata) for index in range(strata)]
        self._keys = itertools.count()
        self._outstanding: dict[int, _Stratum] = {}

    @property
    def error_estimate(self) -> float:
        moved = np.array([stratum.moved for stratum in self._strata])
        return _ratio(_TRIPLED * float(np.sqrt((moved**2).sum())), _norm(self.result()))

    @property
    def converged(self) -> bool:
        return self.done and self.error_estimate <= self._tolerance

    def blocks(self) -> tuple[Block, ...]:
        if self.done or self._outstanding:
            return ()
        for stratum in self._round():
            self._outstanding[next(self._keys)] = stratum
            self.steps += stratum.cost
        return tuple(stratum.block(key) for key, stratum in self._outstanding.items())

    @_overflowing
    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        self._outstanding.pop(key).refine(contribution)
        if not self._outstanding and all(stratum.nodes > 1 for stratum in self._strata):
            estimate = self.error_estimate
            self.done = estimate <= self._tolerance or not np.isfinite(estimate) or not self._round()

    @_overflowing
    def result(self) -> np.ndarray:
        return functools.reduce(np.add, (stratum.mean for stratum in self._strata if stratum.mean is not None))

    def _round(self) -> list[_Stratum]:
        """The strata to refine next, as far as `max_steps` allows: all while any has no estimate."""
        if any(stratum.nodes <= 1 for stratum in self._strata):
            return self._strata
        chosen: list[_Stratum] = []
        left = self._max_steps - self.steps
        for stratum in sorted(self._strata, key=lambda s: -s.moved / s.cost):
            if stratum.cost <= left and len(chosen) < self.parallel:
                chosen.append(stratum)
                left -= stratum.cost
        return chosen


def _norm(values: np.ndarray) -> float:
    """The L1 norm, summed in float64."""
    return float(np.abs(values).sum(dtype=np.float64))


def _ratio(error: float, norm: float) -> float:
    """The relative error; 0 of an exact zero map, infinite where either is not finite."""
    if error == 0 and norm == 0:
        return 0.0
    ratio = error / norm if norm else np.inf
    return ratio if np.isfinite(ratio) else np.inf
