"""How well a mean over rows is known: standard errors and 95 % intervals, with and without a control variate.

Rows are taken for independent draws; several rows of one image (targets topK) are not, so that the intervals of slices
that hold these are too narrow.

Sources: Student (1908); quantiles by the expansion of Goldberg and Levine (1946) in Abramowitz and Stegun 26.7.5.
Control variates: Owen, Monte Carlo theory, methods and examples (2013), section 8.9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Moments

_NORMAL = 1.959963984540054
"""Quantile of the normal distribution at .975."""

_FEW = (12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836)
"""Quantiles of Student's t at .975 with 1 to 5 degrees of freedom, where the expansion is off by more than 0.0002."""


@dataclass(frozen=True)
class Estimate:
    """A mean that was estimated.

    Attributes:
        mean: the estimate.
        error: its standard error; None if too few rows tell it.
        freedom: degrees of freedom of the standard error.
    """

    mean: float
    error: float | None
    freedom: int

    @property
    def low(self) -> float | None:
        """The lower end of the 95 % interval; None if there is no standard error."""
        return None if self.error is None else self.mean - student(self.freedom) * self.error

    @property
    def high(self) -> float | None:
        """The upper end."""
        return None if self.error is None else self.mean + student(self.freedom) * self.error


def student(freedom: int) -> float:
    """Returns the quantile at .975 of Student's t, to within 0.0002; arithmetic alone, so that every machine agrees.

    >>> round(student(9), 2)
    2.26
    """
    if freedom <= len(_FEW):
        return _FEW[max(1, freedom) - 1]
    x, n = _NORMAL, float(freedom)
    square = x * x
    first = x * (square + 1) / 4
    second = x * ((5 * square + 16) * square + 3) / 96
    third = x * (((3 * square + 19) * square + 17) * square - 15) / 384
    fourth = x * ((((79 * square + 776) * square + 1482) * square - 1920) * square - 945) / 92160
    return x + (first + (second + (third + fourth / n) / n) / n) / n


def estimates(moments: Moments) -> list[Estimate]:
    """Returns the mean of each element of vectors, whose variance estimates its error."""
    return [estimate(moments.count, mean, std) for mean, std in zip(moments.mean, moments.std, strict=True)]


def estimate(count: int, mean: float, std: float) -> Estimate:
    """Returns the mean of independent rows.

    Args:
        count: of rows, at least 1.
        mean: theirs.
        std: their population standard deviation.
    """
    return Estimate(mean, std / math.sqrt(count - 1) if count > 1 else None, count - 1)


def controlled(joint: JointMoments) -> list[Estimate]:
    """Returns means that are narrowed by a quantity whose expectation is known to be 0.

    The estimate is the mean less its regression on the mean of that quantity, whose slope the same rows tell.

    Args:
        joint: of the vector, and of that quantity, one number a row.
    """
    plain = estimates(joint.one)
    if joint.count < 4 or not joint.other.std[0]:
        return plain
    (control,), (spread,) = joint.other.mean, joint.other.std
    found = []
    for one, std, covariance in zip(plain, joint.one.std, joint.covariance, strict=True):
        slope = covariance / (spread * spread)
        left = max(0.0, std * std - slope * covariance) / (joint.count - 2)
        offset = control / spread
        error = math.sqrt(left * (1 + offset * offset))
        found.append(Estimate(one.mean - slope * control, error, joint.count - 2))
    return found
