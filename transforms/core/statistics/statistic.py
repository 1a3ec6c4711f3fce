"""What is kept of a slice's rows: a statistic is what it takes of them, a value that merges, and columns.

To add one: write a class of this kind, or use one, and name it in `importance.STATISTICS`. The columns of the stored
statistics, their state, merging, finishing and verifying follow from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import numpy as np

from transforms.core.record import Row
from transforms.core.statistics.histogram import COARSE, FINE, Histogram
from transforms.core.statistics.moments import Distribution, Groups, Moments

Columns = Mapping[str, Any]
"""Rows by column: for each that a statistic takes an array `[rows, …]`, NaN where a row has no such vector or number;
lists for SLICE_COLUMNS."""

ColumnType = Literal["integer", "number", "numbers", "histogram"]
"""Of a finished column: an int, a float or None, a list of floats or None, a `Histogram`."""

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


class Mergeable(Protocol):
    """A value of some rows, exact, so that any tree of merges gives the same."""

    def merge(self, other: Self, /) -> Self:
        """Returns the value of the rows of both."""


M = TypeVar("M", bound=Mergeable)
V = TypeVar("V")


class Statistic(ABC, Generic[V]):
    """One statistic of the rows of a slice; its values are of type V.

    Attributes:
        name: tells it apart from all others.
        section: the member of the stored state that its own is in; none if empty.
        takes: columns of rows that it is computed from.
    """

    section = ""
    takes: tuple[str, ...]

    def __init__(self, name: str, *takes: str) -> None:
        """Takes the column of its name, unless others are given."""
        self.name = name
        self.takes = takes or (name,)

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, ColumnType]:
        """The finished columns, in order."""

    @abstractmethod
    def zero(self) -> V:
        """Returns the value of no rows."""

    @abstractmethod
    def grouped(self, rows: Columns, groups: Groups, fine: Sequence[bool]) -> list[V]:
        """Returns the value of each group's rows.

        Args:
            rows: at most a block of rows; see `blocks`.
            groups: of these rows.
            fine: for each group, whether it may take much memory, as few are of its kind.
        """

    @abstractmethod
    def merge(self, one: V, other: V) -> V:
        """Returns the value of the rows of both."""

    @abstractmethod
    def finish(self, value: V) -> Row:
        """Returns the value as `columns`."""

    @abstractmethod
    def state(self, value: V) -> Any:
        """Returns the exact value as JSON takes it."""

    @abstractmethod
    def restore(self, state: Any) -> V:
        """Returns the value whose `state` it is.

        Raises:
            ValueError: there is no such value; likewise KeyError, TypeError, OverflowError.
        """


class Count(Statistic[int]):
    """The number of rows; of those for which a column is true, if it takes one."""

    def __init__(self, name: str, *takes: str) -> None:
        """Takes nothing by itself."""
        super().__init__(name, *takes)
        self.takes = takes

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The count."""
        return {self.name: "integer"}

    def zero(self) -> int:
        """Returns 0."""
        return 0

    def grouped(self, rows: Columns, groups: Groups, fine: Sequence[bool]) -> list[int]:
        """Returns the count of each group."""
        if not self.takes:
            return [int(size) for size in groups.sizes]
        (column,) = self.takes
        return [int(count) for count in groups.add(np.asarray(rows[column], np.int64))]

    def merge(self, one: int, other: int) -> int:
        """Returns the sum."""
        return one + other

    def finish(self, value: int) -> Row:
        """Returns the count as it is."""
        return {self.name: value}

    def state(self, value: int) -> int:
        """Returns the count as it is."""
        return value

    def restore(self, state: Any) -> int:
        """Returns the count as it was."""
        return int(state)


class _Merging(Statistic[M]):
    """A statistic whose values merge by themselves."""

    def merge(self, one: M, other: M) -> M:
        """Returns the value of the rows of both."""
        return one.merge(other)


