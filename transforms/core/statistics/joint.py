"""Exact moments of pairs of vectors: how two quantities of the same rows vary together, in any order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from transforms.core.statistics.moments import Groups, Moments
from transforms.core.statistics.words import (
    FRACTION_BITS,
    add_words,
    group_products,
    integers,
    limbs_of,
    shrunk,
    units_of,
    words_of,
)


@dataclass(frozen=True, slots=True)
class JointMoments:
    """Exact moments of two vectors of the rows that have both, and the sums of their products, element by element.

    Attributes:
        one: moments of the first vector.
        other: moments of the second; it has as many elements, or one, which goes with each of the first.
        words: of each sum of products.
        products: int64 `[words, elements]` as bytes, see `words`: sums of products in units of 2**-88.
    """

    one: Moments = field(default_factory=Moments)
    other: Moments = field(default_factory=Moments)
    words: int = 0
    products: bytes = b""

    @classmethod
    def of(cls, one: Moments, other: Moments, products: Sequence[int]) -> JointMoments:
        """Returns the joint moments that have these.

        Raises:
            ValueError: there are no such vectors.
        """
        lengths = len(one.sums), len(other.sums)
        if one.count != other.count or len(products) != lengths[0] or lengths[1] not in (1, lengths[0]):
            raise ValueError(f"products of {len(products)} elements, of vectors of {lengths[0]} and {lengths[1]}")
        return cls._packed(one, other, words_of(products)) if one.count else cls()

    @classmethod
    def grouped(cls, one: np.ndarray, other: np.ndarray, groups: Groups) -> list[JointMoments]:
        """Returns the joint moments of each group's rows; those that lack either vector are left out.

        Args:
            one: float `[rows, elements]`, at most a block of rows; NaN in every element of an unknown vector.
            other: float `[rows, elements]` or `[rows, 1]`, likewise.
            groups: of rows.

        Raises:
            ValueError: a value of a known vector is not finite.
        """
        known = ~(np.isnan(one).all(axis=1) | np.isnan(other).all(axis=1))
        if not known.any():
            return [cls()] * len(groups.starts)
        one, other = (np.where(known[:, None], values, np.nan) for values in (one, other))
        limbs = [limbs_of(units_of(np.nan_to_num(values, nan=0.0, posinf=np.inf))) for values in (one, other)]
        products = group_products(limbs[0], limbs[1], groups.add)
        parts = zip(Moments.grouped(one, groups), Moments.grouped(other, groups), products, strict=True)
        return [cls._packed(*part) if part[0].count else cls() for part in parts]

    @property
    def count(self) -> int:
        """Number of rows that have both vectors."""
        return self.one.count

    def merge(self, other: JointMoments) -> JointMoments:
        """Returns the joint moments of the rows of both.

        Raises:
            ValueError: their vectors differ in length.
        """
        if not self.count or not other.count:
            return self if self.count else other
        merged = self.one.merge(other.one), self.other.merge(other.other)
        return self._packed(*merged, add_words(self._products(), other._products()))

    @property
    def sums(self) -> list[int]:
        """The sum of the products of each element, in units of 2**-88; empty when nothing was counted."""
        return integers(self._products()) if self.count else []

    @property
    def covariance(self) -> list[float]:
        """The population covariance of each element of the first vector with that of the second."""
        count, other = self.count, self.other.sums
        pairs = zip(self.one.sums, other * (len(self.one.sums) // max(1, len(other))), self.sums, strict=True)
        return [(count * sum - one * two) / (count * count << 2 * FRACTION_BITS) for one, two, sum in pairs]

    @classmethod
    def _packed(cls, one: Moments, other: Moments, products: np.ndarray) -> JointMoments:
        products = shrunk(products)
        return cls(one, other, products.shape[-2], products.tobytes())

    def _products(self) -> np.ndarray:
        return np.frombuffer(self.products, np.int64).reshape(self.words, -1)
