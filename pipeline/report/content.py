"""What the page says, gathered from a finished run and its audit, in the order of the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.precision import quadrature_variance
from pipeline.report import means, words
from pipeline.report.cards import Card, Section, make_sections
from pipeline.report.distributions import Audit, Distributions, Trends, read_distributions
from pipeline.report.failures import FailureKind, failure_kinds
from pipeline.report.faithfulness import Faithfulness, read_faithfulness
from pipeline.report.findings import Findings, read_findings
from pipeline.report.maps import SLICE_COLUMNS, Audited, Change, Scale, SliceLine, common_scale, slice_of, weight
from transforms.core.record import Row
from transforms.store.run import Run

_DIFFERENCES = ("count_label_difference", "mean_label_difference", "std_label_difference")

MOST_SLICES = 400
MOST_CHANGES = 12
MOST_CARDS = 8
MOST_FAILURES = 40
MOST_TRENDS = 40


@dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        run: what is reported.
        audit: content of audit.json; None where the run was not compared.
        glance: the run's figures, each with its name.
        findings: what stands out in the run without a reference.
        changes: slices that changed.
        changes_left: how many more there are.
        overview: all rows as one slice; None where every image failed.
        precision: what the intervals owe to few steps; empty if nothing is known of it.
        blank: rows whose map is zero everywhere, so that nothing is known of where the model looks.
        slices: lines of the table of slices.
        slices_left: how many slices have no line.
        scale: of the table's maps.
        gallery: pictures worth a look.
        distributions: of every number.
        faithfulness: whether the maps can be believed.
        failures: by kind.
        failures_left: how many kinds are not shown.
        trends: slices over the runs.
        suspicions: what is likely wrong with the options, one line each.
        measured: whether the errors of maps were estimated, as all rules but the shifted one do.
        without_maps: how maps are had for the pictures that have none; empty if each has one.
    """

    run: Run
    audit: Audit | None
    glance: list[tuple[str, str]]
    findings: Findings
    changes: list[Change]
    changes_left: int
    overview: SliceLine | None
    precision: str
    blank: int
    slices: list[SliceLine]
    slices_left: int
    scale: Scale
    gallery: list[Section]
    distributions: Distributions
    faithfulness: Faithfulness
    failures: list[FailureKind]
    failures_left: int
    trends: Trends
    suspicions: list[str]
    measured: bool
    without_maps: str

    @property
    def shown(self) -> tuple[str, ...]:
        """The ids of the pictures that the page shows, each once."""
        return tuple(dict.fromkeys(card.row["image_id"] for card in _cards(self.findings, self.gallery)))


def gather(run: Run, audit: Audit | None) -> Content:
    """Returns what the page of a finished run says.

    Args:
        run: what is reported.
        audit: the content of its audit.json, if it has one.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        OSError: a part is missing or damaged.
    """
    manifest = run.manifest
    findings = read_findings(run, audit)
    audit = audit if audit and audit["verdict"] else None
    audited = {slice_of(entry): entry for entry in audit["slices"]} if audit else {}
    changed = sorted((entry for entry in audited.values() if entry["state"] == "drift"), key=weight, reverse=True)
    differences = [name for name in _DIFFERENCES if "label_difference" in run.scalars]
    columns = [*SLICE_COLUMNS, *means.columns(run.statistics_columns), *differences]
    rows = sorted(run.statistics(columns).to_pylist(), key=lambda row: _precedence(row, audited))
    whole = next((row for row in rows if row["kind"] == "all"), None)
    scale = common_scale(rows[:MOST_SLICES], audited)
    distributions = read_distributions(run, audit)
    failures = failure_kinds(run)
    gallery = make_sections(run, rows, audited, MOST_CARDS)
    return Content(
        run=run,
        audit=audit,
        glance=_glance(run, whole, distributions),
        findings=findings,
        changes=[Change.of(entry) for entry in changed[:MOST_CHANGES]],
        changes_left=_left(changed, MOST_CHANGES),
        overview=SliceLine.of(whole, audited) if whole else None,
        precision=found.sentence if (found := quadrature_variance(run)) else "",
        blank=whole["count"] - whole["count_gini"] if whole else 0,
        slices=[SliceLine.of(row, audited, scale) for row in rows[:MOST_SLICES]],
        slices_left=_left(rows, MOST_SLICES),
        scale=scale,
        gallery=gallery,
        distributions=distributions,
        faithfulness=read_faithfulness(run),
        failures=failures[:MOST_FAILURES],
        failures_left=_left(failures, MOST_FAILURES),
        trends=Trends.of(audit, MOST_TRENDS),
        suspicions=manifest.suspicions,
        measured=distributions.mean("error_estimate") is not None,
        without_maps=_without_maps(run, _cards(findings, gallery)),
    )


def _cards(findings: Findings, gallery: Sequence[Section]) -> Iterator[Card]:
    """Yields the cards of the page in their order."""
    for cards in (*(each.cards for each in findings.found), *(part.cards for part in gallery)):
        yield from cards


def _without_maps(run: Run, cards: Iterable[Card]) -> str:
    """Returns how maps are had for cards without one."""
    if all(card.overlay for card in cards):
        return ""
    return f"no maps are stored; {shlex.join(['ig-audit', 'refine', run.uri, '--report'])} adds them"


def _precedence(row: Row, audited: Audited) -> tuple[bool, bool, int, str, str]:
    state = audited.get(slice_of(row), {}).get("state")
    return row["kind"] != "all", state != "drift", -row["count"], row["kind"], row["value"]


def _glance(run: Run, whole: Row | None, distributions: Distributions) -> list[tuple[str, str]]:
    manifest = run.manifest
    whole_input = manifest.facts.get("sample_of")
    sampled = f", a sample of {whole_input:,}" if whole_input is not None else ""
    found = [
        ("images", f"{manifest.images:,}{sampled}"),
        *([("not sampled", f"{manifest.unsampled:,}")] if manifest.sampling else []),
        ("attributed rows", f"{manifest.rows:,}"),
        ("failed", f"{manifest.failures:,} ({words.percent(manifest.failures / max(1, manifest.images))})"),
    ]
    if manifest.untargeted:
        found.append(("without a class to explain", f"{manifest.untargeted:,}"))
    if labels := run.label_counts:
        found.append(("usable labels", f"{labels.usable:,} of {labels.images:,}"))
    if whole:
        found += [
            *_differences(whole),
            *_errors(whole, distributions),
            ("mean gradient steps", words.number(distributions.mean("steps"))),
        ]
    if manifest.suspicions:
        found.append(("suspicions", f"{len(manifest.suspicions)}: see run facts"))
    seconds = manifest.facts.get("worker_seconds")
    if seconds and manifest.worker_images:
        found.append(("images a second, per worker", words.number(manifest.worker_images / seconds)))
    return found


def _errors(whole: Row, distributions: Distributions) -> list[tuple[str, str]]:
    """Returns how accurate the maps are, if their rule estimates that."""
    error = distributions.mean("error_estimate")
    if error is None:
        return []
    converged = words.percent(whole["converged"] / whole["count"])
    return [("converged", converged), ("mean error of a map", words.percent(error))]


def _differences(whole: Row) -> list[tuple[str, str]]:
    """Returns the mean and spread of value less label, of a regression with labels."""
    if not whole.get("count_label_difference"):
        return []
    mean, spread = (words.number(whole[f"{word}_label_difference"]) for word in ("mean", "std"))
    return [("mean of value less label, ± spread", f"{mean} ± {spread}")]


def _left(items: Sequence[object], most: int) -> int:
    return max(0, len(items) - most)
