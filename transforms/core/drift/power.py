"""Power: which change would have been noticed?

A share of a class's pictures is thought to put a part of their attention into one place: each picture's signed cells
shrink by that part, which is added to one cell. How many of the reference's own pictures would then lie beyond each
level of that cell is counted, and how many it takes to be a change follows from its rates; the outcome is averaged over
all cells. So the power stated is that of the very test that `tails` makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, betainc

from transforms.core.drift.tails import LEVELS, Rates, TailLimits, Units

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Of a class's pictures, from which the least that is noticed is taken."""

STATED_SHARE, STATED_PART = 0.02, 0.25
"""The change whose power is stated for each class."""

SURE = 0.9
"""The probability with which the least share is noticed."""


@dataclass(frozen=True)
class Power:
    """Which change of a class would have been noticed; the fields are those of audit.json.

    Attributes:
        share: so many of the class's pictures, namely STATED_SHARE, put
        part: so much of their attention, namely STATED_PART, into one cell.
        noticed: the probability that this would have been noticed, averaged over cells.
        least_share: the least of SHARES that is noticed with probability SURE; None if none is.
    """

    share: float
    part: float
    noticed: float
    least_share: float | None


@dataclass(frozen=True)
class ClassTest:
    """The test of one class's tails.

    Attributes:
        signed: signed cells of some of the reference's pictures, float32 `[pictures, cells]`.
        units: of the class.
        rates: of all classes.
        number: of the class among them.
        rows: the candidate's pictures of the class.
        tests: how many p-values the comparison has.
        limits: when it is a change.
    """

    signed: np.ndarray
    units: Units
    rates: Rates
    number: int
    rows: int
    tests: int
    limits: TailLimits

    def power(self) -> Power:
        """Returns the power of the test."""
        noticed = self.noticed(STATED_PART, SHARES)
        sure = [share for share, found in zip(SHARES, noticed, strict=True) if found >= SURE]
        return Power(STATED_SHARE, STATED_PART, float(noticed[SHARES.index(STATED_SHARE)]), min(sure, default=None))

    def noticed(self, part: float, shares: Sequence[float]) -> np.ndarray:
        """Returns the probability that a change is noticed, averaged over cells, float64 `[shares]`.

        Args:
            part: of a picture's attention that is put into a cell.
            shares: of the class's pictures that do it.
        """
        cells = self.signed.shape[1]
        away = ((1 - part) * self.signed + part - self.units.median[:cells]) / self.units.spread[:cells]
        reached = np.stack([(away > level).mean(axis=0) for level in LEVELS], axis=-1)
        needed, usual = self._needed(cells), self._usual(cells)
        found = []
        for share in shares:
            planted = max(1, round(share * self.rows))
            missing = needed - np.rint(usual * (self.rows - planted))  # so many planted pictures have to lie beyond it
            surely = np.where(missing <= 0, 1.0, bdtrc(np.maximum(missing - 1, 0), planted, reached))
            found.append(np.where(missing > planted, 0, surely).max(axis=-1).mean())
        return np.array(found)

    def _usual(self, cells: int) -> np.ndarray:
        usual: np.ndarray = self.rates.shape[self.number, :cells] / self.rates.size[self.number, :cells]
        return usual

    def _needed(self, cells: int) -> np.ndarray:
        """Returns the fewest pictures beyond each level that are a change, `[cells, levels]`, by bisection."""
        shape, size = self.rates.shape[self.number, :cells], self.rates.size[self.number, :cells]
        usual = self._usual(cells)
        share = np.maximum(usual + self.limits.share, self.limits.ratio * usual)
        low = np.maximum(self.limits.pictures, np.ceil(self.rows * share)) - 1
        high = np.maximum(low, self.rows) + 1
        while (high - low > 1).any():
            middle = np.floor((low + high) / 2)
            p_values = betainc(np.maximum(middle, 1), shape, self.rows / (self.rows + size)) * self.tests
            enough = p_values <= self.limits.p_value
            high, low = np.where(enough, middle, high), np.where(enough, low, middle)
        return high
