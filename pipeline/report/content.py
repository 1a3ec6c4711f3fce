"""What the page says, gathered from a finished run and its audit: values and pictures, no markup but charts.

In the order of the page: verdict, figures at a glance, changes, overview, slices, gallery, distributions, failures,
trend, facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report import figures, words
from pipeline.report.failures import FailureKind, failure_kinds
from pipeline.report.figures import Histogram
from pipeline.report.gallery import (
    FarFromMean,
    Pick,
    Ranking,
    find_picks,
    highest_border,
    least_converged,
    read_picks,
    wrong_and_confident,
)
from transforms import store
from transforms.core.decode import DecodeError
from transforms.core.record import Row
from transforms.store.tables import read_finished, scalar_names

MOST_SLICES = 400
MOST_CHANGES = 12
MOST_CARDS = 8
MOST_FAILURES = 40
MOST_TRENDS = 40

Audit = Mapping[str, Any]
"""The content of audit.json."""

_SLICE_COLUMNS = (
    "kind",
    "value",
    "name",
    "count",
    "converged",
    "mean_grid",
    "mean_channel_share",
    *(f"mean_{name}" for name in ("score", "border_share", "gini", "positive_share", "center_row", "center_col")),
)
_TREND_METRICS = ("score", "border_share", "gini", "error_estimate")
_CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Maps:
    """Mean maps side by side, as data URIs, and what full colour means; `reference` may be missing."""

    this: str
    top: float
    reference: str | None = None
    difference: str | None = None
    difference_top: float = 0.0


@dataclass(frozen=True)
class Change:
    """A slice that changed: its entry in the audit, its maps, where it changed and in which metrics."""

    entry: Mapping[str, Any]
    maps: Maps | None
    places: list[tuple[str, float]]
    metrics: list[Mapping[str, Any]]


@dataclass(frozen=True)
class SliceLine:
    """A line of the table of slices: its statistics, its maps, and its state in the audit."""

    row: Row
    maps: Maps
    state: str


@dataclass(frozen=True)
class Card:
    """A picture of the gallery: its row, its photograph and the overlay as data URIs, and what it was picked by."""

    row: Row
    photograph: str
    overlay: str
    value: float


@dataclass(frozen=True)
class Section:
    """A part of the gallery: `name` says what is ranked, and `unit` what the cards' values are."""

    title: str
    note: str
    unit: str
    cards: list[Card]


@dataclass(frozen=True)
class Chart:
    """The distribution of a number: an SVG and the means."""

    name: str
    svg: Markup
    mean: float | None
    reference_mean: float | None


@dataclass(frozen=True)
class Trend:
    """A slice over the nights: for each metric a line and the last mean."""

    entry: Mapping[str, Any]
    lines: list[tuple[Markup, float | None]]


@dataclass(frozen=True)
class Content:
    """All that the page shows; see the module's docstring."""

    uri: str
    name: str
    manifest: store.Manifest
    audit: Audit | None
    overview: SliceLine | None
    glance: list[tuple[str, str]]
    changes: list[Change]
    changes_left: int
    slices: list[SliceLine]
    slices_left: int
    map_top: float
    difference_top: float
    gallery: list[Section]
    charts: list[Chart]
    convergence: list[Chart]
    charts_reference: bool
    charts_note: str
    failures: list[FailureKind]
    failures_left: int
    trend_metrics: list[str]
    trends: list[Trend]
    trends_left: int


def gather(run_uri: str, audit: Audit | None) -> Content:
    """Returns what the page of a finished run says.

    Args:
        run_uri: the run directory.
        audit: the content of its audit.json, if it was compared.

    Raises:
        FileNotFoundError: there is no finished run at `run_uri`.
        OSError: a part is missing or damaged.
    """
    manifest = store.read_manifest(run_uri)
    rows = read_finished(run_uri, _SLICE_COLUMNS)
    audited = {(entry["kind"], entry["value"]): entry for entry in audit["slices"]} if audit else {}
    order = sorted(rows, key=lambda row: _precedence(row, audited))
    shown = order[:MOST_SLICES]
    tops = _tops(shown, audited)
    changed = [entry for entry in audited.values() if entry["state"] == "drift"]
    charts, note = _charts(run_uri, manifest, audit)
    failures = failure_kinds(run_uri, manifest.parts)
    metrics, trends, trends_left = _trends(audit)
    return Content(
        uri=run_uri,
        name=run_uri.rstrip("/").rpartition("/")[2],
        manifest=manifest,
        audit=audit,
        overview=next((_line(row, audited, None) for row in rows if row["kind"] == "all"), None),
        glance=_glance(manifest, rows, charts),
        changes=[_change(entry) for entry in changed[:MOST_CHANGES]],
        changes_left=max(0, len(changed) - MOST_CHANGES),
        slices=[_line(row, audited, tops) for row in shown],
        slices_left=len(order) - len(shown),
        map_top=tops[0],
        difference_top=tops[1],
        gallery=_gallery(run_uri, manifest, rows, audited),
        charts=[chart for chart in charts if chart.name not in _CONVERGENCE],
        convergence=[chart for chart in charts if chart.name in _CONVERGENCE],
        charts_reference=any(chart.reference_mean is not None for chart in charts),
        charts_note=note,
        failures=failures[:MOST_FAILURES],
        failures_left=max(0, len(failures) - MOST_FAILURES),
        trend_metrics=metrics,
        trends=trends,
        trends_left=trends_left,
    )


