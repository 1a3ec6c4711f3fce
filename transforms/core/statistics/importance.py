"""What a model looks at over a slice of the rows: exact, mergeable, and recomputable from the stored rows alone.

A slice is a set of rows; its statistics are one value with a zero, a merge and a finish. Whatever the
chunks, workers or order in which the same rows were added, the same bits come out (see `exact`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.core.record import Row
from transforms.core.statistics.histogram import COARSE, FINE, Histogram
from transforms.core.statistics.moments import Distribution, Groups, Moments, blocks
from transforms.core.statistics.slices import SLICE_COLUMNS, Slice, Slicer, SliceRow, counted_in
from transforms.core.vocabulary import VECTORS

STORED_SCALARS = (
    "score",
    "convergence_delta",
    "error_estimate",
    "steps",
    "positive_share",
    "gini",
    "entropy",
    "center_row",
    "center_col",
    "border_share",
    "mask_share",
    "pointing_hit",
    "insertion_auc",
    "deletion_auc",
)
SCALARS = (*STORED_SCALARS, "relative_delta")
"""Numbers of a row whose distribution is kept; `relative_delta` is |delta| over |score - baseline score|."""

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}

FINE_KINDS = frozenset({"all", "wrong"})
"""Kinds of which a run has one slice, whose histograms are fine; all other slices have coarse ones."""

STATE_VERSION = 4
_SLICES = 1 << 8  # summarised at once: more leave holes in memory, fewer cost time
_SLICER = Slicer()

Columns = Mapping[str, Any]
"""Rows by column: arrays `[rows, …]` for VECTORS, STORED_SCALARS, `baseline_score` and `converged`, NaN where a row has
no such vector or number; lists for SLICE_COLUMNS."""


@dataclass(frozen=True)
class ImportanceStatistics:
    """The statistics of one slice.

    Attributes:
        count: number of rows.
        converged: number of rows that met the tolerance.
        vectors: moments by the names in VECTORS, of the rows that have such a vector.
        scalars: distributions by the names in SCALARS, of the rows that have such a number.
    """

    count: int = 0
    converged: int = 0
    vectors: Mapping[str, Moments] = field(default_factory=lambda: dict.fromkeys(VECTORS, Moments()))
    scalars: Mapping[str, Distribution] = field(default_factory=lambda: dict.fromkeys(SCALARS, Distribution()))

    @classmethod
    def zero(cls) -> ImportanceStatistics:
        """Returns the statistics of no rows."""
        return cls()

    @classmethod
    def of(cls, rows: Columns) -> ImportanceStatistics:
        """Returns the statistics of all of `rows`.

        Raises:
            ValueError: a grid or a channel share that is known isn't finite.
        """
        return summarize_rows(rows, lambda *_: (Slice("all"),)).get(Slice("all"), cls.zero())

    def merge(self, other: ImportanceStatistics) -> ImportanceStatistics:
        """Returns the statistics of the rows of both.

        Raises:
            ValueError: their grids differ in size.
        """
        return ImportanceStatistics(
            self.count + other.count,
            self.converged + other.converged,
            {name: moments.merge(other.vectors[name]) for name, moments in self.vectors.items()},
            {name: distribution.merge(other.scalars[name]) for name, distribution in self.scalars.items()},
        )

    def finish(self) -> Row:
        """Returns one flat row: counts, `mean_…` and `std_…`, and of scalars range, quantiles and `Histogram`.

        Means and standard deviations are correctly rounded float64; those of nothing are None. The
        column `state` holds the statistics themselves, for `from_state`.
        """
        row: Row = {"count": self.count, "converged": self.converged}
        for name, moments in self.vectors.items():
            known = moments.count > 0
            row |= {f"mean_{name}": moments.mean if known else None, f"std_{name}": moments.std if known else None}
        for name, distribution in self.scalars.items():
            row |= _finish_scalar(name, distribution)
        return row | {"state": self.state()}

    def state(self) -> str:
        """Returns the exact content as JSON, the same text for the same rows."""
        content = {
            "version": STATE_VERSION,
            "count": self.count,
            "converged": self.converged,
            "vectors": {name: _moments_state(moments) for name, moments in self.vectors.items()},
            "scalars": {name: _distribution_state(distribution) for name, distribution in self.scalars.items()},
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_state(cls, text: str) -> ImportanceStatistics:
        """Returns the statistics whose `state()` is `text`.

        Raises:
            ValueError: `text` isn't such a state, or one of another version.
        """
        try:
            content = json.loads(text)
            if content["version"] != STATE_VERSION:
                raise ValueError(f"version {content['version']}, where {STATE_VERSION} is known")
            return cls(
                int(content["count"]),
                int(content["converged"]),
                {name: _moments_of(content["vectors"][name]) for name in VECTORS},
                {name: _distribution_of(content["scalars"][name]) for name in SCALARS},
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not the state of importance statistics: {error!r}") from error


def summarize_rows(rows: Columns, slices_of: SliceRow = _SLICER) -> dict[Slice, ImportanceStatistics]:
    """Returns the statistics of every slice of `rows`, sorted by slice.

    Args:
        rows: as stored, so that anyone can recompute the same.
        slices_of: names the slices of a row.

    Raises:
        ValueError: a grid or a channel share that is known isn't finite.
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
        ValueError: a grid or a channel share that is known isn't finite.
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
    converged = groups.add(np.asarray(rows["converged"], np.int64)).tolist()
    vectors = {name: Moments.grouped(rows[name], groups) for name in VECTORS}
    most = [FINE if key.kind in FINE_KINDS else COARSE for key in members]
    scalars = {name: Distribution.grouped(_scalar(rows, name), groups, most) for name in SCALARS}
    for group, (key, positions) in enumerate(members.items()):
        yield (
            key,
            ImportanceStatistics(
                len(positions),
                converged[group],
                {name: moments[group] for name, moments in vectors.items()},
                {name: distributions[group] for name, distributions in scalars.items()},
            ),
        )


