"""How many pictures are too many: counts judged by the counts of the other classes and places of the same rows.

Pictures with extreme values come at rates that differ from class to class and from place to place, so a Poisson
distribution around a pooled rate raises false alarms. Rates are taken to vary as a gamma distribution, whose mean and
shape follow from the counts themselves, so a count is negative binomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

_SHAPES = (0.2, 50.0)
_ROUNDS = 4
_FEW = 100
"""Fewer counts than these are judged by the others, each: one that is too high would hide itself in the fit."""

_LEAST_OTHERS = 5
"""Fewer show nothing of how rates vary."""

_FEW_SHAPE = 4.0
"""Highest shape that few counts can show."""

LEAST_P = 1e-300


@dataclass(frozen=True)
class Rates:
    """Rates that vary as a gamma distribution.

    Attributes:
        mean: events per unit of exposure.
        shape: of the gamma distribution: the higher, the more alike the rates.
    """

    mean: float
    shape: float

    @classmethod
    def fit(cls, counts: np.ndarray, exposures: np.ndarray, most_shape: float = _SHAPES[1]) -> Rates:
        """Returns the rates that counts show, by moments."""
        mean = (counts.sum() + 0.5) / max(exposures.sum(), 1.0)
        expected = mean * exposures
        excess = ((counts - expected) ** 2 - expected).sum()
        shape = (expected**2).sum() / excess if excess > 0 else most_shape
        return cls(float(mean), float(np.clip(shape, _SHAPES[0], most_shape)))

    def p_values(self, counts: np.ndarray, exposures: np.ndarray) -> np.ndarray:
        """Returns the probability of as many events or more."""
        expected = self.mean * exposures
        found = np.ones(counts.shape)
        high = counts > expected  # few are, and only these are worth the time
        share = expected[high] / (self.shape + expected[high])
        found[high] = special.betainc(counts[high], self.shape, share)
        return np.maximum(found, LEAST_P)


@dataclass(frozen=True)
class Excess:
    """Of counts, float `[n]` each: the probability of as many or more, and how many were to be expected."""

    p_values: np.ndarray
    expected: np.ndarray


def judge_counts(counts: np.ndarray, exposures: np.ndarray) -> Excess:
    """Returns how unusual counts are by the rates that the others show; not at all where there are too few others.

    Args:
        counts: float `[n]`.
        exposures: how many each could have been, or a number proportional to it; float `[n]`, above 0.
    """
    if len(counts) < _FEW:
        return _one_by_one(counts, exposures)
    kept = np.ones(counts.shape, bool)
    for _ in range(_ROUNDS):
        rates = Rates.fit(counts[kept], exposures[kept])
        p_values = rates.p_values(counts, exposures)
        kept = p_values > 0.1 / len(counts)
    return Excess(p_values, rates.mean * exposures)


def _one_by_one(counts: np.ndarray, exposures: np.ndarray) -> Excess:
    p_values, expected = np.ones(counts.shape), counts.astype(float)
    for number in range(len(counts)):
        others = np.arange(len(counts)) != number
        if others.sum() >= _LEAST_OTHERS:
            rates = Rates.fit(counts[others], exposures[others], _FEW_SHAPE)
            p_values[number] = rates.p_values(counts[number : number + 1], exposures[number : number + 1])[0]
            expected[number] = rates.mean * exposures[number]
    return Excess(p_values, expected)