_CONVERGENCE = ("error_estimate", "steps", "convergence_delta", "relative_delta")


def _precedence(row: Row, audited: Mapping[tuple[str, str], Any]) -> tuple[bool, bool, int, str, str]:
    state = audited.get((row["kind"], row["value"]), {}).get("state")
    return row["kind"] != "all", state != "drift", -row["count"], row["kind"], row["value"]


def _glance(manifest: store.Manifest, rows: Sequence[Row], charts: Sequence[Chart]) -> list[tuple[str, str]]:
    """Returns the run's figures, each with its name."""
    whole = next((row for row in rows if row["kind"] == "all"), None)
    means = {chart.name: chart.mean for chart in charts}
    seconds = manifest.facts.get("worker_seconds") or 0
    found = [
        ("images", f"{manifest.images:,}"),
        ("attributed rows", f"{manifest.rows:,}"),
        ("failed", f"{manifest.failures:,} ({words.percent(manifest.failures / max(1, manifest.images))})"),
    ]
    if whole:
        found += [
            ("converged", words.percent(whole["converged"] / whole["count"])),
            ("mean error of a map", words.percent(means.get("error_estimate"))),
            ("mean gradient steps", words.number(means.get("steps"))),
        ]
    if seconds and manifest.images:
        found.append(("images a second, per worker", words.number(manifest.images / seconds)))
    return found


def _tops(rows: Sequence[Row], audited: Mapping[tuple[str, str], Any]) -> tuple[float, float]:
    """Returns what full colour means in the table's maps: so that slices can be compared, one scale for all."""
    peaks = [max(row["mean_grid"]) for row in rows]
    grids = [entry["grid"] for entry in audited.values() if entry["grid"]]
    changes = [np.abs(np.subtract(grid["candidate"], grid["reference"])).max() for grid in grids]
    return tuple(float(np.percentile(values, 95)) if values else 0.0 for values in (peaks, changes))  # type: ignore[return-value]


def _line(
    row: Row, audited: Mapping[tuple[str, str], Mapping[str, Any]], tops: tuple[float, float] | None
) -> SliceLine:
    entry = audited.get((row["kind"], row["value"]))
    if entry and entry["grid"]:
        return SliceLine(row, _maps(entry["grid"], tops), entry["state"])
    top = tops[0] if tops else max(row["mean_grid"])
    return SliceLine(row, Maps(figures.map_image(row["mean_grid"], top), top), entry["state"] if entry else "")


def _maps(grid: Mapping[str, Any], tops: tuple[float, float] | None = None) -> Maps:
    this, reference = grid["candidate"], grid["reference"]
    difference = np.subtract(this, reference)
    top, difference_top = tops or (max(*this, *reference), float(np.abs(difference).max()))
    return Maps(
        figures.map_image(this, top),
        top,
        figures.map_image(reference, top),
        figures.difference_image(difference, difference_top),
        difference_top,
    )


def _change(entry: Mapping[str, Any]) -> Change:
    grid = entry["grid"]
    return Change(
        entry,
        _maps(grid) if grid else None,
        words.where(grid["changed"], grid["side"])[:4] if grid else [],
        [metric for metric in entry["metrics"] if metric["drift"]],
    )


def _gallery(
    run_uri: str, manifest: store.Manifest, rows: Sequence[Row], audited: Mapping[tuple[str, str], Any]
) -> list[Section]:
    far, title, note = _far_from_mean(rows, audited)
    rankings: dict[str, Ranking] = {
        "far": far,
        "wrong": wrong_and_confident,
        "border": highest_border,
        "error": least_converged,
    }
    picks = find_picks(run_uri, manifest.parts, rankings, 2 * MOST_CARDS)
    found = read_picks(run_uri, [pick for ranked in picks.values() for pick in ranked])
    texts = {
        "far": (title, note, "from the mean map"),
        "wrong": ("Wrong and confident", "The highest predictions that are not the label.", "sure"),
        "border": (
            "Most attention near the border",
            "The largest shares of attribution within a tenth of the border: frames, stamps and captions show here.",
            "near the border",
        ),
        "error": ("Least converged", "The largest estimated errors of the map; read these with care.", "error"),
    }
    sections = [Section(*texts[name], cards=_cards(ranked, found)) for name, ranked in picks.items()]
    return [section for section in sections if section.cards]


