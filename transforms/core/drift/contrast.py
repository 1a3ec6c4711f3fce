"""Contrast: the same rows weighted twice → how far apart the two weightings are, metric by metric.

A weighting gives each row a share: those of the reference, and those of the candidate, or two halves of the
reference. Many pairs of weightings are measured at once, so that judging a run against what its reference
does to itself takes the very same code.

Each metric has an effect, which does not depend on the number of rows, and a statistic: the effect in units
of what sampling alone would show, as far as the spread of the *reference's* rows tells. A few odd rows in the
candidate therefore do not hide behind the spread that they cause.

- `grid`: Jensen-Shannon distance of the mean grids; `channel_share`: the same of color channels;
- `grid_rank`: 1 − nDCG of the ranking of cells;
- `cells`: the change of the cell that changed most. A cell's spread counts as no less than the median cell's:
  a cell where nothing ever happens would otherwise be significant for next to nothing;
- `signed_cells`: the same of what speaks for or against the class, in standard deviations of that cell. Magnitudes are
  mostly a network's noise, whose signs cancel within a cell: this is where a shortcut shows that moves the score;
- scalars: Wasserstein distance over the reference's standard deviation.

Spread is measured within classes, since classes are compared with themselves only. Rows of which a metric is unknown
are left out of it, and those of their class that are left count for them, so that the class mix stays the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transforms.core.drift.distance import jensen_shannon, ndcg, wasserstein
from transforms.core.vocabulary import VECTORS

ATTENTION, SCORE, CONVERGENCE = "attention", "score", "convergence"

TOPICS = {
    "grid": ATTENTION,
    "grid_rank": ATTENTION,
    "cells": ATTENTION,
    "signed_cells": ATTENTION,
    "channel_share": ATTENTION,
    "positive_share": ATTENTION,
    "gini": ATTENTION,
    "entropy": ATTENTION,
    "center_row": ATTENTION,
    "center_col": ATTENTION,
    "border_share": ATTENTION,
    "mask_share": ATTENTION,
    "pointing_hit": ATTENTION,
    "score": SCORE,
    "convergence_delta": CONVERGENCE,
    "error_estimate": CONVERGENCE,
    "steps": CONVERGENCE,
}
"""The metrics, and what a change of each is a change of."""

CELLS = {"cells": "grid", "signed_cells": "signed_grid"}
"""Metrics that look at one cell after the other, and of which grid."""

SCALARS = tuple(name for name in TOPICS if name not in (*VECTORS, *CELLS, "grid_rank"))

_TINY = 1e-12
_LEAST_SPREAD = 1e-6
"""Of a scalar's standard deviation, relative to its largest magnitude: rounding is no change."""


@dataclass(frozen=True)
class Rows:
    """Rows of one slice, an image once.

    Attributes:
        vectors: float32 `[rows, elements]` by the names in VECTORS; NaN where a row has no such vector.
        scalars: float32 `[rows]` by the names in SCALARS; NaN where a row has no such number.
        classes: each row's class, int `[rows]`.
        nights: which run each row is of, int `[rows]`.
    """

    vectors: Mapping[str, np.ndarray]
    scalars: Mapping[str, np.ndarray]
    classes: np.ndarray
    nights: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: np.ndarray) -> Rows:
        """Returns the rows that an index or a mask selects."""
        return Rows(
            {name: values[rows] for name, values in self.vectors.items()},
            {name: values[rows] for name, values in self.scalars.items()},
            self.classes[rows],
            self.nights[rows],
        )

    def join(self, *others: Rows) -> Rows:
        """Returns these rows and those of `others`."""
        every = (self, *others)
        return Rows(
            {name: np.concatenate([rows.vectors[name] for rows in every]) for name in self.vectors},
            {name: np.concatenate([rows.scalars[name] for rows in every]) for name in self.scalars},
            np.concatenate([rows.classes for rows in every]),
            np.concatenate([rows.nights for rows in every]),
        )


