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

from pipeline.audit.references import Night, check_comparable, find_nights
from pipeline.audit.thresholds import to_json
from pipeline.audit.verdict import Verdict, reach_verdict
from transforms import storage, store
from transforms.core.drift.class_mix import MixAudit, judge_mix
from transforms.core.drift.judge import DRIFT, Pair, SliceAudit, judge
from transforms.core.drift.thresholds import Thresholds
from transforms.core.errors import UsageError
from transforms.core.record import Row
from transforms.core.statistics.importance import STORED_SCALARS
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.sample import RunIndex, index_run, read_slices
from transforms.store.tables import read_finished, scalar_names

AUDIT = "audit.json"
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
        lines = [self.verdict.headline, *(f"  {'!' if one.alarm else '-'} {_printable(one.message)}" for one in shown)]
        if len(self.verdict.reasons) > _PRINTED:
            lines.append(f"  … and {len(self.verdict.reasons) - _PRINTED} more")
        return "\n".join(lines)


def compare(candidate_uri: str, reference_uris: Sequence[str], thresholds: Thresholds, nights: int = 0) -> Audit:
    """Returns the audit of a finished run against others, which are taken together.

    Args:
        candidate_uri: a run directory.
        reference_uris: run directories, or folders of them.
        thresholds: what counts as a change.
        nights: how many of the latest references to take; 0 takes all.

    Raises:
        FileNotFoundError: there is no finished run at one of the URIs.
        ValueError: the runs can't be compared, one lacks a column, or none of their slices has enough rows.
    """
    candidate = Night(candidate_uri, store.read_manifest(candidate_uri))
    references = find_nights(reference_uris, nights, exclude=candidate_uri)
    check_comparable(candidate.manifest.provenance, references)
    stored = {key for night in (candidate, *references) for key in _stored_slices(night.uri)}
    this, *others = (
        index_run(night.uri, night.manifest, stored, thresholds.sample_rows) for night in (candidate, *references)
    )
    slices = judge(_pairs(this, others, thresholds), thresholds)
    if not any(one.metrics for one in slices):
        raise UsageError(f"{candidate_uri}: no slice has the {thresholds.min_rows} rows that a comparison takes")
    mix = judge_mix([other.classes for other in others], this.classes, thresholds)
    slices.sort(key=lambda one: (one.state != DRIFT, -one.candidate_rows - one.reference_rows, one.kind, one.value))
    return Audit(
        version=VERSION,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=reach_verdict(candidate, references, slices, mix, thresholds),
        candidate=_run(candidate),
        references=[_run(night) for night in references],
        thresholds=to_json(thresholds),
        mix=mix,
        slices=slices,
        history=_history([*references, candidate], slices[:_TREND_SLICES]),
    )


def write_audit(audit: Audit, uri: str) -> None:
    """Writes `audit` to a file."""
    content = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    storage.write_bytes(uri, content.encode("utf-8", "backslashreplace"))


def _stored_slices(run_uri: str) -> Iterator[Slice]:
    """Yields the slices in a run's statistics; what they count together is no slice of its own."""
    for row in read_finished(run_uri, ("kind", "value", "name")):
        key = Slice(row["kind"], row["value"], row["name"])
        if not is_overflow(key):
            yield key


def _pairs(candidate: RunIndex, references: Sequence[RunIndex], thresholds: Thresholds) -> Iterator[Pair]:
    """Yields the slices of both sides, those with most rows on the smaller side, one at a time."""
    totals = {key: sum(other.images[key] for other in references) for key in candidate.images}
    keys = sorted(totals, key=lambda key: (-min(totals[key], candidate.images[key]), key))[: thresholds.max_slices]
    here = read_slices(candidate, keys)
    first, *more = (read_slices(other, keys, night) for night, other in enumerate(references))
    for key in keys:
        reference = first.of(key).join(*(rows.of(key) for rows in more))
        yield Pair(key, reference, here.of(key), totals[key], candidate.images[key])


def _run(night: Night) -> dict[str, Any]:
    manifest = night.manifest
    counts = {"images": manifest.images, "rows": manifest.rows, "failures": manifest.failures}
    names = ("model", "model_digest", "config_digest")
    made_by = {name: getattr(manifest.provenance, name) for name in names}
    return {"uri": night.uri, "created": manifest.created} | counts | made_by


def _history(nights: Sequence[Night], slices: Sequence[SliceAudit]) -> dict[str, Any]:
    """Returns the means of each night, from its statistics, of some slices."""
    finished = [{(row["kind"], row["value"]): row for row in _finished(night.uri)} for night in nights]
    return {
        "nights": [
            {"uri": night.uri, "created": night.manifest.created, "images": night.manifest.images} for night in nights
        ],
        "slices": [_trend(one, [rows.get((one.kind, one.value), {}) for rows in finished]) for one in slices],
    }


def _finished(run_uri: str) -> list[Row]:
    """Returns the means of every slice of a run, of those numbers that it has: earlier versions knew fewer."""
    known = set(scalar_names(run_uri))
    means = [f"mean_{name}" for name in STORED_SCALARS if name in known]
    rows = read_finished(run_uri, ("kind", "value", "name", "count", *means))
    return [row for row in rows if not is_overflow(Slice(row["kind"], row["value"], row["name"]))]


def _trend(one: SliceAudit, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {name: [row.get(f"mean_{name}") for row in rows] for name in STORED_SCALARS}
    counts = [row.get("count", 0) for row in rows]
    return {"kind": one.kind, "value": one.value, "name": one.name, "rows": counts, "means": means}


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
