"""Two or more finished runs → audit.json, whose shape `audit.schema.json` fixes, and a verdict.

Reads statistics and a sample of rows, no maps and no pictures; needs neither TensorFlow nor Beam.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.audit.references import check_channels, check_comparable
from pipeline.audit.thresholds import to_json
from pipeline.audit.verdict import Verdict, reach_verdict
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


def compare(candidate: Run, references: Sequence[Run], thresholds: Thresholds) -> Audit:
    """Returns the audit of a finished run against others, which are taken together.

    Args:
        candidate: the run that is judged.
        references: the runs it is compared with, the oldest first; see `references.find_references`.
        thresholds: what counts as a change.

    Raises:
        FileNotFoundError: one of the runs is unfinished, or there is none.
        ValueError: the runs cannot be compared, one lacks a column, or none of their slices has enough rows.
    """
    check_comparable(candidate.manifest.provenance, references)
    check_channels(candidate, references)
    runs = (candidate, *references)
    stored = {key for run in runs for key in _stored_slices(run)}
    this, *others = (run.sample(stored, thresholds.sample_rows) for run in runs)
    slices = judge(_pairs(this, others, thresholds), thresholds)
    if not any(one.metrics for one in slices):
        raise UsageError(f"{candidate.uri}: no slice has the {thresholds.min_rows} rows that a comparison takes")
    mix = judge_mix([other.classes for other in others], this.classes, thresholds)
    slices.sort(key=lambda one: (one.state != DRIFT, -one.candidate_rows - one.reference_rows, one.kind, one.value))
    return Audit(
        version=VERSION,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=reach_verdict(candidate, references, slices, mix, thresholds),
        candidate=_description(candidate),
        references=[_description(run) for run in references],
        thresholds=to_json(thresholds),
        mix=mix,
        slices=slices,
        history=_history([*references, candidate], slices[:_TREND_SLICES]),
    )


def write_audit(audit: Audit, uri: str) -> None:
    """Writes `audit` to a file."""
    content = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    storage.write_bytes(uri, content.encode("utf-8", "backslashreplace"))


def _stored_slices(run: Run) -> Iterator[Slice]:
    """Yields the slices in a run's statistics; what they count together is no slice of its own."""
    for row in run.statistics(("kind", "value", "name")).to_pylist():
        key = Slice(**row)
        if not is_overflow(key):
            yield key


def _pairs(candidate: Sample, references: Sequence[Sample], thresholds: Thresholds) -> Iterator[Pair]:
    """Yields the slices of both sides, those with most rows on the smaller side, one at a time."""
    totals = {key: sum(other.images[key] for other in references) for key in candidate.images}
    keys = sorted(totals, key=lambda key: (-min(totals[key], candidate.images[key]), key))[: thresholds.max_slices]
    here = candidate.read(keys)
    first, *more = (other.read(keys, number) for number, other in enumerate(references))
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
