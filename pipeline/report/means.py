"""Means with their 95 % intervals, corrected if the run has accurate maps of some rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report import words
from transforms.core.record import Row

NAMES = ("score", "border_share", "gini", "positive_share", "center_row", "center_col")
"""Numbers of rows whose means the page shows of each slice."""

_PREFIXES = ("mean_", "low95_", "high95_", "mean_corrected_", "low95_corrected_", "high95_corrected_")


@dataclass(frozen=True)
class Mean:
    """A mean of rows.

    Attributes:
        value: the mean; None of no rows.
        low: lower end of its 95 % interval; None if that is not known.
        high: its upper end.
        raw: the mean of the rows as they are stored, if `value` is corrected.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    raw: float | None = None

    @classmethod
    def of(cls, row: Row, name: str) -> Mean:
        """Returns the mean of a number over a slice, given the row of its statistics, which may lack intervals."""
        mean, low, high, *corrected = (row.get(f"{prefix}{name}") for prefix in _PREFIXES)
        return cls(mean, low, high) if corrected[0] is None else cls(corrected[0], corrected[1], corrected[2], mean)


def columns(stored: Collection[str]) -> list[str]:
    """Returns what a page reads of these means, out of the columns that statistics have."""
    return [column for name in NAMES for prefix in _PREFIXES if (column := f"{prefix}{name}") in stored]


def with_interval(row: Row, name: str, share: bool = True) -> Markup:
    """Returns a mean as HTML, with half the width of its interval, in percent or as a number."""
    mean = Mean.of(row, name)
    shown = words.percent if share else words.number
    text = Markup("{}").format(shown(mean.value))
    if mean.low is None or mean.high is None:
        return text
    half = (mean.high - mean.low) / 2
    interval = f"95 %: {shown(mean.low)} to {shown(mean.high)}"
    if mean.raw is not None:
        interval += f"; corrected by accurate maps of some pictures, {shown(mean.raw)} without"
    return text + Markup(' <span class="soft" title="{}">± {}</span>').format(interval, shown(half))
