"""Mean maps of slices: those that changed, and a line for each slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.changes import tail_message, tail_place
from pipeline.names import member_name
from pipeline.report import figures, words
from transforms.core.drift.tails import TailAudit
from transforms.core.record import Row
from transforms.core.statistics.slices import Slice

SLICE_COLUMNS = (
    "kind",
    "value",
    "name",
    "count",
    "converged",
    "count_gini",
    "mean_grid",
    "mean_channel_share",
)
"""What is read of a slice's statistics, besides the means of numbers."""

_PLACES = 4
_SCALE_PERCENTILE = 95

Audited = Mapping[Slice, Mapping[str, Any]]
"""The slices of an audit.json."""


@dataclass(frozen=True)
class Scale:
    """What full color means: a share of the attribution in mean maps, a change of it in differences.

    `signed` maps go from minus to plus `top`: from against the class to for it.
    """

    top: float
    difference: float = 0.0
    signed: bool = False


@dataclass(frozen=True)
class Maps:
    """Mean maps side by side, as data URIs, and their scale.

    There may be no reference; and no map of this run, if all of the slice's maps are zero everywhere.
    """

    this: str | None
    scale: Scale
    reference: str | None = None
    difference: str | None = None


@dataclass(frozen=True)
class Change:
    """A slice that changed: its entry in the audit, its maps, where it changed, and the metrics that did.

    `places` tell of shares of the attribution, `signed_places` of what speaks for or against the class; so do `maps`
    and `signed_maps`, which there are only where that changed. `tails` say which few pictures look elsewhere.
    """

    entry: Mapping[str, Any]
    maps: Maps | None
    signed_maps: Maps | None
    places: list[tuple[str, float]]
    signed_places: list[tuple[str, float]]
    metrics: list[Mapping[str, Any]]
    tails: list[str]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Change:
        """Returns the change that an audited slice describes."""
        grid = entry["grid"]
        places, signed_places = (
            words.where((cell for cell in grid["changed"] if cell["signed"] is signed), grid["side"]) if grid else []
            for signed in (False, True)
        )
        metrics = [metric for metric in entry["metrics"] if metric["drift"]]
        maps = _side_by_side(grid) if grid else None
        signed_maps = _side_by_side(grid["signed"], signed=True) if grid and grid["signed"] else None
        tails = _tails(entry, grid["side"] if grid else 1)
        return cls(entry, maps, signed_maps, places[:_PLACES], signed_places[:_PLACES], metrics, tails[:_PLACES])


@dataclass(frozen=True)
class SliceLine:
    """A slice: its statistics, its maps, and its state in the audit, if it is there."""

    row: Row
    maps: Maps
    state: str

    @classmethod
    def of(cls, row: Row, audited: Audited, scale: Scale | None = None) -> SliceLine:
        """Returns the line of a slice; without a `scale`, its maps have their own."""
        entry = audited.get(slice_of(row))
        state = entry["state"] if entry else ""
        if entry and entry["grid"]:
            return cls(row, _side_by_side(entry["grid"], scale), state)
        grid = row["mean_grid"]
        scale = scale or Scale(max(grid) if grid else 0.0)
        return cls(row, Maps(figures.map_image(grid, scale.top) if grid else None, scale), state)


def slice_of(entry: Mapping[str, Any]) -> Slice:
    """Returns which slice a row of statistics, or an entry of an audit, is about."""
    return Slice(entry["kind"], entry["value"], entry["name"])


def _tails(entry: Mapping[str, Any], side: int) -> list[str]:
    """Returns a sentence for each tail of an audited slice; earlier versions had none."""
    found = [TailAudit(**tail) for tail in entry.get("tails", ())]
    name = member_name(entry["kind"], entry["value"], entry["name"])
    return [tail_message(tail, name, tail_place(tail, side)) for tail in found]


def weight(entry: Mapping[str, Any]) -> float:
    """Returns by how many times the weightiest change of an audited slice exceeds what is allowed, or is usual."""
    ratios = [
        metric["effect"] / max(metric["threshold"], metric["self_effect"], 1e-9)
        for metric in entry["metrics"]
        if metric["drift"]
    ]
    ratios += [tail["candidate"] / max(tail["expected"], 1.0) for tail in entry.get("tails", ())]
    return max(ratios, default=0.0)


def common_scale(rows: Sequence[Row], audited: Audited) -> Scale:
    """Returns a scale on which slices can be compared; the few with the highest peaks saturate."""
    changes = [np.abs(_change(entry["grid"])).max() for entry in audited.values() if entry["grid"]]
    return Scale(_high([max(row["mean_grid"]) for row in rows if row["mean_grid"]]), _high(changes))


def _high(values: Sequence[float]) -> float:
    return float(np.percentile(values, _SCALE_PERCENTILE)) if values else 0.0


def _side_by_side(grid: Mapping[str, Any], scale: Scale | None = None, signed: bool = False) -> Maps:
    this, reference, change = grid["candidate"], grid["reference"], _change(grid)
    scale = scale or Scale(float(np.abs([this, reference]).max()), float(np.abs(change).max()), signed)
    draw = figures.signed_image if scale.signed else figures.map_image
    return Maps(
        draw(this, scale.top),
        scale,
        draw(reference, scale.top),
        figures.signed_image(change, scale.difference),
    )


def _change(grid: Mapping[str, Any]) -> np.ndarray:
    return np.subtract(grid["candidate"], grid["reference"])
