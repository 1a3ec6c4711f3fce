"""Is one more training of a model like the few that are known? p-values from a handful of draws.

A variance from three to eight trainings is a poor one, but there are many numbers: their variances are shrunk towards
each other, and the candidate is judged by a moderated t (Smyth 2004). How often a picture moves far is a count: rates
of cells and slices come from one gamma distribution, so that a new count is negative binomial (Robbins 1956), with
as much more spread as trainings show.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, digamma, polygamma, stdtr

LEAST_TRAININGS = 3
"""Trainings among the references from which it is known how much trainings differ."""

_TINY = 1e-24
_LEAST_VARIANCE = 1e-5
"""Of a variance between trainings, in terms of the median one: so that its logarithm is finite."""

_TOGETHER = 2
"""How many numbers those that draws move together are worth."""

_NORMAL = 1e9
"""Degrees of freedom of a t distribution that is a normal one."""


def moderated_p_values(
    effects: np.ndarray, errors: np.ndarray, one_sided: bool = False, together: bool = False
) -> np.ndarray:
    """Returns the p-value of each effect, if it were one more draw of those that the errors come from.

    Args:
        effects: of the candidate against the mean of all draws, float `[numbers]`; NaN where unknown.
        errors: of each draw against the mean of the others, float `[draws, numbers]`, two draws at least.
        one_sided: whether only an effect above 0 counts.
        together: whether one draw moves many of the numbers together, as a training does the scores of all classes:
            their spread is then known little better than from one number.
    """
    draws = len(errors)
    freedom = draws - 1
    known = np.isfinite(errors).all(axis=0) & np.isfinite(effects)
    p_values = np.ones(len(effects))
    if not known.any():
        return p_values
    variance = (freedom / draws) ** 2 * (errors[:, known] ** 2).sum(axis=0) / freedom
    variance = np.maximum(variance, max(_LEAST_VARIANCE * float(np.median(variance)), _TINY))
    prior_freedom, prior = _prior(variance, freedom)
    shrunk = (prior_freedom * prior + freedom * variance) / (prior_freedom + freedom)
    t = effects[known] / np.sqrt(shrunk * (1 + 1 / draws))
    informed = _TOGETHER if together else known.sum()
    freedom_of_all = min(prior_freedom + freedom, freedom * informed)  # the prior is known from no more
    p_values[known] = stdtr(freedom_of_all, -t) if one_sided else 2 * stdtr(freedom_of_all, -np.abs(t))
    return p_values


def _prior(variance: np.ndarray, freedom: int) -> tuple[float, float]:
    """Returns degrees of freedom and scale of the distribution that variances come from (Smyth 2004, section 6.2)."""
    logs = np.log(variance) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2)) if len(logs) > 1 else 0.0
    if excess <= 0:
        return _NORMAL, float(np.exp(logs.mean()))
    prior_freedom = 2 * _inverse_trigamma(excess)
    return prior_freedom, float(np.exp(logs.mean() + digamma(prior_freedom / 2) - np.log(prior_freedom / 2)))


def _inverse_trigamma(value: float) -> float:
    """Returns y where trigamma(y) is `value` > 0, by Newton's method, which converges from below."""
    found = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, found))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, found))
        found += step
        if abs(step) < 1e-8 * found:
            break
    return found


def count_p_values(counts: np.ndarray, pictures: np.ndarray, usual: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """Returns the p-value of each count, if it came about as those of the trainings did.

    Args:
        counts: of the candidate, int `[numbers]`.
        pictures: among how many, int `[numbers]`, at least 1.
        usual: counts of the trainings, int `[trainings, numbers]`, two trainings at least.
        exposure: among how many, int `[trainings, numbers]`, at least 1.
    """
    total, whole = usual.sum(axis=0), exposure.sum(axis=0)
    rate = (total.sum() + 0.5) / whole.sum()
    own = total / whole * exposure
    spread = ((usual - own) ** 2).sum() / max(own.sum() * (1 - 1 / len(usual)), 1)
    thinned = max(1.0, float(spread))  # how much more a cell's counts vary between trainings than chance does
    total, counts = total / thinned, counts / thinned
    whole, pictures, rate = whole / thinned, pictures / thinned, rate
    excess = ((total - rate * whole) ** 2 - rate * whole).sum() / (whole**2).sum()
    most = max(float(total.sum()), 0.5)  # the prior is known from no more
    shape = min(rate**2 / excess, most) if excess > 0 else most
    share = pictures / (shape / rate + whole + pictures)
    p_values = np.ones(len(counts))
    some = counts > 0
    p_values[some] = betainc(counts[some], (shape + total)[some], share[some])
    return p_values
