"""What a model looks at over a slice of the rows: exact, mergeable, and recomputable from the stored rows alone.

A slice is a set of rows; its statistics are one value with a zero, a merge and a finish. Whatever the
chunks, workers or order in which the same rows were added, the same bits come out (see `moments`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from transforms.core.record import Row
from transforms.core.statistics.corrected import pooled_bias
from transforms.core.statistics.derived import Biases, Controlled, Corrected, Derived, QuadratureShare
from transforms.core.statistics.moments import Groups, blocks
from transforms.core.statistics.slices import SLICE_COLUMNS, Slice, Slicer, SliceRow, counted_in, is_overflow
from transforms.core.statistics.statistic import (
    Columns,
    ColumnType,
    CompletenessResidual,
    Count,
    PairMoments,
    ReferencePair,
    RelativeDelta,
    ScalarDistribution,
    SecondDifference,
    Statistic,
    VectorMoments,
)
from transforms.core.vocabulary import CELLS, CORRECTED, MAP_SCALARS, REFERENCE, VECTORS

STORED_SCALARS = (
    "score",
    "convergence_delta",
    "error_estimate",
    "steps",
    *MAP_SCALARS,
    "insertion_auc",
    "deletion_auc",
)
"""Columns of rows that hold a number whose distribution is kept."""

_REFERENCES = frozenset(REFERENCE + name for name in CORRECTED)

LABEL_DIFFERENCE = "label_difference"
"""Score − label: its distribution is kept of rows that have it, those of a regression with labels."""

STATISTICS: tuple[Statistic[Any], ...] = (
    Count("count"),
    Count("converged", "converged"),
    *map(VectorMoments, VECTORS),
    *map(ScalarDistribution, STORED_SCALARS),
    RelativeDelta(),
    ScalarDistribution(LABEL_DIFFERENCE, optional=True),
    VectorMoments(CELLS, optional=True),
    CompletenessResidual(),
    SecondDifference(),
    *map(ReferencePair, CORRECTED),
)
"""What is kept of every slice, in the order of the columns."""

DERIVED: tuple[Derived, ...] = (
    Controlled(),
    QuadratureShare(),
    *(Corrected(name, vector=name in (*VECTORS, CELLS)) for name in CORRECTED),
)
"""What follows from STATISTICS, in the order of the columns, which come after theirs."""

CLASS_KINDS = frozenset({"predicted", "target"})
"""Kinds of slices of classes, of which a row is in one at most."""

STATE_VERSION = 4
_SLICES = 1 << 8  # summarized at once: more leave holes in memory, fewer cost time
_SLICER = Slicer()


@functools.cache
def _zero(one: Statistic[Any]) -> Any:
    """Returns the value of no rows, one for all slices: most have no rows for most of the optional statistics."""
    return one.zero()


@dataclass(frozen=True)
class ImportanceStatistics:
    """The statistics of one slice.

    Attributes:
        values: of STATISTICS, by name.
    """

    values: Mapping[str, Any] = field(default_factory=lambda: {one.name: _zero(one) for one in STATISTICS})

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels without names, which all slices share, and without the optional statistics that it does not have."""
        return _of_values, (tuple(self.values[one.name] if self.has(one) else None for one in STATISTICS),)

    @property
    def count(self) -> int:
        """Number of rows."""
        count: int = self.values["count"]
        return count

    def has(self, one: Statistic[Any]) -> bool:
        """Returns whether a statistic is stored; an optional one is if there is a row that has it."""
        return not one.optional or self.values[one.name].count > 0

    @classmethod
    def zero(cls) -> ImportanceStatistics:
        """Returns the statistics of no rows."""
        return cls()

    @classmethod
    def of(cls, rows: Columns) -> ImportanceStatistics:
        """Returns the statistics of all of `rows`.

        Raises:
            ValueError: a grid or a channel share that is known is not finite.
        """
        return summarize_rows(rows, lambda *_: (Slice("all"),)).get(Slice("all"), cls.zero())

    def merge(self, other: ImportanceStatistics) -> ImportanceStatistics:
        """Returns the statistics of the rows of both.

        Raises:
            ValueError: their grids differ in size.
        """
        return ImportanceStatistics(
            {one.name: one.merge(self.values[one.name], other.values[one.name]) for one in STATISTICS}
        )

    def finish(self, optional: Collection[str] | None = None, biases: Biases = MappingProxyType({})) -> Row:
        """Returns one flat row: `statistics_columns`, and `state`.

        Means and standard deviations are correctly rounded float64; those of nothing are None. The
        column `state` holds the statistics themselves, for `from_state`.

        Args:
            optional: the optional statistics whose columns are wanted; by default those that it has.
            biases: over the classes of the run, see `class_biases`.
        """
        row: Row = {}
        wanted = optional_in([self]) if optional is None else optional
        for one in _wanted(wanted):
            row |= one.finish(self.values[one.name])
        for derived in _derived(wanted):
            row |= derived.finish(self.values, biases)
        return row | {"state": self.state()}

    def state(self) -> str:
        """Returns the exact content as JSON, the same text for the same rows."""
        content: dict[str, Any] = {"version": STATE_VERSION}
        for one in STATISTICS:
            if self.has(one):
                section = content.setdefault(one.section, {}) if one.section else content
                section[one.name] = one.state(self.values[one.name])
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_state(cls, text: str) -> ImportanceStatistics:
        """Returns the statistics whose `state()` is `text`.

        Raises:
            ValueError: `text` is not such a state, or one of another version.
        """
        try:
            content = json.loads(text)
            if content["version"] != STATE_VERSION:
                raise ValueError(f"version {content['version']}, where {STATE_VERSION} is known")
            sections = {one: content.get(one.section, {}) if one.section else content for one in STATISTICS}
            sections = {one: found for one, found in sections.items() if not one.optional or one.name in found}
            restored = {one.name: one.restore(section[one.name]) for one, section in sections.items()}
            return cls({**cls().values, **restored})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not the state of importance statistics: {error!r}") from error


