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
from transforms.core.statistics.interval import Estimate, estimate, estimates
from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Distribution, Groups, Moments
from transforms.core.statistics.slices import FINE_KINDS
from transforms.core.vocabulary import REFERENCE, REFERENCE_EXTRA

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
        optional: whether it is kept only of rows that have those columns, and values in them.
    """

    section = ""
    takes: tuple[str, ...]

    def __init__(self, name: str, *takes: str, optional: bool = False) -> None:
        """Takes the column of its name, unless others are given."""
        self.name = name
        self.takes = takes or (name,)
        self.optional = optional

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, ColumnType]:
        """The finished columns, in order."""

    @abstractmethod
    def zero(self) -> V:
        """Returns the value of no rows."""

    @abstractmethod
    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[V]:
        """Returns the value of each group's rows.

        Args:
            rows: at most a block of rows; see `blocks`.
            groups: of these rows.
            kinds: of the slice that each group belongs to.
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

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[int]:
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


INTERVAL = ("se", "low95", "high95")
"""What stands beside each mean: its standard error and its 95 % interval."""


def interval_columns(name: str, found: Sequence[Estimate | None] | None, mean: str = "") -> Row:
    """Returns the columns INTERVAL of the means of a vector; None for those of nothing.

    Args:
        name: of the vector.
        found: the mean of each element; None if there is no mean.
        mean: what the column of the means themselves is called, if that is wanted too.
    """
    parts = {"se": "error", "low95": "low", "high95": "high"} | ({mean: "mean"} if mean else {})
    return {
        f"{word}_{name}": None if found is None else [each and getattr(each, part) for each in found]
        for word, part in parts.items()
    }


