"""Did the classes come in other shares? A question apart from what the model looks at in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from transforms.core.drift.distance import total_variation
from transforms.core.drift.thresholds import Thresholds

ClassCounts = Mapping[tuple[str, str], int]
"""Images by class: (value, name)."""

_LEAST_EXPECTED = 5
_LEAST_NIGHTS = 3


@dataclass(frozen=True)
class ClassShare:
    """The share of one class on both sides; the fields are those of audit.json."""

    value: str
    name: str
    reference: float
    candidate: float


@dataclass(frozen=True)
class MixAudit:
    """The judgement of the class mix; the fields are those of audit.json."""

    drift: bool
    p_value: float
    distance: float
    self_distance: float
    classes: list[ClassShare]


def judge_mix(references: Sequence[ClassCounts], candidate: ClassCounts, thresholds: Thresholds) -> MixAudit:
    """Returns whether the class mix of a run differs from its references' beyond chance, and beyond what they differ.

    Args:
        references: of each reference night.
        candidate: of the run.
        thresholds: `mix_p_value` and `mix_distance`.
    """
    reference = _pool(references)
    distance, p_value, expected = _compare(reference, candidate)
    nights = []
    if len(references) >= _LEAST_NIGHTS:
        others = (_pool([*references[:i], *references[i + 1 :]]) for i in range(len(references)))
        nights = [
            _compare(rest, night)[0]
            for rest, night in zip(others, references, strict=True)
            if sum(night.values()) >= thresholds.min_rows  # few images differ from any mix
        ]
    self_distance = max([expected, *nights])
    shares = [
        ClassShare(
            *key, reference[key] / max(1, reference.total()), candidate.get(key, 0) / max(1, sum(candidate.values()))
        )
        for key in {**reference, **candidate}
    ]
    return MixAudit(
        drift=p_value <= thresholds.mix_p_value and distance > max(thresholds.mix_distance, self_distance),
        p_value=p_value,
        distance=distance,
        self_distance=self_distance,
        classes=sorted(shares, key=lambda one: (-abs(one.candidate - one.reference), one.value)),
    )


def _pool(nights: Sequence[ClassCounts]) -> Counter[tuple[str, str]]:
    pooled: Counter[tuple[str, str]] = Counter()
    for night in nights:
        pooled.update(night)
    return pooled


def _compare(reference: ClassCounts, candidate: ClassCounts) -> tuple[float, float, float]:
    """Returns the total variation of two mixes, its p-value, and the total variation to expect of equal ones.

    The p-value is that of chi-square tests of homogeneity, with the rarest classes taken together: of all classes at
    once, and of each against the rest, which finds what one class does among many; Bonferroni's bound holds the lot.
    The expectation is that of normal deviations.
    """
    keys = sorted({**reference, **candidate})
    counts = np.array([[side.get(key, 0) for key in keys] for side in (reference, candidate)], float)
    sizes = counts.sum(axis=1, keepdims=True)
    if not sizes.all():
        return 0.0, 1.0, 0.0
    shares, pooled = counts / sizes, counts.sum(axis=0) / counts.sum()
    deviations = np.sqrt(pooled * (1 - pooled) * (1 / sizes).sum())
    expected = np.sqrt(2 / np.pi) * deviations.sum() / 2
    return float(total_variation(*shares)), _homogeneity(counts), float(min(expected, 1))


def _homogeneity(counts: np.ndarray) -> float:
    """Returns the p-value of counts `[sides, classes]` being drawn from one mix."""
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    rare = expected.min(axis=0) < _LEAST_EXPECTED
    table, expected = (
        np.column_stack([part[:, ~rare], part[:, rare].sum(axis=1)]) if rare.any() else part
        for part in (counts, expected)
    )
    if table.shape[1] < 2:
        return 1.0
    terms = ((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=0)
    shares = expected[0] / expected[0].sum()
    single = chdtrc(1, (terms / (1 - shares)).max())  # what the rest adds to a class's own terms
    return float(min(1.0, 2 * min(chdtrc(len(terms) - 1, terms.sum()), len(terms) * single)))
