"""Means of what few steps bias, corrected by the maps to tolerance that a random share of the same rows has.

The cheap value f of every row and the reference value Y of some of them make the estimate `λ · mean of f over the rows
without Y + mean of (Y − λ f) over those with Y`: unbiased for the mean of Y whatever f is, and narrower the closer f is
to Y. λ is the weight that makes it narrowest.

Slices with few reference values borrow the mean of Y − f over all classes; its variance contains how much classes
differ in it.

Sources: A. N. Angelopoulos, J. C. Duchi, T. Zrnic, PPI++: efficient prediction-powered inference, arXiv:2311.01453
(2023), equations 2, 5 and 8. The variance between classes: R. DerSimonian, N. Laird, Meta-analysis in clinical trials
(1986).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transforms.core.statistics.interval import Estimate
from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Distribution, Moments
from transforms.core.statistics.words import FRACTION_BITS

LEAST = 50
"""Reference values with which a slice is corrected by itself."""

_LEAST_CLASSES = 5
_UNIT = 1 << FRACTION_BITS


@dataclass(frozen=True)
class Bias:
    """What cheap values lack to reference values on average over classes.

    Attributes:
        mean: of Y − f.
        variance: of what a class has from it: that of the mean, and that between classes.
        classes: number of classes that tell it.
    """

    mean: float
    variance: float
    classes: int


def corrected(cheap: Moments | Distribution, joint: JointMoments, bias: Sequence[Bias | None]) -> list[Estimate | None]:
    """Returns the corrected mean of each element of a slice; None if too little is known to correct it.

    Args:
        cheap: f of all rows that have it.
        joint: Y and f of the rows that have both.
        bias: of each element, for a slice of fewer than LEAST reference values; None if it is not known.
    """
    elements = _elements(cheap, joint)
    if joint.count >= LEAST:
        return [_powered(each) for each in elements]
    return [None if known is None else _borrowed(each, known) for each, known in zip(elements, bias, strict=True)]


def pooled_bias(classes: Iterable[JointMoments]) -> list[Bias | None]:
    """Returns the bias over classes of each element; None if too few classes or rows tell it.

    Args:
        classes: Y and f of the rows of each class that have both; no row is in two of them.
    """
    told = [joint for joint in classes if joint.count > 1]
    elements = max((len(joint.one.sums) for joint in told), default=0)
    if len(told) < _LEAST_CLASSES or sum(joint.count for joint in told) < LEAST:
        return [None] * elements
    return [_random_effects(differences) for differences in zip(*map(_differences, told), strict=True)]


@dataclass(frozen=True)
class _Element:
    """One element of a slice: counts, means and variances of f and Y; variances are those of samples.

    Attributes:
        count: rows with f and without Y.
        cheap: mean of f over these.
        cheap_variance: of f, over all rows with f.
        known: rows with both.
        reference: mean of Y over these.
        own: mean of f over these.
        reference_variance: of Y over these.
        own_variance: of f over these.
        covariance: of Y and f over these.
    """

    count: int
    cheap: float
    cheap_variance: float
    known: int
    reference: float
    own: float
    reference_variance: float
    own_variance: float
    covariance: float


def _powered(each: _Element) -> Estimate:
    """Returns the prediction-powered estimate of PPI++.

    Its weight takes the variance of f from the rows with Y alone. Where f follows Y closely, covariance and variance
    of the same rows vary together, and their ratio hardly: with the variance of all rows, intervals held 90 to 91 %.
    """
    if not each.count:
        return Estimate(each.reference, math.sqrt(each.reference_variance / each.known), each.known - 1)
    spread = (1 + each.known / each.count) * each.own_variance
    weight = each.covariance / spread if spread else 0.0
    rest = each.reference_variance - 2 * weight * each.covariance + weight * weight * each.own_variance
    offset = (each.cheap - each.own) * (each.cheap - each.own) / each.own_variance if each.own_variance else 0.0
    slope = (each.known - 1) / (each.known - 2) * (1 + offset)  # since the rows with Y tell the weight too
    variance = max(rest, 0.0) * slope / each.known + weight * weight * each.cheap_variance / each.count
    mean = weight * each.cheap + each.reference - weight * each.own
    return Estimate(mean, math.sqrt(variance), each.known - 2)


def _borrowed(each: _Element, bias: Bias) -> Estimate:
    """Returns the mean of f over all rows, moved by the bias over classes."""
    rows = each.count + each.known
    mean = (each.count * each.cheap + each.known * each.own) / rows
    return Estimate(mean + bias.mean, math.sqrt(each.cheap_variance / rows + bias.variance), bias.classes - 1)


def _random_effects(differences: Sequence[tuple[int, float, float]]) -> Bias:
    """Returns the bias over classes.

    Args:
        differences: of each class the number of rows, and mean and sample variance of Y − f.
    """
    rows = sum(count for count, _, _ in differences)
    within = sum((count - 1) * variance for count, _, variance in differences) / (rows - len(differences))
    fixed = sum(count * mean for count, mean, _ in differences) / rows
    scatter = sum(count * (mean - fixed) * (mean - fixed) for count, mean, _ in differences)
    evenness = rows - sum(count * count for count, _, _ in differences) / rows
    between = max(0.0, (scatter - (len(differences) - 1) * within) / evenness)
    weights = [1 / (between + within / count) if between + within else 1.0 for count, _, _ in differences]
    total = sum(weights)
    mean = sum(weight * each[1] for weight, each in zip(weights, differences, strict=True)) / total
    return Bias(mean, between + (1 / total if between + within else 0.0), len(differences))


def _differences(joint: JointMoments) -> list[tuple[int, float, float]]:
    """Returns the count, mean and sample variance of Y − f of each element."""
    count, found = joint.count, []
    others = zip(joint.other.sums, joint.other.squares, strict=True)
    ones = zip(joint.one.sums, joint.one.squares, strict=True)
    for (y, yy), (f, ff), yf in zip(ones, others, joint.sums, strict=True):
        total, square = y - f, yy - 2 * yf + ff
        found.append((count, total / (count * _UNIT), _variance(count, total, square)))
    return found


def _elements(cheap: Moments | Distribution, joint: JointMoments) -> list[_Element]:
    single = isinstance(cheap, Distribution)
    totals = ([cheap.total], [cheap.square]) if isinstance(cheap, Distribution) else (cheap.sums, cheap.squares)
    size = 1 if single else len(totals[0])
    nothing = [0] * size
    one, other = joint.one, joint.other
    parts = (one.sums, one.squares, other.sums, other.squares, joint.sums) if joint.count else (nothing,) * 5
    return [_element(cheap.count, joint.count, *numbers) for numbers in zip(*totals, *parts, strict=True)]


def _element(rows: int, known: int, f: int, ff: int, y: int, yy: int, own: int, own2: int, both: int) -> _Element:
    count = rows - known
    return _Element(
        count=count,
        cheap=(f - own) / (count * _UNIT) if count else 0.0,
        cheap_variance=_variance(rows, f, ff),
        known=known,
        reference=y / (known * _UNIT) if known else 0.0,
        own=own / (known * _UNIT) if known else 0.0,
        reference_variance=_variance(known, y, yy),
        own_variance=_variance(known, own, own2),
        covariance=(known * both - y * own) / (known * (known - 1) * _UNIT * _UNIT) if known > 1 else 0.0,
    )


def _variance(count: int, total: int, square: int) -> float:
    """Returns the sample variance, given exact sums."""
    return (count * square - total * total) / (count * (count - 1) * _UNIT * _UNIT) if count > 1 else 0.0
