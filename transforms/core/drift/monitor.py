"""Night after night: has something begun that neither the references nor the nights since show?

A comparison of one night has one night's evidence. Here evidence adds up, and the rate of false alarms is fixed in
advance, for as long as nights come.

**A night's evidence.** A statistic is a slice, a place, a side and a level; its value x is how many of tonight's n
pictures lie beyond. An *e-value* weighs two predictions of x, both made before the night: that of a change, p1, over
that of no change, p0. Without a change its mean is 1, so it reaches 1,000 in at most one of 1,000 nights.

- p0 is negative binomial. A statistic's rate of pictures has a Gamma distribution: the one that fits all slices and
  places of its level (empirical Bayes), updated with the statistic's own counts, those of the references and of all
  nights since the last reset. Rates also differ from night to night, by a spread that is measured on the same nights.
  The fitted Gamma's evidence never outweighs the statistic's own, and its shape is at least SHAPE: a place where
  nothing was ever seen is not taken to be impossible, although the average such place is quieter.
- p1 is p0 with additional pictures: their number has a Poisson distribution with a mean of 0.5 to 20 % of n, a
  mixture of SHARES. Levels are not mixed: each has a sum of its own, so that the best one counts every night.

**Adding up.** R_t = (1 + R_{t−1}) · e_t is the Shiryaev-Roberts sum (Shiryaev 1963, Roberts 1966): the evidence for a
change that began in any of the nights so far. Without a change R_t − t is a martingale, and so is the average over all
statistics, however they depend on each other. An alarm is raised in the night T in which that average reaches a
threshold A: A ≤ E[average] ≤ E[T], so the mean time to a false alarm is at least A nights (Pollak 1987; with e-values,
Shin, Ramdas and Rinaldo 2023). The average has paid for the number of statistics; nothing else is adjusted for it.

**What the guarantee assumes.** The rates are spread over slices and places as the fitted Gamma says, or less
unfavorably; and given a rate, nights are exchangeable: tonight's pictures come from where those of the references and
of the nights since the last reset came from, and are independent but for the spread between nights. Pictures that come
again, and a mix that changes within a class, break that; `benchmarks.years` measures what it costs.

Arrays may have leading axes: many histories are then carried on together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import gammaln, pdtr

from transforms.core.drift.evidence import Tally

NIGHTS = 7
"""References and nights that are needed before sums begin: a week, one of each weekday."""

NIGHTS_PER_YEAR = 365

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Of a slice's rows: how many additional pictures a change may bring beyond a level."""

SHAPE = 0.5
"""The least shape of the Gamma distribution of rates, that of Jeffreys' prior."""

SPREAD = 0.05
"""Squared relative spread of rates between nights that is assumed as long as no night is known: 22 %."""

_SPREADS = (0.005, 2.0)
_TINY = 1e-30
_OUTLIER = 9.0  # squared deviations count up to 3 standard deviations: a change must not widen the spread at once
_LARGEST_E = 1e30  # the product of two stays finite in any float; smaller only errs to the safe side
_DENSE = 8  # numbers of extra pictures that are told apart one by one; larger ones in steps
_STEP = 1.15


@dataclass(frozen=True)
class Rates:
    """The Gamma distribution of rates over all slices and places of a level.

    Attributes:
        shape: `[…, levels]`.
        rows: how many pictures' worth of evidence it stands for, `[…, levels]`: shape / rows is the mean rate.
    """

    shape: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class State:
    """What is known since the last reset.

    Attributes:
        references: the approved references, which every reset returns to.
        reference_nights: how many they are.
        past: the references and all nights since.
        nights: nights since, int `[…]`.
        sums: Shiryaev-Roberts sums, `[…, slices, statistics, levels]`.
        excess: squared deviations of nights beyond what pictures that come independently show, `[…, slices, levels]`.
        squares: squared predictions, `[…, slices, levels]`: excess / squares is the squared relative spread.
    """

    references: Tally
    reference_nights: int
    past: Tally
    nights: np.ndarray
    sums: np.ndarray
    excess: np.ndarray
    squares: np.ndarray

    @property
    def calibrating(self) -> np.ndarray:
        """Whether the next night only counts as one more to compare with, bool `[…]`."""
        return self.reference_nights + self.nights < NIGHTS

    @property
    def average(self) -> np.ndarray:
        """The average of all sums, float `[…]`."""
        return self.sums.mean(axis=(-3, -2, -1))


@dataclass(frozen=True)
class Prediction:
    """The negative binomial distribution of tonight's counts if nothing has changed.

    Its size is 1 / (1 / shape + spread): the variance of a count is mean + mean² / size.

    Attributes:
        mean: `[…, slices, statistics, levels]`.
        shape: of the rate's own Gamma distribution, the same axes: a rate that is known well has a large one.
        spread: squared relative spread of rates between nights, `[…, slices, 1, levels]`.
    """

    mean: np.ndarray
    shape: np.ndarray
    spread: np.ndarray