def _scalar(rows: Columns, name: str) -> np.ndarray:
    if name != "relative_delta":
        return np.asarray(rows[name], np.float32)
    delta, score, baseline_score = (
        np.asarray(rows[column], np.float64) for column in ("convergence_delta", "score", "baseline_score")
    )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.abs(delta / (score - baseline_score)).astype(np.float32)


def _finish_scalar(name: str, distribution: Distribution) -> Row:
    row: Row = {
        f"count_{name}": distribution.count,
        f"mean_{name}": distribution.mean,
        f"std_{name}": distribution.std,
        f"min_{name}": distribution.low if distribution.count else None,
        f"max_{name}": distribution.high if distribution.count else None,
    }
    quantiles = distribution.quantiles(list(QUANTILES.values()))
    row |= {f"{label}_{name}": value for label, value in zip(QUANTILES, quantiles, strict=True)}
    row[f"histogram_{name}"] = distribution.histogram
    return row


def _moments_state(moments: Moments) -> Mapping[str, Any]:
    return {"count": moments.count, "sums": moments.sums, "squares": moments.squares}


def _moments_of(state: Mapping[str, Any]) -> Moments:
    return Moments.of(int(state["count"]), list(map(int, state["sums"])), list(map(int, state["squares"])))


def _distribution_state(distribution: Distribution) -> Mapping[str, Any]:
    if not distribution.count:
        return {"count": 0}
    numbers = {name: getattr(distribution, name) for name in ("count", "total", "square", "low", "high")}
    histogram = distribution.histogram
    columns = {"buckets": histogram.buckets.tolist(), "counts": histogram.counts.tolist()}
    return {**numbers, "histogram": {"most": histogram.most, "level": histogram.level, **columns}}


def _distribution_of(state: Mapping[str, Any]) -> Distribution:
    if not state["count"]:
        return Distribution()
    count, total, square = (int(state[name]) for name in ("count", "total", "square"))
    low, high = (float(state[name]) + 0.0 for name in ("low", "high"))  # version 0.1.0 wrote −0, too
    histogram = Histogram.of(*(state["histogram"][name] for name in ("most", "level", "buckets", "counts")))
    return Distribution(count, total, square, low, high, histogram)