@dataclass(frozen=True)
class WeightPairs:
    """Pairs of weightings of the same rows.

    Attributes:
        reference: each row's share, float `[pairs, rows]`; sums to 1.
        candidate: the same.
    """

    reference: np.ndarray
    candidate: np.ndarray

    @functools.cached_property
    def difference(self) -> np.ndarray:
        """Each row's share in the reference less that in the candidate, float `[rows, pairs]`."""
        return np.ascontiguousarray((self.reference - self.candidate).T)

    @functools.cached_property
    def noise(self) -> np.ndarray:
        """Variance of the difference of two means, in units of the variance of a row, float `[pairs]`."""
        return np.asarray(sum(np.einsum("pr,pr->p", side, side) for side in (self.reference, self.candidate)))

    @functools.cached_property
    def is_complete(self) -> bool:
        """Whether each pair has weights in the reference; if it has, then in the candidate too."""
        return bool((self.reference > 0).any(axis=1).all())

    def restrict(self, rows: np.ndarray, classes: np.ndarray) -> WeightPairs:
        """Returns the weights of some rows: each class has the share that it had, and shares again sum to 1.

        A class that is left on one side only counts on neither. A pair of which nothing is left has no weights.

        Args:
            rows: which are left, bool `[rows]`.
            classes: each row's class, int `[rows]`, of the same share on both sides.
        """
        if rows.all():
            return self
        found, codes = np.unique(classes, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(found)))
        left = [np.where(rows, weights, 0) for weights in (self.reference, self.candidate)]
        was, *shares = (np.add.reduceat(weights[:, order], starts, axis=1) for weights in (self.reference, *left))
        mix = np.where((shares[0] > 0) & (shares[1] > 0), was, 0)
        mix /= np.maximum(mix.sum(axis=1, keepdims=True), _TINY)
        return WeightPairs(
            *(
                weights[:, rows] * (mix / np.maximum(share, _TINY))[:, codes[rows]]
                for weights, share in zip(left, shares, strict=True)
            )
        )


@dataclass(frozen=True)
class Measured:
    """A metric of each pair of weightings: effect and statistic, float `[pairs]`."""

    effect: np.ndarray
    statistic: np.ndarray


def shared_classes(reference: np.ndarray, candidate: np.ndarray, least: int) -> np.ndarray:
    """Returns the classes, sorted, with at least `least` rows on both sides.

    Args:
        reference: each row's class, int `[rows]`.
        candidate: the same.
        least: number of rows.
    """
    found, counts = np.unique(reference, return_counts=True)
    others, other_counts = np.unique(candidate, return_counts=True)
    return np.intersect1d(found[counts >= least], others[other_counts >= least])


def class_matched_weights(classes: np.ndarray, candidate: np.ndarray) -> WeightPairs:
    """Returns the one pair of weightings that compares some rows with the others, at the others' class mix.

    Args:
        classes: each row's class, int `[rows]`; each class has rows on both sides.
        candidate: whether a row is the candidate's, bool `[rows]`.
    """
    _, codes = np.unique(classes, return_inverse=True)
    of_reference, of_candidate = np.bincount(codes[~candidate]), np.bincount(codes[candidate])
    mix = of_reference / of_reference.sum()
    return WeightPairs(
        np.where(candidate, 0, (mix / of_reference)[codes])[None],
        np.where(candidate, (mix / of_candidate)[codes], 0)[None],
    )


def halves(classes: np.ndarray, pairs: int, rng: np.random.Generator) -> WeightPairs:
    """Returns `pairs` random halves of the rows against the other halves, each class halved; float32, to be quick.

    Args:
        classes: each row's class, int `[rows]`; each class has two rows or more.
        pairs: how many.
        rng: the source of chance.
    """
    chosen = np.zeros((pairs, len(classes)), bool)
    share, other_share = np.zeros((2, len(classes)), np.float32)
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        first = len(rows) // 2
        chosen[:, rows] = rng.permuted(np.tile(np.arange(len(rows)) < first, (pairs, 1)), axis=1)
        mix = len(rows) / len(classes)
        share[rows], other_share[rows] = mix / first, mix / (len(rows) - first)
    return WeightPairs(chosen * share, ~chosen * other_share)


def measure(rows: Rows, weights: WeightPairs, metrics: Iterable[str]) -> dict[str, Measured]:
    """Returns `metrics` of each pair of weightings; without those that too few rows have for one of the pairs.

    Args:
        rows: what is compared.
        weights: of these rows.
        metrics: names in TOPICS.
    """
    wanted = set(metrics)
    found: dict[str, Measured] = {}
    if wanted & {"grid", "grid_rank", "cells"} and (present := known(rows, weights, "grid")):
        found |= _measure_grid(*present)
    if "signed_cells" in wanted and known(rows, weights, "signed_grid"):
        found["signed_cells"] = _most(cell_statistics(rows, weights, "signed_cells"))
    if "channel_share" in wanted and (present := known(rows, weights, "channel_share")):
        found["channel_share"] = _divergence(_Means.of(*present), present.weights)
    for name in wanted.intersection(SCALARS):
        if present := known(rows, weights, name):
            found[name] = _measure_scalar(*present)
    return {name: found[name] for name in TOPICS if name in found and name in wanted}


