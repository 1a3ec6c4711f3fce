"""How far two distributions are apart: the distances that products for drift are known by.

Most take a whole stack of pairs at once, so that hundreds of resamples cost a few matrix operations.

- Jensen-Shannon distance: Endres and Schindelin 2003, with logarithms to base 2, so that it lies in [0, 1].
- nDCG of a ranking: Järvelin and Kekäläinen 2002, as SageMaker Clarify compares feature attributions: the
  reference's attributions are the gains, the candidate's decide the order.
- Population stability index: over the deciles of the reference; 0.1 is called a moderate change, 0.25 a large one.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import rel_entr

_DECILES = np.linspace(0, 1, 11)[1:-1]
_LEAST_SHARE = 1e-4
_ROUNDING = 1e-9  # of sums of shares
_MANY_COLUMNS = 256  # from which on adding row by row is quicker


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns the Jensen-Shannon distance along the last axis, float `[…]` in [0, 1].

    SciPy's first divides by the sums: maps of zeros, which count in a mean, would then be lost, or make it NaN.

    Args:
        p: shares `[…, elements]`, which sum to 1, or are all 0.
        q: the same.
    """
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / (2 * np.log(2))
    return np.sqrt(np.maximum(divergence, 0))


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Returns half the L1 distance along the last axis: the share that would have to move."""
    return np.abs(p - q).sum(axis=-1) / 2


def ndcg(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Returns the nDCG of the candidate's ranking along the last axis: 1 where it ranks as the reference does.

    Args:
        reference: gains `[…, elements]`, none negative.
        candidate: scores `[…, elements]` to rank by; elements of equal score keep their order.
    """
    order = np.argsort(-candidate, axis=-1, kind="stable")
    discounts = 1 / np.log2(np.arange(2, reference.shape[-1] + 2))
    gained = np.take_along_axis(reference, order, axis=-1) @ discounts
    ideal = -np.sort(-reference, axis=-1) @ discounts
    return np.divide(gained, ideal, out=np.ones_like(gained), where=ideal > 0)


def wasserstein(values: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Returns the 1-Wasserstein distance of pairs of distributions over the same values, in their unit.

    Args:
        values: `[rows]`.
        difference: float `[rows, pairs]`, each row's share in the one less that in the other.

    Returns:
        Float `[pairs]`.
    """
    order = np.argsort(values, kind="stable")
    apart = difference[order]
    _add_up(apart)
    return np.diff(values[order]) @ np.abs(apart, out=apart)[:-1]


def _add_up(values: np.ndarray) -> None:
    """Adds to each row of `values` `[rows, columns]` all rows before it, in place."""
    if values.shape[1] < _MANY_COLUMNS:
        np.cumsum(values, axis=0, out=values)
        return
    for before, row in itertools.pairwise(values):  # NumPy goes down each column, from one page to the next
        row += before


def population_stability_index(values: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """Returns the PSI of `q` against `p`, in at most ten bins cut at the deciles of `p`.

    Args:
        values: `[rows]`.
        p: each row's share `[rows]` in the reference; sums to 1.
        q: each row's share in the candidate.
    """
    edges = np.unique(np.quantile(values, _DECILES - _ROUNDING, weights=p, method="inverted_cdf"))
    bins = np.searchsorted(edges, values, side="left")
    expected, found = (np.maximum(np.bincount(bins, share, minlength=len(edges) + 1), _LEAST_SHARE) for share in (p, q))
    return float(np.sum((found - expected) * np.log(found / expected)))