def threshold(false_alarms_per_year: float) -> float:
    """Returns the average sum at which an alarm is raised, in nights.

    >>> threshold(1)
    365.0
    """
    return NIGHTS_PER_YEAR / false_alarms_per_year


def start(references: Tally, reference_nights: int) -> State:
    """Returns the state right after a reset.

    Args:
        references: the counts of all approved references together.
        reference_nights: how many references they are of.
    """
    *leading, slices, _, levels = references.counts.shape
    none = np.zeros((*leading, slices, levels))
    sums, nights = np.zeros(references.counts.shape), np.zeros(leading, np.int64)
    return State(references, reference_nights, references, nights, sums, none, none)


def advance(state: State, night: Tally) -> State:
    """Returns the state after one more night: the sums first, then what the next night is compared with.

    Slices without rows tonight keep their sums.
    """
    predicted = predict(state, night.rows)
    watching = ~state.calibrating[..., None] & (night.rows > 0)
    sums = np.where(watching[..., None, None], (1 + state.sums) * e_values(predicted, night), state.sums)
    squared = predicted.mean**2
    variance = predicted.mean + squared / predicted.shape
    deviation = np.minimum((night.counts - predicted.mean) ** 2, _OUTLIER * (variance + 1))
    return replace(
        state,
        past=state.past + night,
        nights=state.nights + 1,
        sums=sums,
        excess=state.excess + _over_statistics(deviation - variance),
        squares=state.squares + _over_statistics(squared),
    )


def restart(state: State, where: np.ndarray) -> State:
    """Returns the state with a reset of the histories `where`, bool `[…]`: only the references remain."""
    fresh = start(state.references, state.reference_nights)

    def chosen(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(where.reshape(where.shape + (1,) * (new.ndim - where.ndim)), new, old)

    past = Tally(chosen(fresh.past.counts, state.past.counts), chosen(fresh.past.rows, state.past.rows))
    names = ("nights", "sums", "excess", "squares")
    arrays: dict[str, Any] = {name: chosen(getattr(fresh, name), getattr(state, name)) for name in names}
    return replace(state, past=past, **arrays)


def widen(state: State, references: Tally) -> State:
    """Returns the state with slices that were not counted before, behind the others; their sums begin at 0.

    Args:
        state: of one history.
        references: of the additional slices.
    """
    extra = start(references, state.reference_nights)
    names = ("sums", "excess", "squares")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(state, name), getattr(extra, name)]) for name in names}
    past, all_references = _joined(state.past, references), _joined(state.references, references)
    return replace(state, references=all_references, past=past, **arrays)


def _joined(one: Tally, other: Tally) -> Tally:
    return Tally(np.concatenate([one.counts, other.counts]), np.concatenate([one.rows, other.rows]))


def predict(state: State, rows: np.ndarray) -> Prediction:
    """Returns the distribution of the counts of a night with `rows` pictures, `[…, slices]`, if nothing has changed."""
    rates = fit_rates(state.past)
    shape = rates.shape[..., None, None, :] + state.past.counts
    known = rates.rows[..., None, None, :] + state.past.rows[..., None, None]
    spread = _spread(state)[..., None, :]
    return Prediction(shape * (rows[..., None, None] / known), shape, spread)


def fit_rates(past: Tally) -> Rates:
    """Returns the Gamma distribution of the rates of each level, by the moments of their counts.

    It stands for no more pictures than the slices have themselves.
    """
    statistics = past.counts.shape[-2]
    rows = past.rows[..., None].astype(float)  # […, slices, 1]
    total = np.maximum(statistics * rows.sum(axis=-2), 1.0)
    counts = _over_statistics(past.counts)  # […, slices, levels]
    rate = (counts.sum(axis=-2) + SHAPE) / total
    usual = rate[..., None, :] * rows
    squares = np.einsum("...tl,...tl->...l", past.counts, past.counts, dtype=float)
    deviation = (squares - 2 * usual * counts + statistics * usual**2).sum(axis=-2)
    square_rows = np.maximum(statistics * (rows**2).sum(axis=-2), 1.0)
    variance = np.maximum((deviation - rate * total) / square_rows, _TINY)
    worth = np.minimum(rate / variance, rows.mean(axis=-2))
    return Rates(np.maximum(rate * worth, SHAPE), worth)


