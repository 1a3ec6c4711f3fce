"""The adaptive rule: trapezoids between nodes that are put where they reduce the estimated error most.

Between two nodes, a gradient that changes in many small random steps is best known as their mean: no rule beats
the trapezoid there, its error is proportional to how much the gradient changes across the gap, and every node
remains in use when gaps are halved. A round of refinements is chosen when all blocks of the last one have returned, so
the order of their return changes nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from transforms.core.path.quadrature import error_factor
from transforms.core.path.rule import MIDDLE, Block, PathRule, PathState, norm, overflowing, ratio


def adaptive_rule(tolerance: float = 0.05, max_steps: int = 512) -> PathRule:
    """The path rule that spends as few steps as an estimated error of `tolerance` needs.

    Args:
        tolerance: relative L1 error to reach.
        max_steps: number of nodes never exceeded.

    Raises:
        ValueError: a tolerance that is not positive, or fewer steps than the rule begins with.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, not {tolerance}")
    if max_steps <= _GAPS:
        raise ValueError(f"max_steps must be at least {_GAPS + 1} for the adaptive rule, not {max_steps}")
    return _AdaptiveRule(tolerance, max_steps)


_GAPS = 8
"""Equal gaps between the nodes that an adaptive path begins with."""

_PARALLEL = 8
"""Panels refined at once: enough to fill batches with few paths, too few to be refined needlessly."""

_KEPT_GRADIENTS = 33
"""Nodes whose gradients are kept one by one; from there on a path keeps one array for each panel."""

_CAUTION = 1.35
"""Root mean squares add up the errors of panels as if all fell on the same pixels, which they do not quite: the
factor turns their sum into a map's L1 error (1.13, measured on photographs) with a fifth to spare: images stop where
their estimate is lucky."""

_GAP_ERROR = _CAUTION * error_factor(np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.array([-1.0, 1.0]))
"""Error of a trapezoid of width 1, relative to how much the gradient changes across it."""

_HALVED_ERROR = _CAUTION * error_factor(np.array([0.0, 0.5, 1.0]), np.array([1, 2, 1]) / 4, np.array([-1, 2, -1]) / 4)
"""Error of trapezoids, relative to how far halving their gaps moved their sum."""


@dataclass(frozen=True)
class _AdaptiveRule:
    tolerance: float
    max_steps: int

    def start(self, shift: float = MIDDLE) -> PathState:
        return _AdaptivePath(self.tolerance, self.max_steps)


@dataclass(frozen=True)
class _Node:
    """An evaluated point of the path: where it lies, F, and dF/dalpha."""

    alpha: float
    score: float
    slope: float


