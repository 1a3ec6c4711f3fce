"""Every number of the rows as a histogram, against the reference's; and slices over the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report import words
from pipeline.report.charts import Histogram, histogram_chart, spark_line
from transforms.core.record import Row
from transforms.store.run import Run

CONVERGENCE = ("error_estimate", "steps", "convergence_delta", "relative_delta")
"""The numbers that tell how well the integrals converged."""

FAITHFULNESS = ("insertion_auc", "deletion_auc")
"""The numbers that tell how far the model follows its maps; of chosen images only."""

_TREND_METRICS = ("score", "border_share", "gini", "error_estimate")
_LEAST_RUNS = 3

Audit = Mapping[str, Any]
"""The content of audit.json."""


@dataclass(frozen=True)
class Distribution:
    """A number of the rows: its histogram as SVG, its mean with half of the 95 % interval, and the reference's mean."""

    name: str
    svg: Markup
    mean: float | None
    half: float | None
    reference_mean: float | None


@dataclass(frozen=True)
class Distributions:
    """All numbers of a run: `note` says what keeps the reference from being shown."""

    all: list[Distribution]
    note: str

    @property
    def maps(self) -> list[Distribution]:
        """Those of scores and maps."""
        return [found for found in self.all if found.name not in (*CONVERGENCE, *FAITHFULNESS)]

    @property
    def convergence(self) -> list[Distribution]:
        """Those of convergence."""
        return [found for found in self.all if found.name in CONVERGENCE]

    @property
    def faithfulness(self) -> list[Distribution]:
        """Those of faithfulness."""
        return [found for found in self.all if found.name in FAITHFULNESS]

    @property
    def compared(self) -> bool:
        """Whether the reference is shown."""
        return any(found.reference_mean is not None for found in self.all)

    def mean(self, name: str) -> float | None:
        """Returns the mean of a number, if there is one."""
        return next((found.mean for found in self.all if found.name == name), None)


def read_distributions(run: Run, audit: Audit | None) -> Distributions:
    """Returns the distributions over all rows.

    Args:
        run: a finished run; its tolerance is marked in the distribution of the maps' error.
        audit: names the references; the newest is shown, if it can still be read.
    """
    this = _whole(run, run.scalars)
    reference, note = _reference(run.scalars, audit)
    tolerance = run.manifest.provenance.config.get("tolerance")
    found = []
    for name in run.scalars:
        if histogram := _histogram(this, name):
            mark = tolerance if name == "error_estimate" else None
            svg = histogram_chart(histogram, _histogram(reference, name), mark)
            ends = this.get(f"low95_{name}"), this.get(f"high95_{name}")
            half = None if ends[0] is None or ends[1] is None else (ends[1] - ends[0]) / 2
            found.append(Distribution(name, svg, this[f"mean_{name}"], half, reference.get(f"mean_{name}")))
    return Distributions(found, note)


@dataclass(frozen=True)
class Trend:
    """A slice over the runs: for each metric a line as SVG, and the last mean."""

    entry: Mapping[str, Any]
    lines: list[tuple[Markup, float | None]]


@dataclass(frozen=True)
class Trends:
    """Slices over the runs, by `metrics`; `left` is how many slices are not shown."""

    metrics: list[str]
    lines: list[Trend]
    left: int

    @classmethod
    def of(cls, audit: Audit | None, most: int) -> Trends:
        """Returns at most `most` slices of an audit's history; none where it has too few runs."""
        if not audit or len(audit["history"]["nights"]) < _LEAST_RUNS:
            return cls([], [], 0)
        slices = audit["history"]["slices"]
        stored = {
            name
            for entry in slices
            for name, means in entry["means"].items()
            if any(mean is not None for mean in means)
        }
        metrics = [name for name in _TREND_METRICS if name in stored]
        lines = [
            Trend(entry, [_trend_line(entry["means"].get(name, [])) for name in metrics]) for entry in slices[:most]
        ]
        return cls(metrics, lines, max(0, len(slices) - most))


def _trend_line(means: Sequence[float | None]) -> tuple[Markup, float | None]:
    return spark_line(means), means[-1] if means else None


def _whole(run: Run, names: Sequence[str]) -> Row:
    """Returns means and histograms over all rows; nothing where there are no rows."""
    columns = [f"{prefix}_{name}" for name in names for prefix in ("mean", "histogram")]
    columns += [
        column for name in names for end in ("low95", "high95") if (column := f"{end}_{name}") in run.statistics_columns
    ]
    rows = run.statistics(columns, kind="all").to_pylist()
    return rows[0] if rows else {}


def _reference(names: Sequence[str], audit: Audit | None) -> tuple[Row, str]:
    if not audit:
        return {}, ""
    run = Run.open(audit["references"][-1]["uri"])
    try:
        return _whole(run, [name for name in names if name in run.scalars]), ""
    except (OSError, ValueError):
        return {}, f"The reference cannot be read any more: {words.plain(run.uri)}"


def _histogram(row: Row, name: str) -> Histogram | None:
    buckets = row.get(f"histogram_{name}")
    if not buckets:
        return None
    return Histogram(*(np.array([bucket[key] for bucket in buckets], float) for key in ("low", "high", "count")))
