"""Evidently's data drift of each column within each class: its tests of single columns, as its presets call them.

A report of all columns takes seconds for its layout alone, so the tests are called directly; tests/external/evidently
checks that a report says the same.
"""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests.registry import get_registered_stattest
from evidently.legacy.core import ColumnType

from benchmarks.contenders.two_samples import Sample, by_class, serve

SMALL = 1000
"""Rows up to which Evidently takes the Kolmogorov-Smirnov test of a numerical column by default, and the normed
Wasserstein distance beyond."""


def drift(reference: Sample, candidate: Sample, name: str) -> np.ndarray:
    """Returns the scores of a test, of each column of each class, float `[classes * columns]`.

    Args:
        reference: rows of a night.
        candidate: rows of a night.
        name: of one of Evidently's tests; empty for the one that it takes by default.
    """
    before, after = (
        np.concatenate([each.signed, each.absolute, each.scalars], axis=1) for each in (reference, candidate)
    )
    scores = []
    for here, there in by_class(reference.labels, candidate.labels):
        test = name or ("ks" if here.sum() <= SMALL else "wasserstein")
        for column in range(before.shape[1]):
            scores.append(score(before[here, column], after[there, column], test))
    return np.array(scores)


def score(reference: np.ndarray, candidate: np.ndarray, name: str) -> float:
    """Returns the score of a test of one column: a distance, or the negative logarithm of a p-value to base 10."""
    if name == "jensenshannon":  # asks for more than an array can
        reference, candidate = pd.Series(reference), pd.Series(candidate)
    test = get_registered_stattest(name, ColumnType.Numerical)
    found = float(test(reference, candidate, ColumnType.Numerical, None).drift_score)
    return -float(np.log10(max(found, np.finfo(float).tiny))) if name == "ks" else found


if __name__ == "__main__":
    names = {"default": "", "wasserstein": "wasserstein", "jensenshannon": "jensenshannon"}
    serve({name: functools.partial(drift, name=test) for name, test in names.items()})
