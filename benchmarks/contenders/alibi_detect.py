"""alibi-detect's tests of two samples, of the signed cells and scalars of each class, and of all classes together.

Columns are standardized by the reference, as alibi-detect's examples do. Thresholds are set by quiet nights, not by
permutations, so that distances need none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from alibi_detect.cd import ClassifierDrift, LSDDDrift, MMDDrift
from sklearn.linear_model import LogisticRegression

from benchmarks.contenders.two_samples import Sample, by_class, serve

MOST = 1000
"""Rows of all classes together that are compared; kernels grow with their square."""

Test = Callable[[np.ndarray, np.ndarray], float]


def mmd(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Returns the squared maximum mean discrepancy of two samples, float32 `[rows, columns]`."""
    found = MMDDrift(reference, backend="tensorflow", n_permutations=1).predict(candidate)
    return float(found["data"]["distance"])


def lsdd(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Returns the least-squares density difference of two samples, float32 `[rows, columns]`."""
    np.random.seed(0)  # by which it chooses the centers of its kernels
    found = LSDDDrift(reference, backend="tensorflow", n_permutations=1).predict(candidate)
    return float(found["data"]["distance"])


def classifier(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Returns how well a logistic regression tells two samples apart out of fold: the negative logarithm of p."""
    detector = ClassifierDrift(
        reference, LogisticRegression(C=0.1, max_iter=200), backend="sklearn", preds_type="probs", n_folds=5, seed=0
    )
    p_value = float(detector.predict(candidate)["data"]["p_val"])
    return -float(np.log10(max(p_value, np.finfo(float).tiny)))


def drift(reference: Sample, candidate: Sample, test: Test) -> np.ndarray:
    """Returns the scores of a test of each class, and of all together, float `[classes + 1]`."""
    before, after = (np.concatenate([each.signed, each.scalars], axis=1) for each in (reference, candidate))
    scores = [
        _compare(before[here], after[there], test) for here, there in by_class(reference.labels, candidate.labels)
    ]
    rng = np.random.default_rng(0)
    some = [rng.permutation(len(each))[:MOST] for each in (before, after)]
    return np.array([*scores, _compare(before[some[0]], after[some[1]], test)])


def _compare(reference: np.ndarray, candidate: np.ndarray, test: Test) -> float:
    center, spread = reference.mean(axis=0), reference.std(axis=0)
    scaled = [((each - center) / np.where(spread > 0, spread, 1)).astype(np.float32) for each in (reference, candidate)]
    return test(*scaled)


if __name__ == "__main__":
    serve({test.__name__: functools.partial(drift, test=test) for test in (mmd, lsdd, classifier)})
