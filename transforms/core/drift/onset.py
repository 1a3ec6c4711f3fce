"""Since when the evidence of each statistic has been adding up, and what was counted since: for people, not for alarms.

The most likely first night of a change is the one from which the product of e-values is largest (Page 1954): a product
that has fallen to 1 or below is abandoned for a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.core.drift.evidence import Tally


@dataclass(frozen=True)
class Onset:
    """Sums since each statistic's most likely first night of a change.

    Attributes:
        product: of e-values, `[slices, statistics, levels]`.
        nights: how many nights, the same shape, as all the following.
        pictures: pictures beyond the level.
        rows: pictures looked at.
        expected: pictures beyond the level that were predicted.
    """

    product: np.ndarray
    nights: np.ndarray
    pictures: np.ndarray
    rows: np.ndarray
    expected: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Onset:
        """Returns the value before the first night."""
        return cls(*(np.zeros(shape) for _ in range(5)))

    def advance(self, night: Tally, expected: np.ndarray, e_values: np.ndarray) -> Onset:
        """Returns the value after a night; slices without rows keep theirs."""
        goes_on = self.product > 1
        present = np.broadcast_to(night.rows[:, None, None] > 0, self.product.shape)

        def added(so_far: np.ndarray, tonight: np.ndarray | float) -> np.ndarray:
            return np.where(present, np.where(goes_on, so_far, 0) + tonight, so_far)

        return Onset(
            np.where(present, np.minimum(np.where(goes_on, self.product, 1) * e_values, 1e30), self.product),
            added(self.nights, 1.0),
            added(self.pictures, night.counts),
            added(self.rows, np.broadcast_to(night.rows[:, None, None], self.product.shape)),
            added(self.expected, expected),
        )

    def widened(self, slices: int) -> Onset:
        """Returns the value with further slices behind the others."""
        more = np.zeros((slices, *self.product.shape[1:]))
        parts = (self.product, self.nights, self.pictures, self.rows, self.expected)
        return Onset(*(np.concatenate([part, more]) for part in parts))