@dataclass(eq=False)
class _Panel:
    """A part of the path, integrated by trapezoids over equal gaps.

    Attributes:
        lower: where it begins.
        upper: where it ends.
        gaps: number of trapezoids.
        slope: their sum of dF/dalpha.
        error: estimated L1 error of their sum.
        values: float32 `[height, width, channels]`: their sum; None while the gradients at both ends are kept.
    """

    lower: _Node
    upper: _Node
    gaps: int
    slope: float
    error: float
    values: np.ndarray | None = None

    @classmethod
    def over(cls, lower: _Node, upper: _Node, change: np.ndarray) -> _Panel:
        """Returns the panel of one gap; `change` is the gradient at `upper` less that at `lower`."""
        width = upper.alpha - lower.alpha
        panel = cls(lower, upper, 1, width * (lower.slope + upper.slope) / 2, 0.0)
        panel.error = max(_GAP_ERROR * width * norm(change), panel.residual)
        return panel

    @property
    def width(self) -> float:
        """Length of its range of alpha."""
        return self.upper.alpha - self.lower.alpha

    @property
    def residual(self) -> float:
        """How far completeness is from holding: the error summed over the pixels, so never more than the error."""
        return abs(self.upper.score - self.lower.score - self.slope)

    @property
    def promise(self) -> float:
        """What a step spent here takes off the squared error, but for a factor that all panels share.

        Halving the gaps halves the error: each half has an eighth of the promise.
        """
        return self.error**2 / self.gaps

    def middles(self) -> np.ndarray:
        """Returns the middles of the gaps, float64 `[gaps]`."""
        return self.lower.alpha + self.width * (np.arange(self.gaps) + 0.5) / self.gaps

    def halve(self, middles: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Halves the gaps of a panel that has its own values.

        Args:
            middles: float32 `[height, width, channels]`: the sum of the gradients at the middles times the gaps' width.
            slopes: float32 `[gaps]`: dF/dalpha there.

        Returns:
            By how much `values` moved.
        """
        moved = np.asarray(middles - self.values)
        moved /= np.float32(2)
        self.values = self.values + moved
        self.slope = (self.slope + float(slopes.sum(dtype=np.float64)) * self.width / self.gaps) / 2
        self.gaps *= 2
        self.error = max(_HALVED_ERROR * norm(moved), self.residual)
        return moved


class _AdaptivePath:
    """Trapezoids between nodes that are put where they take most off the error.

    Between two nodes a gradient that changes in many small random steps is best known as their mean: no
    rule beats the trapezoid there, its error is in proportion to how much the gradient changes across
    the gap, and every node serves on when gaps are halved. A round of refinements is chosen when all
    blocks of the last one are back, so the order of their return changes nothing.
    """

    def __init__(self, tolerance: float, max_steps: int) -> None:
        self.steps = 0
        self.done = False
        self._tolerance = tolerance
        self._max_steps = max_steps
        self._total = np.zeros(0, np.float32)
        self._norm = 0.0
        self._panels: list[_Panel] = []
        self._gradients: dict[_Node, np.ndarray] = {}
        self._asked: dict[int, Block] = {}
        self._returned: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._chosen: list[_Panel] = []

    @property
    def error_estimate(self) -> float:
        return ratio(float(np.sqrt(sum(panel.error**2 for panel in self._panels))), norm(self._total))

    @property
    def converged(self) -> bool:
        return self.done and self.error_estimate <= self._tolerance

    def result(self) -> np.ndarray:
        return self._total

    def blocks(self) -> tuple[Block, ...]:
        if self.done or self._asked:
            return ()
        if not self._panels:
            blocks = [Block(i, np.array([i / _GAPS]), np.ones(1)) for i in range(_GAPS + 1)]
        else:
            self._chosen = self._round()
            blocks = [self._block(key, panel) for key, panel in enumerate(self._chosen, self.steps)]
        self._asked = {block.key: block for block in blocks}
        self.steps += sum(len(block.alphas) for block in blocks)
        return tuple(blocks)

    @overflowing
    def absorb(self, key: int, contribution: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> None:
        self._returned[key] = contribution, scores, slopes
        if len(self._returned) < len(self._asked):
            return
        returned = [(block, *self._returned[key]) for key, block in self._asked.items()]
        self._asked, self._returned = {}, {}
        if not self._panels:
            self._begin([self._node(*each) for each in returned])
        for panel, each in zip(self._chosen, returned, strict=False):
            if panel.values is None:
                self._split(panel, self._node(*each))
            else:
                self._total += panel.halve(each[1], each[3])
        if len(self._gradients) >= _KEPT_GRADIENTS:
            self._drop_gradients()
        self._norm = norm(self._total)
        self.done = not np.isfinite(self._norm) or self.error_estimate <= self._tolerance or not self._round()

    def _block(self, key: int, panel: _Panel) -> Block:
        weight = 1.0 if panel.values is None else panel.width / panel.gaps
        return Block(key, panel.middles(), np.full(panel.gaps, weight))

    def _node(self, block: Block, gradient: np.ndarray, scores: np.ndarray, slopes: np.ndarray) -> _Node:
        node = _Node(float(block.alphas[0]), float(scores[0]), float(slopes[0]))
        self._gradients[node] = gradient
        return node

    def _begin(self, nodes: list[_Node]) -> None:
        """Makes the first panels of the first nodes."""
        gradients = [self._gradients[node] for node in nodes]
        self._total = (sum(gradients[1:-1]) + (gradients[0] + gradients[-1]) / np.float32(2)) / np.float32(_GAPS)
        self._panels = [
            _Panel.over(lower, upper, self._change(lower, upper)) for lower, upper in itertools.pairwise(nodes)
        ]

    def _change(self, lower: _Node, upper: _Node) -> np.ndarray:
        return np.asarray(self._gradients[upper] - self._gradients[lower])

    def _split(self, panel: _Panel, middle: _Node) -> None:
        """Replaces a panel of one gap by two, whose changes also tell how far the sum moves."""
        before, after = self._change(panel.lower, middle), self._change(middle, panel.upper)
        position = self._panels.index(panel)
        self._panels[position : position + 1] = [
            _Panel.over(panel.lower, middle, before),
            _Panel.over(middle, panel.upper, after),
        ]
        before -= after
        before *= np.float32(panel.width / 4)
        self._total += before

    def _drop_gradients(self) -> None:
        """Gives each panel its own values: from now on panels are halved, no longer split."""
        for panel in self._panels:
            panel.values = self._gradients[panel.lower] + self._gradients[panel.upper]
            panel.values *= np.float32(panel.width / 2)
        self._gradients = {}

    def _round(self) -> list[_Panel]:
        """Returns the panels to refine next, within `max_steps`.

        They are as many as the tolerance is thought to need, and none that the halves of another would precede.
        """
        left = self._max_steps - self.steps
        excess = sum(panel.error**2 for panel in self._panels) - (self._tolerance * self._norm) ** 2
        chosen: list[_Panel] = []
        for panel in sorted(self._panels, key=lambda panel: -panel.promise):
            if len(chosen) == _PARALLEL or (chosen and (excess <= 0 or panel.promise < chosen[0].promise / 8)):
                break
            if panel.gaps <= left:
                chosen.append(panel)
                left -= panel.gaps
                excess -= 0.75 * panel.error**2
        return chosen
