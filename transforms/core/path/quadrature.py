"""Quadrature rules on [0, 1]: where a path is sampled, with which weights, and how wrong that is.

The gradient of a ReLU network along a straight path is not smooth: every unit that switches adds a
step. A rule's error is therefore the sum, over these steps, of their height times the rule's *step
response error* `E(t) = sum(weights[alphas > t]) − (1 − t)`, t being where the step lies. High order
does not help against steps, and their heights cancel at random, so the error of a rule is judged by
the root mean square of E, and an observed difference between two rules by that of theirs: the ratio
turns the one into an estimate of the other (`error_factor`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Nodes and weights for integrals over [0, 1].

    Attributes:
        alphas: float64 `[steps]` in [0, 1], ascending.
        weights: float64 `[steps]`, summing to 1.
    """

    alphas: np.ndarray
    weights: np.ndarray


def fixed(rule: str, steps: int) -> Quadrature:
    """The nodes and weights of a rule that evaluates exactly `steps` gradients.

    Args:
        rule: one of `vocabulary.FIXED_RULES`.
        steps: number of nodes; at least 1, for `trapezoid` 2, for `simpson` an odd number from 3.

    Raises:
        ValueError: unknown rule, or a number of steps the rule does not have.
    """
    if rule not in _RULES:
        raise ValueError(f"rule must be one of {', '.join(_RULES)}, not {rule!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return _RULES[rule](steps)


def shifted(steps: int, shift: float) -> Quadrature:
    """Equally spaced nodes with equal weights, each at `shift` of its interval: `(j + shift) / steps`.

    >>> shifted(2, 0.5).alphas
    array([0.25, 0.75])

    Args:
        steps: number of nodes, at least 1.
        shift: in [0, 1); 0.5 is the midpoint rule.

    Raises:
        ValueError: a number of steps or a shift that is not allowed.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if not 0 <= shift < 1:
        raise ValueError(f"shift must be in [0, 1), not {shift}")
    return Quadrature((np.arange(steps) + shift) / steps, np.full(steps, 1.0 / steps))


def error_factor(alphas: np.ndarray, weights: np.ndarray, contrast: np.ndarray) -> float:
    """How large a rule's error is, relative to an observed difference, for steps anywhere in [0, 1].

    Args:
        alphas: float64 `[n]`, ascending: the nodes of the rule and of the difference.
        weights: float64 `[n]`, summing to 1: the rule.
        contrast: float64 `[n]`, summing to 0: the weights of the difference.

    Returns:
        The ratio of the root mean squares of the two step responses.
    """
    edges = np.concatenate([[0.0], alphas, [1.0]])
    above = 1.0 - np.concatenate([[0.0], np.cumsum(weights)])
    error = ((above - 1.0 + edges[1:]) ** 3 - (above - 1.0 + edges[:-1]) ** 3).sum() / 3.0
    observed = (np.concatenate([[0.0], np.cumsum(contrast)]) ** 2 * np.diff(edges)).sum()
    return float(np.sqrt(error / observed))


def _midpoint(steps: int) -> Quadrature:
    return shifted(steps, 0.5)


def _left(steps: int) -> Quadrature:
    return Quadrature(np.arange(steps) / steps, np.full(steps, 1.0 / steps))


def _right(steps: int) -> Quadrature:
    return Quadrature(np.arange(1, steps + 1) / steps, np.full(steps, 1.0 / steps))


def _trapezoid(steps: int) -> Quadrature:
    if steps < 2:
        raise ValueError(f"rule trapezoid needs steps of at least 2, not {steps}")
    weights = np.full(steps, 1.0 / (steps - 1))
    weights[[0, -1]] /= 2.0
    return Quadrature(np.linspace(0.0, 1.0, steps), weights)


def _simpson(steps: int) -> Quadrature:
    if steps < 3 or steps % 2 == 0:
        raise ValueError(f"rule simpson needs an odd number of steps from 3, not {steps}")
    weights = np.full(steps, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return Quadrature(np.linspace(0.0, 1.0, steps), weights / (3.0 * (steps - 1)))


def _gauss_legendre(steps: int) -> Quadrature:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return Quadrature((nodes + 1.0) / 2.0, weights / 2.0)


_RULES: dict[str, Callable[[int], Quadrature]] = {
    "midpoint": _midpoint,
    "trapezoid": _trapezoid,
    "left": _left,
    "right": _right,
    "simpson": _simpson,
    "gauss_legendre": _gauss_legendre,
}