class Known(NamedTuple):
    """The rows that have a vector or a number: its values `[rows, …]`, their classes, and their weights."""

    values: np.ndarray
    classes: np.ndarray
    weights: WeightPairs


def known(rows: Rows, weights: WeightPairs, name: str) -> Known | None:
    """Returns the rows that have a vector or a number, or None if a pair of weightings has none of a class left.

    Args:
        rows: what is compared.
        weights: of these rows.
        name: in VECTORS or SCALARS.
    """
    values = rows.vectors[name] if name in VECTORS else rows.scalars[name]
    present = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    restricted = weights.restrict(present, rows.classes)
    if not restricted.is_complete:
        return None
    return Known(values[present], rows.classes[present], restricted)


def cell_statistics(rows: Rows, weights: WeightPairs, metric: str) -> Measured:
    """Returns the change of each cell in each pair, float `[pairs, cells]`: signed effect, and statistic.

    Args:
        rows: what is compared, some of which have the grid on both sides.
        weights: of these rows.
        metric: a name in CELLS.

    Raises:
        ValueError: a pair of weightings has no such rows.
    """
    present = known(rows, weights, CELLS[metric])
    if present is None:
        raise ValueError(f"{metric}: no rows of one class have a {CELLS[metric]} on both sides")
    return _cells(_Means.of(*present), present.weights, in_spreads=metric == "signed_cells")


@dataclass(frozen=True)
class _Means:
    """Means on both sides, and the reference's variance within classes, `[pairs, elements]` each."""

    reference: np.ndarray
    candidate: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, classes: np.ndarray, weights: WeightPairs) -> _Means:
        variance = weights.reference @ _centered(values, classes) ** 2
        return cls(weights.reference @ values, weights.candidate @ values, variance)


def _measure_grid(values: np.ndarray, classes: np.ndarray, weights: WeightPairs) -> dict[str, Measured]:
    means = _Means.of(values, classes, weights)
    rank = 1 - ndcg(means.reference, means.candidate)
    return {
        "grid": _divergence(means, weights),
        "grid_rank": Measured(rank, rank / weights.noise),
        "cells": _most(_cells(means, weights)),
    }


def _most(cells: Measured) -> Measured:
    """Returns the change of the cell that changed most."""
    most = cells.statistic.argmax(axis=1)[:, None]
    return Measured(*(np.take_along_axis(part, most, axis=1)[:, 0] for part in (np.abs(cells.effect), cells.statistic)))


def _divergence(means: _Means, weights: WeightPairs) -> Measured:
    """Compares with what sampling leads to expect: Σ variance · noise / 8 mean, to the second order."""
    distance = jensen_shannon(means.reference, means.candidate)
    middle = np.maximum((means.reference + means.candidate) / 2, _TINY)
    expected = (means.variance / middle).sum(axis=1) * weights.noise / (8 * np.log(2))
    return Measured(distance, distance / np.sqrt(np.maximum(expected, _TINY)))


def _cells(means: _Means, weights: WeightPairs, in_spreads: bool = False) -> Measured:
    """Returns the change of each cell: the effect as it is, or in standard deviations of a row."""
    change = means.candidate - means.reference
    variance = np.maximum(means.variance, np.median(means.variance, axis=1, keepdims=True))
    effect = change / np.sqrt(np.maximum(variance, _TINY)) if in_spreads else change
    return Measured(effect, np.abs(change) / np.sqrt(np.maximum(variance * weights.noise[:, None], _TINY)))


def _measure_scalar(values: np.ndarray, classes: np.ndarray, weights: WeightPairs) -> Measured:
    variance = weights.reference @ _centered(values, classes) ** 2
    spread = np.maximum(np.sqrt(variance), max(_LEAST_SPREAD * np.abs(values).max(initial=0), _TINY))
    effect = wasserstein(values, weights.difference) / spread
    return Measured(effect, effect / np.sqrt(weights.noise))


def _centered(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns `values` `[rows, …]` less the mean of their class."""
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(values[np.argsort(codes, kind="stable")], starts, axis=0, dtype=np.float64)
    return values - (sums.T / counts).T.astype(values.dtype)[codes]