class VectorMoments(_Merging[Moments]):
    """Mean and standard deviation of a vector, element by element, over the rows that have it."""

    section = "vectors"

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`mean_…` and `std_…`, correctly rounded."""
        return {f"mean_{self.name}": "numbers", f"std_{self.name}": "numbers"}

    def zero(self) -> Moments:
        """Returns the moments of no vectors."""
        return Moments()

    def vectors(self, rows: Columns) -> np.ndarray:
        """Returns the vectors, float `[rows, elements]`, less than 2 in magnitude; NaN in every element for none."""
        vectors: np.ndarray = rows[self.takes[0]]
        return vectors

    def grouped(self, rows: Columns, groups: Groups, fine: Sequence[bool]) -> list[Moments]:
        """Returns the moments of each group's vectors.

        Raises:
            ValueError: one that is known is not finite.
        """
        return Moments.grouped(self.vectors(rows), groups)

    def finish(self, value: Moments) -> Row:
        """Returns `mean_…` and `std_…`; None for those of nothing."""
        known = value.count > 0
        return {f"mean_{self.name}": value.mean if known else None, f"std_{self.name}": value.std if known else None}

    def state(self, value: Moments) -> Any:
        """Returns the count and the sums."""
        return {"count": value.count, "sums": value.sums, "squares": value.squares}

    def restore(self, state: Any) -> Moments:
        """Returns the moments that had them."""
        return Moments.of(int(state["count"]), list(map(int, state["sums"])), list(map(int, state["squares"])))


class ScalarDistribution(_Merging[Distribution]):
    """Moments, range, quantiles and histogram of a number, over the rows that have it."""

    section = "scalars"

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`count_…`, `mean_…`, `std_…`, `min_…`, `max_…`, a column for each of QUANTILES, and `histogram_…`."""
        numbers: dict[str, ColumnType] = {
            f"{word}_{self.name}": "number" for word in ("mean", "std", "min", "max", *QUANTILES)
        }
        return {f"count_{self.name}": "integer", **numbers, f"histogram_{self.name}": "histogram"}

    def zero(self) -> Distribution:
        """Returns the distribution of no numbers."""
        return Distribution()

    def numbers(self, rows: Columns) -> np.ndarray:
        """Returns the numbers, float32 `[rows]`; those that are not finite are left out."""
        return np.asarray(rows[self.takes[0]], np.float32)

    def grouped(self, rows: Columns, groups: Groups, fine: Sequence[bool]) -> list[Distribution]:
        """Returns the distribution of each group's numbers."""
        return Distribution.grouped(self.numbers(rows), groups, [FINE if one else COARSE for one in fine])

    def finish(self, value: Distribution) -> Row:
        """Returns the columns; None for what nothing has."""
        quantiles = zip(QUANTILES, value.quantiles(list(QUANTILES.values())), strict=True)
        found = {
            "count": value.count,
            "mean": value.mean,
            "std": value.std,
            "min": value.low if value.count else None,
            "max": value.high if value.count else None,
            **dict(quantiles),
            "histogram": value.histogram,
        }
        return {f"{word}_{self.name}": number for word, number in found.items()}

    def state(self, value: Distribution) -> Any:
        """Returns its numbers and its histogram."""
        if not value.count:
            return {"count": 0}
        numbers = {name: getattr(value, name) for name in ("count", "total", "square", "low", "high")}
        histogram = value.histogram
        columns = {"buckets": histogram.buckets.tolist(), "counts": histogram.counts.tolist()}
        return {**numbers, "histogram": {"most": histogram.most, "level": histogram.level, **columns}}

    def restore(self, state: Any) -> Distribution:
        """Returns the distribution that had them."""
        if not state["count"]:
            return Distribution()
        count, total, square = (int(state[name]) for name in ("count", "total", "square"))
        low, high = (float(state[name]) + 0.0 for name in ("low", "high"))  # version 0.1.0 wrote −0, too
        histogram = Histogram.of(*(state["histogram"][name] for name in ("most", "level", "buckets", "counts")))
        return Distribution(count, total, square, low, high, histogram)


class RelativeDelta(ScalarDistribution):
    """The distribution of |convergence delta| over |score − baseline score|."""

    def __init__(self) -> None:
        """Takes the three."""
        super().__init__("relative_delta", "convergence_delta", "score", "baseline_score")

    def numbers(self, rows: Columns) -> np.ndarray:
        """Returns the ratio; infinite or NaN where the scores are equal."""
        delta, score, baseline_score = (np.asarray(rows[column], np.float64) for column in self.takes)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.abs(delta / (score - baseline_score)).astype(np.float32)