def _far_from_mean(
    rows: Sequence[Row], audited: Mapping[tuple[str, str], Any]
) -> tuple[FarFromMean, str, str]:
    """Returns the ranking by distance from the mean map of the predicted class: the reference's, where there is one."""
    references = {
        int(value): entry["grid"]["reference"]
        for (kind, value), entry in audited.items()
        if kind == "predicted" and entry["grid"]
    }
    drifted = frozenset(
        int(value) for (kind, value), entry in audited.items() if kind == "predicted" and entry["state"] == "drift"
    )
    if references:
        only = drifted & references.keys()
        title, note = "Most drifted", "Maps farthest from the reference's mean map of their class"
        note += ", in the classes that drifted." if only else "; no class drifted."
        return _ranking(references, only or None), title, note
    own = {int(row["value"]): row["mean_grid"] for row in rows if row["kind"] == "predicted" and row["count"] > 1}
    return _ranking(own, None), "Unlike their class", "Maps farthest from the mean map of their predicted class."


def _ranking(means: Mapping[int, Sequence[float]], only: frozenset[int] | None) -> FarFromMean:
    classes = sorted(means)
    return FarFromMean(np.array(classes, int), np.array([means[key] for key in classes], float), only)


def _cards(picks: Iterable[Pick], rows: Mapping[tuple[str, int], Row]) -> list[Card]:
    cards: dict[str, Card] = {}
    for pick in picks:
        row = rows[pick.part, pick.position]
        if row["image_id"] in cards or len(cards) == MOST_CARDS:
            continue
        try:
            pictures = figures.photograph(row["thumbnail"]), figures.overlaid(row["thumbnail"], row["attribution"])
        except DecodeError:
            continue
        cards[row["image_id"]] = Card(row, *pictures, value=pick.value)
    return list(cards.values())


def _charts(run_uri: str, manifest: store.Manifest, audit: Audit | None) -> tuple[list[Chart], str]:
    """Returns a chart of each number over all rows, and a note on the reference's."""
    names = scalar_names(run_uri)
    columns = [f"{prefix}_{name}" for name in names for prefix in ("mean", "histogram")]
    (this, *_) = read_finished(run_uri, columns, kind="all") or [{}]
    reference, note = _reference_row(columns, audit)
    marks = {"error_estimate": manifest.provenance.config.get("tolerance")}
    charts = []
    for name in names:
        if histogram := _histogram(this.get(f"histogram_{name}")):
            other = _histogram(reference.get(f"histogram_{name}"))
            svg = figures.histogram_chart(histogram, other, marks.get(name))
            charts.append(Chart(name, svg, this[f"mean_{name}"], reference.get(f"mean_{name}")))
    return charts, note


def _reference_row(columns: Sequence[str], audit: Audit | None) -> tuple[Row, str]:
    """Returns the statistics of all rows of the newest reference, as far as it can still be read."""
    if not audit:
        return {}, ""
    uri = audit["references"][-1]["uri"]
    try:
        stored = set(scalar_names(uri))
        rows = read_finished(uri, [name for name in columns if name.partition("_")[2] in stored], kind="all")
        return (rows[0] if rows else {}), ""
    except (OSError, ValueError):
        return {}, f"The reference can't be read any more: {words.plain(uri)}"


def _histogram(buckets: Sequence[Mapping[str, float]] | None) -> Histogram | None:
    if not buckets:
        return None
    return Histogram(*(np.array([bucket[name] for bucket in buckets], float) for name in ("low", "high", "count")))


def _trends(audit: Audit | None) -> tuple[list[str], list[Trend], int]:
    """Returns the metrics shown over the nights, and a line for each slice; nothing where there are not three."""
    if not audit or len(audit["history"]["nights"]) < 3:
        return [], [], 0
    slices = audit["history"]["slices"]
    stored = {name for entry in slices for name in entry["means"]}
    metrics = [name for name in _TREND_METRICS if name in stored]
    trends = [
        Trend(entry, [_trend_line(entry["means"].get(name, [])) for name in metrics]) for entry in slices[:MOST_TRENDS]
    ]
    return metrics, trends, max(0, len(slices) - MOST_TRENDS)


def _trend_line(values: Sequence[float | None]) -> tuple[Markup, float | None]:
    return figures.spark_line(values), values[-1] if values else None
