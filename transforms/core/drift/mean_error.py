"""Standard errors of means of rows that are weighted by class, as both sides of a comparison are."""

from __future__ import annotations

import numpy as np

from transforms.core.drift.contrast import Known

NORMAL = 1.96
"""Standard errors on either side of a mean that a 95 % interval has."""


def standard_errors(present: Known) -> tuple[np.ndarray, np.ndarray]:
    """Returns the standard errors of the means of the reference and of the candidate, float64 `[elements]` each.

    Rows are independent draws within their class, whose share is given; a class of a single row on a side adds nothing.

    Args:
        present: rows `[rows]` or `[rows, elements]`, with one pair of weightings.
    """
    reference, candidate = present.weights.reference[0], present.weights.candidate[0]
    return _errors(present, reference), _errors(present, candidate)


def _errors(present: Known, weights: np.ndarray) -> np.ndarray:
    on_side = weights > 0
    values = np.asarray(present.values[on_side], np.float64).reshape(on_side.sum(), -1)
    _, codes, counts = np.unique(present.classes[on_side], return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, codes, values)
    means /= counts[:, None]
    correction = counts / np.maximum(counts - 1, 1)
    squares = (values - means[codes]) ** 2 * (weights[on_side] ** 2 * correction[codes])[:, None]
    return np.asarray(np.sqrt(squares.sum(axis=0)))