class VectorMoments(_Merging[Moments]):
    """Mean and standard deviation of a vector, element by element, over the rows that have it."""

    section = "vectors"

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`mean_…` and `std_…`, correctly rounded, and those of INTERVAL."""
        return {f"{word}_{self.name}": "numbers" for word in ("mean", "std", *INTERVAL)}

    def zero(self) -> Moments:
        """Returns the moments of no vectors."""
        return Moments()

    def vectors(self, rows: Columns) -> np.ndarray:
        """Returns the vectors, float `[rows, elements]`; NaN in every element for none."""
        vectors: np.ndarray = rows[self.takes[0]]
        return vectors

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[Moments]:
        """Returns the moments of each group's vectors.

        Raises:
            ValueError: one that is known is not finite.
        """
        return Moments.grouped(self.vectors(rows), groups)

    def finish(self, value: Moments) -> Row:
        """Returns the columns; None for those of nothing."""
        known = value.count > 0
        means = {f"mean_{self.name}": value.mean if known else None, f"std_{self.name}": value.std if known else None}
        return means | interval_columns(self.name, estimates(value) if known else None)

    def state(self, value: Moments) -> Any:
        """Returns the count and the sums."""
        return _state_of(value)

    def restore(self, state: Any) -> Moments:
        """Returns the moments that had them."""
        return _moments_of(state)


class PairMoments(_Merging[JointMoments]):
    """How two quantities of the rows that have both vary together; other columns are derived from it."""

    section = "pairs"

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`count_…`: how many rows have both."""
        return {f"count_{self.name}": "integer"}

    def zero(self) -> JointMoments:
        """Returns the joint moments of no rows."""
        return JointMoments()

    def pairs(self, rows: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Returns both, float `[rows, elements]`, of the second perhaps one element; NaN in every element for none."""
        one, other = (np.asarray(rows[column]) for column in self.takes)
        return one.reshape(len(one), -1), other.reshape(len(other), -1)

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[JointMoments]:
        """Returns the joint moments of each group's rows.

        Raises:
            ValueError: one that is known is not finite.
        """
        return JointMoments.grouped(*self.pairs(rows), groups)

    def finish(self, value: JointMoments) -> Row:
        """Returns the count."""
        return {f"count_{self.name}": value.count}

    def state(self, value: JointMoments) -> Any:
        """Returns both moments and the sums of products."""
        return {"one": _state_of(value.one), "other": _state_of(value.other), "products": value.sums}

    def restore(self, state: Any) -> JointMoments:
        """Returns the joint moments that had them."""
        parts = _moments_of(state["one"]), _moments_of(state["other"])
        return JointMoments.of(*parts, list(map(int, state["products"])))


class ReferencePair(PairMoments):
    """What an accurate map of some rows has beside that of few steps.

    More pictures of small classes have one: those of a label are still drawn alike, but in other slices these rows
    would count too much, and are left out.
    """

    def __init__(self, name: str) -> None:
        """Takes the column of that name, of both maps."""
        super().__init__(REFERENCE + name, REFERENCE + name, name, REFERENCE_EXTRA, optional=True)

    def pairs(self, rows: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Returns both of all rows."""
        one, other, _ = (np.asarray(rows[column]) for column in self.takes)
        return one.reshape(len(one), -1), other.reshape(len(other), -1)

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[JointMoments]:
        """Returns the joint moments of each group's rows."""
        one, other = self.pairs(rows)
        extra = np.asarray(rows[self.takes[2]], bool)
        alike = JointMoments.grouped(np.where(extra[:, None], np.nan, one), other, groups)
        if not extra.any() or "label" not in kinds:
            return alike
        every = JointMoments.grouped(one, other, groups)
        return [every[group] if kind == "label" else alike[group] for group, kind in enumerate(kinds)]


class CompletenessResidual(PairMoments):
    """How cells vary with the convergence delta, in rows whose rule makes its expectation 0: those of rule shifted."""

    def __init__(self) -> None:
        """Takes them, and the error estimate, which only these rows lack."""
        super().__init__("residual_cells", "cells", "convergence_delta", "error_estimate", optional=True)

    def pairs(self, rows: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Returns the cells, and the delta where it is such a residual."""
        cells, delta, estimated = (np.asarray(rows[column]) for column in self.takes)
        return cells, np.where(np.isnan(estimated), delta, np.nan)[:, None]


class SecondDifference(VectorMoments):
    """What cells differ by from those of a second, independent shift; its square tells the variance of quadrature."""

    def __init__(self) -> None:
        """Takes both."""
        super().__init__("second_cells", "cells", "second_cells", optional=True)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`count_…`: how many rows have a second one."""
        return {f"count_{self.name}": "integer"}

    def vectors(self, rows: Columns) -> np.ndarray:
        """Returns the differences of those that have both."""
        one, other = (np.asarray(rows[column], np.float64) for column in self.takes)
        return one - other

    def finish(self, value: Moments) -> Row:
        """Returns the count."""
        return {f"count_{self.name}": value.count}


class ScalarDistribution(_Merging[Distribution]):
    """Moments, range, quantiles and histogram of a number, over the rows that have it."""

    section = "scalars"

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """`count_…`, `mean_…`, `std_…`, of INTERVAL, `min_…`, `max_…`, of each of QUANTILES, and `histogram_…`."""
        numbers: dict[str, ColumnType] = {
            f"{word}_{self.name}": "number" for word in ("mean", "std", *INTERVAL, "min", "max", *QUANTILES)
        }
        return {f"count_{self.name}": "integer", **numbers, f"histogram_{self.name}": "histogram"}

    def zero(self) -> Distribution:
        """Returns the distribution of no numbers."""
        return Distribution()

    def numbers(self, rows: Columns) -> np.ndarray:
        """Returns the numbers, float32 `[rows]`; those that are not finite are left out."""
        return np.asarray(rows[self.takes[0]], np.float32)

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[Distribution]:
        """Returns the distribution of each group's numbers."""
        return Distribution.grouped(
            self.numbers(rows), groups, [FINE if kind in FINE_KINDS else COARSE for kind in kinds]
        )

    def finish(self, value: Distribution) -> Row:
        """Returns the columns; None for what nothing has."""
        quantiles = zip(QUANTILES, value.quantiles(list(QUANTILES.values())), strict=True)
        mean, std = value.mean, value.std
        known = None if mean is None or std is None else estimate(value.count, mean, std)
        found = {
            "count": value.count,
            "mean": mean,
            "std": std,
            "se": known and known.error,
            "low95": known and known.low,
            "high95": known and known.high,
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
        """Takes all three."""
        super().__init__("relative_delta", "convergence_delta", "score", "baseline_score")

    def numbers(self, rows: Columns) -> np.ndarray:
        """Returns the ratio; infinite or NaN where the scores are equal."""
        delta, score, baseline_score = (np.asarray(rows[column], np.float64) for column in self.takes)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.abs(delta / (score - baseline_score)).astype(np.float32)


def _state_of(value: Moments) -> Any:
    return {"count": value.count, "sums": value.sums, "squares": value.squares}


def _moments_of(state: Any) -> Moments:
    return Moments.of(int(state["count"]), list(map(int, state["sums"])), list(map(int, state["squares"])))
