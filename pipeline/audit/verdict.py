"""The verdict in words: what was found, the weightiest first, and whether any of it is an alarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.audit.pairs_words import changed_slices, knows_trainings, model_reasons, pair_reasons
from pipeline.audit.references import INCOMPARABLE, stored_option
from pipeline.exit_code import ExitCode
from pipeline.names import slice_name
from transforms.core.drift.class_mix import MixAudit
from transforms.core.drift.contrast import ATTENTION, CONVERGENCE, SCORE
from transforms.core.drift.judge import DRIFT, GONE, TOO_FEW, CellAudit, MetricAudit, SliceAudit
from transforms.core.drift.pairs import PairsAudit
from transforms.core.drift.thresholds import Thresholds
from transforms.store.run import Run

NO_ROWS = "no rows"
"""The outcome of a run that has none."""

_TOPICS = {ATTENTION: "the model looks elsewhere", SCORE: "scores differ", CONVERGENCE: "convergence differs"}
_NAMED_METRICS, _NAMED_CELLS, _NAMED_CLASSES = 3, 3, 3
_FOUND = ("outputs",)  # found out about the model, which earlier versions did not do
_NO_ALARM = ("version of ", "limit ")  # a sample is compared like the whole


@dataclass(frozen=True)
class Reason:
    """Something worth knowing; the fields are those of audit.json."""

    topic: str
    alarm: bool
    message: str


@dataclass(frozen=True)
class Verdict:
    """The outcome; the fields are those of audit.json."""

    outcome: str
    exit_code: ExitCode
    headline: str
    reasons: list[Reason]


def reach_verdict(
    candidate: Run,
    references: Sequence[Run],
    slices: Sequence[SliceAudit],
    mix: MixAudit,
    pairs: PairsAudit,
    thresholds: Thresholds,
) -> Verdict:
    """Returns what follows from the judgements of slices, mix and pictures, and from how the runs were made."""
    found = [
        *model_reasons(candidate, references),
        *_slice_reasons(slices, knows_trainings(pairs)),
        *pair_reasons(candidate, references, pairs),
        *_mix_reasons(mix),
        *_error_reasons(candidate, references, thresholds),
        *_config_reasons(candidate, references),
        *_row_reasons(slices),
        *_vanished(slices, len(references), thresholds),
    ]
    reasons = [Reason(topic, loud and topic in thresholds.alarms, message) for topic, loud, message in found]
    drifted = any(reason.alarm for reason in reasons)
    return Verdict(
        outcome=DRIFT if drifted else "fine",
        exit_code=ExitCode.DRIFT if drifted else ExitCode.FINE,
        headline=_headline(slices, mix, reasons, pairs),
        reasons=sorted(reasons, key=lambda reason: not reason.alarm),
    )


def refuse_empty(candidate: Run) -> Verdict:
    """Returns the verdict on a run without rows."""
    manifest = candidate.manifest
    why = f"all {manifest.failures:,} failed" if manifest.failures else "none has a class to explain"
    headline = f"Nothing to compare: of {_count(manifest.images, 'image')}, {why}"
    if not manifest.images:
        headline = "Nothing to compare: the input held no image at all"
    topic = "errors" if manifest.failures else "rows"
    return Verdict(NO_ROWS, ExitCode.TOO_MANY_ERRORS, headline, [Reason(topic, True, "the run has no rows")])


_Found = tuple[str, bool, str]
"""Topic, whether it may be an alarm, and message."""


def _headline(slices: Sequence[SliceAudit], mix: MixAudit, reasons: Sequence[Reason], pairs: PairsAudit) -> str:
    topics = Counter(topic for one in slices for topic in {metric.topic for metric in one.metrics if metric.drift})
    parts = []
    if any(reason.topic == "model" and reason.alarm for reason in reasons):
        parts.append("another model stands behind the same path")
    if changed := changed_slices(pairs):
        parts.append(changed)
    if topics[ATTENTION]:
        parts.append(f"what the model looks at has changed in {_count(topics[ATTENTION], 'slice')}")
    if topics[SCORE]:
        parts.append(f"scores have changed in {_count(topics[SCORE], 'slice')}")
    if topics[CONVERGENCE]:
        parts.append(f"convergence has changed in {_count(topics[CONVERGENCE], 'slice')}")
    if topics and not knows_trainings(pairs):
        parts.append("cannot tell whether that is more than another training of the model would change")
    if mix.drift:
        parts.append(
            "classes come in other shares" + ("" if topics else ", but what the model looks at has not changed")
        )
    if not parts:
        parts.append("no change beyond what the reference shows by itself")
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def _slice_reasons(slices: Sequence[SliceAudit], loud: bool) -> Iterable[_Found]:
    for topic, what in _TOPICS.items():
        for one in slices:
            drifted = sorted(
                (metric for metric in one.metrics if metric.drift and metric.topic == topic),
                key=lambda metric: (metric.q_value, -metric.effect / max(metric.threshold, 1e-9)),
            )
            if drifted:
                yield topic, loud, f"{_name(one)}: {what}; {_evidence(one, drifted, topic)}"


def _cell(cell: CellAudit, side: int) -> str:
    place = f"row {cell.row + 1} column {cell.col + 1} of {side}"
    if cell.signed:
        return f"{place} (for the class {cell.reference:+.2%} → {cell.candidate:+.2%})"
    return f"{place} ({cell.reference:.1%} → {cell.candidate:.1%})"


def _evidence(one: SliceAudit, drifted: Sequence[MetricAudit], topic: str) -> str:
    parts = []
    if topic == ATTENTION and one.grid and one.grid.changed:
        parts.append("cells " + ", ".join(_cell(cell, one.grid.side) for cell in one.grid.changed[:_NAMED_CELLS]))
    for metric in drifted[:_NAMED_METRICS]:
        means = f", mean {metric.reference:.3g} → {metric.candidate:.3g}" if metric.candidate is not None else ""
        parts.append(f"{metric.name} {metric.effect:.3g} (itself {metric.self_effect:.3g}{means})")
    if len(drifted) > _NAMED_METRICS:
        parts.append(f"and {len(drifted) - _NAMED_METRICS} more metrics")
    return "; ".join(parts)


def _mix_reasons(mix: MixAudit) -> Iterable[_Found]:
    if mix.drift:
        classes = ", ".join(
            f"{one.name or one.value} {one.reference:.1%} → {one.candidate:.1%}" for one in mix.classes[:_NAMED_CLASSES]
        )
        yield "mix", True, f"the mix of classes has changed by {mix.distance:.1%}: {classes}"


def _error_reasons(candidate: Run, references: Sequence[Run], thresholds: Thresholds) -> Iterable[_Found]:
    here = candidate.manifest.failures / max(1, candidate.manifest.images)
    there = sum(run.manifest.failures for run in references) / max(1, sum(run.manifest.images for run in references))
    if here - there > thresholds.error_rate:
        yield "errors", True, f"{here:.1%} of the images could not be attributed, {there:.1%} in the reference"


def _config_reasons(candidate: Run, references: Sequence[Run]) -> Iterable[_Found]:
    this = candidate.manifest.provenance
    differences: set[str] = set()
    for run in references:
        other = run.manifest.provenance
        for what, here, there in (("", this.config, other.config), ("version of ", this.versions, other.versions)):
            differences |= {
                f"{what}{name} {stored_option(there, name)!r} → {stored_option(here, name)!r}"
                for name in {**here, **there}
                if stored_option(here, name) != stored_option(there, name)
                and name not in INCOMPARABLE
                and not (name in _FOUND and None in (here.get(name), there.get(name)))
            }
    for difference in sorted(differences):
        yield "config", not difference.startswith(_NO_ALARM), f"OTHER OPTIONS: {difference}"


def _row_reasons(slices: Sequence[SliceAudit]) -> Iterable[_Found]:
    few = [one for one in slices if one.state == TOO_FEW]
    if few:
        yield "rows", False, f"{_count(len(few), 'slice')} with too few rows to compare, such as {_name(few[0])}"


def _vanished(slices: Sequence[SliceAudit], references: int, thresholds: Thresholds) -> Iterable[_Found]:
    """Yields the classes that have no row, of those that have enough to be compared in a usual reference."""
    for one in slices:
        usual = one.reference_rows / references
        if one.state == GONE and one.kind in ("label", "predicted") and usual >= thresholds.min_rows:
            yield "rows", False, f"{_name(one)}: no rows, {usual:,.0f} in the reference"


def _name(one: SliceAudit) -> str:
    return slice_name(one.kind, one.value, one.name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
