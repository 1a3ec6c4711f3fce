"""The verdict in words: what was found, the weightiest first, and whether any of it is an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.audit.changes import Change, list_changes
from pipeline.audit.pairs_words import changed_slices, knows_trainings, model_reasons, pair_reasons
from pipeline.audit.references import INCOMPARABLE, stored_option
from pipeline.exit_code import ExitCode
from pipeline.names import slice_name
from transforms.core.drift.class_mix import MixAudit
from transforms.core.drift.pairs import PairsAudit
from transforms.core.drift.power import SURE, Power
from transforms.core.drift.slice_audit import DRIFT, GONE, TOO_FEW, SliceAudit
from transforms.core.drift.thresholds import Thresholds
from transforms.store.run import Run

NO_ROWS = "no rows"
"""The outcome of a run that has none."""

_NAMED, _NAMED_CLASSES = 4, 3
_FEW_REFERENCES = 3
_FOUND = ("outputs",)  # found out about the model, which earlier versions did not do
_NO_ALARM = ("version of ", "limit ", "sampling ")  # a sample is compared like the whole


@dataclass(frozen=True)
class Reason:
    """Something worth knowing; the fields are those of audit.json.

    Attributes:
        topic: what it is about.
        alarm: whether it makes the outcome drift.
        message: a sentence.
        detail: the numbers behind it; may be empty.
    """

    topic: str
    alarm: bool
    message: str
    detail: str = ""


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
    changes, loud = list_changes(slices), knows_trainings(pairs)
    reasons = [
        Reason(change.topic, loud and change.topic in thresholds.alarms, change.message, change.numbers)
        for change in changes
    ]
    found = [
        *model_reasons(candidate, references),
        *pair_reasons(candidate, references, pairs),
        *_mix_reasons(mix),
        *_error_reasons(candidate, references, thresholds),
        *_config_reasons(candidate, references),
        *_row_reasons(slices),
        *_vanished(slices, len(references), thresholds),
        *_power(slices, references, loud),
    ]
    reasons += [Reason(topic, loud and topic in thresholds.alarms, message) for topic, loud, message in found]
    drifted = any(reason.alarm for reason in reasons)
    return Verdict(
        outcome=DRIFT if drifted else "fine",
        exit_code=ExitCode.DRIFT if drifted else ExitCode.FINE,
        headline=_headline(changes, mix, reasons, pairs),
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


def _headline(changes: Sequence[Change], mix: MixAudit, reasons: Sequence[Reason], pairs: PairsAudit) -> str:
    """Returns the weightiest change, how many more there are, and what else a reader has to know first."""
    parts = []
    if any(reason.topic == "model" and reason.alarm for reason in reasons):
        parts.append("another model stands behind the same path")
    changed = changed_slices(pairs)
    if changed and not changes:
        parts.append(changed)
    if changes:
        more = f" (and {_count(len(changes) - 1, 'more change')})" if len(changes) > 1 else ""
        parts.append(changes[0].message + more)
    if changes and not knows_trainings(pairs):
        parts.append("cannot tell whether that is more than another training of the model would change")
    if mix.drift:
        parts.append(
            "classes come in other shares" + ("" if changes else ", but what the model looks at has not changed")
        )
    if not parts:
        parts.append("no change beyond what the reference shows by itself")
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


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


def _power(slices: Sequence[SliceAudit], references: Sequence[Run], knows: bool) -> Iterable[_Found]:
    """Yields which change would have been noticed, and what would make more noticeable."""
    stated = [(one, one.power) for one in slices if one.power and one.kind == _kind_of_power(slices)]
    if not stated:
        return
    power = stated[0][1]
    change = f"a change in which {power.share:.0%} of the pictures of a class put {power.part:.0%} of their attention"
    sure = [one for one, found in stated if found.noticed >= SURE]
    weak = sorted(((one, found) for one, found in stated if found.noticed < SURE), key=lambda each: each[1].noticed)
    if sure:
        text = f"{change} into one place would have been noticed ({SURE:.0%}) in {len(sure)} of {len(stated)} classes"
    else:
        text = f"no class has enough pictures for {change} into one place to be noticed"
    if weak:
        named = ", ".join(_weakness(*each) for each in weak[:_NAMED])
        text += f"; not in {named}" if sure else f": {named}"
        text += f" and {len(weak) - _NAMED} more" if len(weak) > _NAMED else ""
        enough = [found.least_share for _, found in weak]
        if None not in enough:
            text += f"; there, it takes {max(filter(None, enough)):.0%} of the pictures"
    yield "power", False, text
    if knows and len(references) < _FEW_REFERENCES:
        few = f"how much nights differ by themselves is unknown with {_count(len(references), 'reference')}"
        yield "power", False, f"{few}; approve three"


def _weakness(one: SliceAudit, power: Power) -> str:
    return f"{one.name or one.value} ({_count(one.candidate_rows, 'picture')}: {power.noticed:.0%})"


def _kind_of_power(slices: Sequence[SliceAudit]) -> str:
    """Returns the kind of slices that stands for classes: labels, if there are any."""
    kinds = {one.kind for one in slices if one.power}
    return next((kind for kind in ("label", "predicted", "target") if kind in kinds), "")


def _name(one: SliceAudit) -> str:
    return slice_name(one.kind, one.value, one.name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
