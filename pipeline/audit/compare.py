"""Two or more finished runs → audit.json, whose shape `audit.schema.json` fixes, and a verdict.

Reads statistics and a sample of rows, no maps and no pictures; needs neither TensorFlow nor Beam.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.audit.references import (
    LeftOut,
    UnusableReferenceError,
    check_channels,
    check_comparable,
    choose_references,
    reading,
)
from pipeline.audit.tails import TailJudge, Tails
from pipeline.audit.thresholds import to_json
from pipeline.audit.verdict import Verdict, left_out_reasons, reach_verdict, refuse_empty
from transforms import storage
from transforms.core.drift.class_mix import MixAudit, judge_mix
from transforms.core.drift.judge import DRIFT, Pair, SliceAudit, judge
from transforms.core.drift.thresholds import Thresholds
from transforms.core.errors import UsageError
from transforms.core.record import Row
from transforms.core.statistics.importance import STORED_SCALARS
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.run import Run
from transforms.store.sample import Sample
from transforms.text import printable

VERSION = 1

_Read = TypeVar("_Read")

_NUMBERS = re.compile(r"\[\s+(?:-?\d[\d.eE+-]*,?\s+)+\]")
"""A list of numbers over several lines. No text holds one: line breaks in texts are escaped."""

_TREND_SLICES = 100
_PRINTED = 12


@dataclass(frozen=True)
class Audit:
    """What a comparison found; the fields are those of audit.json."""

    version: int
    created: str
    verdict: Verdict
    candidate: dict[str, Any]
    references: list[dict[str, Any]]
    thresholds: dict[str, Any]
    mix: MixAudit
    tails: dict[str, Any] | None
    slices: list[SliceAudit]
    history: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns the audit as JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """Returns the verdict with its reasons, for a terminal."""
        shown = self.verdict.reasons[:_PRINTED]
        lines = [self.verdict.headline, *(f"  {'!' if one.alarm else '-'} {printable(one.message)}" for one in shown)]
        if len(self.verdict.reasons) > _PRINTED:
            lines.append(f"  … and {len(self.verdict.reasons) - _PRINTED} more")
        return "\n".join(lines)


def compare_with(candidate: Run, uris: Sequence[str], most: int, thresholds: Thresholds) -> Audit:
    """Returns the audit of a finished run against the runs and folders of runs at `uris`.

    A run in a folder that turns out to be damaged is left out like those that `references.choose_references` leaves.

    Args:
        candidate: the run that is judged.
        uris: run directories, and folders of them.
        most: how many of the latest to take; 0 takes all.
        thresholds: what counts as a change.

    Raises:
        FileNotFoundError: the candidate is unfinished, or there is no finished run to compare with.
        ValueError: the runs cannot be compared, one lacks a column, or none of their slices has enough rows.
    """
    references = choose_references(candidate.manifest.provenance, uris, most, exclude=candidate.uri)
    while True:
        try:
            return compare(candidate, references.runs, thresholds, references.left_out)
        except UnusableReferenceError as error:
            references = references.without(error)


def compare(
    candidate: Run, references: Sequence[Run], thresholds: Thresholds, left_out: Sequence[LeftOut] = ()
) -> Audit:
    """Returns the audit of a finished run against others, which are taken together.

    Args:
        candidate: the run that is judged; if it has no rows, that is the verdict.
        references: the runs it is compared with, the oldest first; see `references.choose_references`.
        thresholds: what counts as a change.
        left_out: runs that it is not compared with, and why.

    Raises:
        FileNotFoundError: one of the runs is unfinished, or there is none.
        UnusableReferenceError: a reference cannot be read or compared.
        ValueError: the runs cannot be compared, one lacks a column, or none of their slices has enough rows.
    """
    check_comparable(candidate.manifest.provenance, references)
    if not candidate.manifest.rows:
        unjudged = MixAudit(drift=False, p_value=1.0, distance=0.0, self_distance=0.0, classes=[])
        return _audit(candidate, references, thresholds, refuse_empty(candidate), unjudged, [], left_out)
    check_channels(candidate, references)
    stored = {*_stored_slices(candidate), *itertools.chain(*_of_each(references, _stored_slices))}
    this = candidate.sample(stored, thresholds.sample_rows)
    others = _of_each(references, lambda run: run.sample(stored, thresholds.sample_rows))
    tail_judge = TailJudge(thresholds)
    slices = judge(tail_judge.watch(_pairs(this, others, references, thresholds)), thresholds)
    if not any(one.metrics for one in slices):
        raise UsageError(_too_few(candidate, references, thresholds))
    tails = tail_judge.judge(this, others, range(len(others)))
    slices = [_with_tails(one, tails) for one in slices]
    mix = judge_mix([other.classes for other in others], this.classes, thresholds)
    slices.sort(key=lambda one: (one.state != DRIFT, -one.candidate_rows - one.reference_rows, one.kind, one.value))
    verdict = reach_verdict(candidate, references, slices, mix, thresholds)
    return _audit(candidate, references, thresholds, verdict, mix, slices, left_out, tails.evidence)


def _with_tails(one: SliceAudit, tails: Tails) -> SliceAudit:
    """Returns the judgement of a slice with what its tail shows, which may be a drift by itself."""
    key = Slice(one.kind, one.value, one.name)
    found = tails.found.get(key, [])
    return dataclasses.replace(one, state=DRIFT if found else one.state, tails=found, power=tails.power.get(key))


def _audit(
    candidate: Run,
    references: Sequence[Run],
    thresholds: Thresholds,
    verdict: Verdict,
    mix: MixAudit,
    slices: list[SliceAudit],
    left_out: Sequence[LeftOut],
    tails: dict[str, Any] | None = None,
) -> Audit:
    return Audit(
        version=VERSION,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=dataclasses.replace(verdict, reasons=[*verdict.reasons, *left_out_reasons(left_out)]),
        candidate=_description(candidate),
        references=[_description(run) for run in references],
        thresholds=to_json(thresholds),
        mix=mix,
        tails=tails,
        slices=slices,
        history=_history([*references, candidate], slices[:_TREND_SLICES]),
    )


def write_audit(audit: Audit, uri: str) -> None:
    """Writes `audit` to a file."""
    content = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    content = _NUMBERS.sub(lambda found: " ".join(found[0].split()), content)
    storage.write_bytes(uri, content.encode("utf-8", "backslashreplace"))


def _of_each(references: Sequence[Run], read: Callable[[Run], _Read]) -> list[_Read]:
    """Returns what is read of each reference.

    Raises:
        UnusableReferenceError: one is damaged.
    """
    found = []
    for run in references:
        with reading(run):
            found.append(read(run))
    return found


def _stored_slices(run: Run) -> list[Slice]:
    """Returns the slices in a run's statistics; what they count together is no slice of its own."""
    keys = (Slice(**row) for row in run.statistics(("kind", "value", "name")).to_pylist())
    return [key for key in keys if not is_overflow(key)]