def e_values(predicted: Prediction, night: Tally) -> np.ndarray:
    """Returns p1(x) / p0(x) of each count, `[…, slices, statistics, levels]`.

    Its mean is at most 1 if counts are distributed as `predicted`.
    """
    shape = night.counts.shape
    rows, kind = np.unique(night.rows, return_inverse=True)
    extras, weights = extra_pictures(rows)
    kinds = kind.reshape(night.rows.shape)
    found = np.broadcast_to(weights[:, 0][kinds][..., None, None], shape).copy()
    seen = np.flatnonzero(night.counts)  # of a count of 0, only "no extra picture" is left of the mixture
    counts = night.counts.reshape(-1)[seen]
    seen = seen[np.argsort(-counts, kind="stable")]  # the largest first: those with at least j are then a prefix
    count, rate_shape, mean = (part.reshape(-1)[seen] for part in (night.counts, predicted.shape, predicted.mean))
    spread = np.broadcast_to(predicted.spread, shape).reshape(-1)[seen]
    size = 1 / (1 / rate_shape + spread)
    of = kinds.reshape(-1)[seen // (shape[-1] * shape[-2])]
    found.reshape(-1)[seen] = _mixture(count.astype(float), size, mean / (mean + size), extras, weights, of)
    return found


def extra_pictures(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers of extra pictures, and how likely a change brings each.

    Large numbers share their likelihood with those up to the next one: with fewer hypotheses an e-value remains one.

    Args:
        rows: pictures of a slice tonight, int `[kinds]`.

    Returns:
        Ascending numbers from 0, int `[extras]`; weights `[kinds, extras]`, which sum to 1.
    """
    most = max(1.0, 1.25 * max(SHARES) * float(rows.max(initial=0)))
    steps = _DENSE * _STEP ** np.arange(1, 2 + max(0.0, np.log(most / _DENSE) / np.log(_STEP)))
    extras = np.unique(np.concatenate([np.arange(_DENSE + 1), steps.round()])).astype(np.int64)
    means = np.multiply.outer(rows, SHARES)
    below = pdtr(extras[1:] - 1, means[..., None]).mean(axis=1)
    ends = np.ones((len(rows), 1))
    return extras, np.diff(np.concatenate([0 * ends, below, ends], axis=1), axis=1)


def _mixture(
    count: np.ndarray, size: np.ndarray, odds: np.ndarray, extras: np.ndarray, weights: np.ndarray, kinds: np.ndarray
) -> np.ndarray:
    """Returns Σ_j w_j p0(x − j) / p0(x) over the numbers of extra pictures, `[counts]`.

    That for j + 1 follows from that for j: p0(x − 1) / p0(x) = x / ((size + x − 1) · odds), of a negative binomial.

    Args:
        count: x, `[counts]`, descending, each at least 1.
        size: of p0, `[counts]`.
        odds: of p0, mean / (mean + size), `[counts]`.
        extras: j, from 0, `[extras]`.
        weights: `[kinds, extras]`.
        kinds: which of the weights are a count's, `[counts]`.
    """
    total, ratio = weights[kinds, 0], np.ones(len(count))
    ends = np.searchsorted(-count, -extras, side="right").tolist()
    for number, (last, extra) in enumerate(zip(extras[:-1].tolist(), extras[1:].tolist(), strict=True), start=1):
        end = ends[number]
        if not end:
            break
        x, shape, step = count[:end], size[:end], odds[:end]
        if extra - last == 1:
            ratio[:end] *= (x - last) / ((shape + (x - extra)) * step)
        else:
            ratio[:end] *= np.exp(np.minimum(_log_ratio(x, shape, step, last, extra), np.log(_LARGEST_E)))
        np.minimum(ratio[:end], _LARGEST_E, out=ratio[:end])
        total[:end] += weights[kinds[:end], number] * ratio[:end]
    return np.minimum(total, _LARGEST_E)


def _over_statistics(values: np.ndarray) -> np.ndarray:
    """Returns sums over the statistics, float `[…, slices, levels]`; NumPy's own sum is slow over a short last axis."""
    return np.einsum("...tl->...l", values, dtype=float)


def _log_ratio(count: np.ndarray, size: np.ndarray, odds: np.ndarray, last: int, extra: int) -> np.ndarray:
    """Returns log p0(x − extra) / p0(x − last)."""
    gamma = gammaln(size + count - extra) - gammaln(size + count - last)
    factorial = gammaln(count - last + 1) - gammaln(count - extra + 1)
    return gamma + factorial - (extra - last) * np.log(odds)


def _spread(state: State) -> np.ndarray:
    """Returns the squared relative spread of rates between nights, `[…, slices, levels]`.

    What was assumed weighs as much as NIGHTS nights, or more where the nights' counts are too small to show a spread.
    """
    nights = np.maximum(state.nights, 1)[..., None, None]
    assumed = NIGHTS * np.maximum(state.squares / nights, 1.0)
    spread = (SPREAD * assumed + state.excess) / (assumed + state.squares)
    return np.clip(spread, *_SPREADS)