def _of_values(values: Sequence[Any]) -> ImportanceStatistics:
    pairs = zip(STATISTICS, values, strict=True)
    return ImportanceStatistics({one.name: _zero(one) if value is None else value for one, value in pairs})


def taken_columns(optional: bool = False) -> tuple[str, ...]:
    """Returns the columns of rows that STATISTICS take, beside SLICE_COLUMNS.

    Args:
        optional: whether those of optional statistics are wanted, too.
    """
    stored = (one for one in STATISTICS if optional or not one.optional)
    return tuple(dict.fromkeys(column for one in stored for column in one.takes))


def optional_in(statistics: Iterable[ImportanceStatistics]) -> frozenset[str]:
    """Returns the names of the optional statistics that some slices have."""
    names = [one for one in STATISTICS if one.optional]
    return frozenset(one.name for each in statistics for one in names if each.has(one))


def statistics_columns(optional: Collection[str] = ()) -> dict[str, ColumnType]:
    """Returns the finished columns of STATISTICS and DERIVED, in order; `finish` returns these and `state`.

    Args:
        optional: names of the optional statistics that there are.
    """
    sources: list[Statistic[Any] | Derived] = [*_wanted(optional), *_derived(optional)]
    return {column: kind for one in sources for column, kind in one.columns.items()}


def class_biases(statistics: Mapping[Slice, ImportanceStatistics]) -> Biases:
    """Returns what the classes of a run show that cheap values lack, for slices with few reference values."""
    classes = [value for key, value in statistics.items() if key.kind in CLASS_KINDS and not is_overflow(key)]
    pairs = (one.name for one in STATISTICS if isinstance(one, PairMoments) and one.name in _REFERENCES)
    return {name: pooled_bias(value.values[name] for value in classes) for name in pairs}


def _wanted(optional: Collection[str]) -> list[Statistic[Any]]:
    return [one for one in STATISTICS if not one.optional or one.name in optional]


def _derived(optional: Collection[str]) -> list[Derived]:
    there = {one.name for one in _wanted(optional)}
    return [one for one in DERIVED if there.issuperset(one.needs)]


def summarize_rows(rows: Columns, slices_of: SliceRow = _SLICER) -> dict[Slice, ImportanceStatistics]:
    """Returns the statistics of every slice of `rows`, sorted by slice.

    Args:
        rows: as stored, so that anyone can recompute the same.
        slices_of: names the slices of a row.

    Raises:
        ValueError: a grid or a channel share that is known is not finite.
    """
    summarized: dict[Slice, ImportanceStatistics] = {}
    add_slices(summarized, iter_slices(rows, slices_of))
    return dict(sorted(summarized.items()))


def iter_slices(rows: Columns, slices_of: SliceRow = _SLICER) -> Iterator[tuple[Slice, ImportanceStatistics]]:
    """Yields the statistics of slices of `rows`, of some slices in parts; only some hundreds of them exist at a time.

    Args:
        rows: as `summarize_rows` takes them.
        slices_of: names the slices of a row.

    Raises:
        ValueError: a grid or a channel share that is known is not finite.
    """
    for block in blocks(len(rows["target"])):
        yield from _summarize_block({name: column[block] for name, column in rows.items()}, slices_of)


def add_slices(total: dict[Slice, ImportanceStatistics], parts: Iterable[tuple[Slice, ImportanceStatistics]]) -> None:
    """Adds statistics to `total` in place, slice by slice: thousands of slices are too large to be held twice."""
    for key, statistics in parts:
        total[key] = total[key].merge(statistics) if key in total else statistics


def fold_slices(
    statistics: Iterable[tuple[Slice, ImportanceStatistics]], kept: Collection[Slice]
) -> dict[Slice, ImportanceStatistics]:
    """Returns the statistics of `kept` slices, and of all others of a kind together; only these exist at once."""
    folded: dict[Slice, ImportanceStatistics] = {}
    add_slices(folded, ((counted_in(key, kept), value) for key, value in statistics))
    return folded


def _summarize_block(rows: Columns, slices_of: SliceRow) -> Iterator[tuple[Slice, ImportanceStatistics]]:
    members: dict[Slice, list[int]] = {}
    for position, values in enumerate(zip(*(rows[name] for name in SLICE_COLUMNS), strict=True)):
        for key in slices_of(*values):
            members.setdefault(key, []).append(position)
    keys = list(members)
    for start in range(0, len(keys), _SLICES):
        yield from _summarize_groups(rows, {key: members[key] for key in keys[start : start + _SLICES]})


def _summarize_groups(
    rows: Columns, members: Mapping[Slice, list[int]]
) -> Iterator[tuple[Slice, ImportanceStatistics]]:
    groups = Groups.of(list(members.values()))
    kinds = [key.kind for key in members]
    values = {
        one.name: [_zero(one)] * len(members)
        if one.optional and not rows.keys() >= {*one.takes}
        else one.grouped(rows, groups, kinds)
        for one in STATISTICS
    }
    for group, key in enumerate(members):
        yield key, ImportanceStatistics({name: of_groups[group] for name, of_groups in values.items()})