def _too_few(candidate: Run, references: Sequence[Run], thresholds: Thresholds) -> str:
    rows = f"{candidate.manifest.rows:,} rows, and the reference {sum(run.manifest.rows for run in references):,}"
    takes = f"no slice has the {thresholds.min_rows} rows (min_rows) of both that a comparison takes"
    return f"{candidate.uri}: {takes}: the run has {rows}"


def _pairs(
    candidate: Sample, references: Sequence[Sample], runs: Sequence[Run], thresholds: Thresholds
) -> Iterator[Pair]:
    """Yields the slices of both sides, those with most rows on the smaller side, one at a time."""
    totals = {key: sum(other.images[key] for other in references) for key in candidate.images}
    keys = sorted(totals, key=lambda key: (-min(totals[key], candidate.images[key]), key))[: thresholds.max_slices]
    here, numbers = candidate.read(keys), iter(range(len(references)))
    first, *more = _of_each(runs, lambda run: references[number := next(numbers)].read(keys, number))
    for key in keys:
        reference = first.of(key).join(*(rows.of(key) for rows in more))
        yield Pair(key, reference, here.of(key), totals[key], candidate.images[key])


def _description(run: Run) -> dict[str, Any]:
    manifest = run.manifest
    counts = {"images": manifest.images, "rows": manifest.rows, "failures": manifest.failures}
    names = ("model", "model_digest", "config_digest")
    made_by = {name: getattr(manifest.provenance, name) for name in names}
    return {"uri": run.uri, "created": manifest.created} | counts | made_by


def _history(runs: Sequence[Run], slices: Sequence[SliceAudit]) -> dict[str, Any]:
    """Returns the means of each run, from its statistics, of some slices."""
    means = [_means(run) for run in runs]
    return {
        "nights": [{"uri": run.uri, "created": run.manifest.created, "images": run.manifest.images} for run in runs],
        "slices": [_trend(one, [rows.get((one.kind, one.value), {}) for rows in means]) for one in slices],
    }


def _means(run: Run) -> dict[tuple[str, str], Row]:
    """Returns the means of every slice of a run, of those numbers that it has: earlier versions knew fewer."""
    means = [f"mean_{name}" for name in STORED_SCALARS if name in run.scalars]
    rows = run.statistics(("kind", "value", "name", "count", *means)).to_pylist()
    kept = (row for row in rows if not is_overflow(Slice(row["kind"], row["value"], row["name"])))
    return {(row["kind"], row["value"]): row for row in kept}


def _trend(one: SliceAudit, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {name: [row.get(f"mean_{name}") for row in rows] for name in STORED_SCALARS}
    counts = [row.get("count", 0) for row in rows]
    return {"kind": one.kind, "value": one.value, "name": one.name, "rows": counts, "means": means}
