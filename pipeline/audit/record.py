"""What audit.json holds, whose shape `audit.schema.json` fixes: of a run that was compared, and of one that was not."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.audit.findings import Finding, Searched
from pipeline.audit.verdict import Verdict
from transforms import storage
from transforms.core.drift.class_mix import MixAudit
from transforms.core.drift.pairs import PairsAudit
from transforms.core.drift.slice_audit import SliceAudit
from transforms.core.record import Row
from transforms.core.statistics.importance import STORED_SCALARS
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.run import Run
from transforms.text import fit

VERSION = 2

_NUMBERS = re.compile(r"\[\s+(?:-?\d[\d.eE+-]*,?\s+)+\]")
"""A list of numbers over several lines. No text holds one: line breaks in texts are escaped."""

_TREND_SLICES = 100
_PRINTED = 12
_LETTERS = 600


@dataclass(frozen=True)
class Unjudged:
    """What was found in a run that was not compared; the fields are those of audit.json that it fills."""

    version: int
    created: str
    candidate: dict[str, Any]
    findings: list[Finding]
    searched: Searched

    def to_json(self) -> dict[str, Any]:
        """Returns the audit as JSON values."""
        missing: dict[str, Any] = {"verdict": None, "references": [], "thresholds": None, "mix": None, "slices": []}
        missing |= {"tails": None, "pairs": None}
        missing["history"] = {"nights": [], "slices": []}
        return dataclasses.asdict(self) | missing


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
    pairs: PairsAudit | None
    slices: list[SliceAudit]
    history: dict[str, Any]
    findings: list[Finding]
    searched: Searched

    def to_json(self) -> dict[str, Any]:
        """Returns the audit as JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """Returns the verdict with its reasons, for a terminal."""
        shown = self.verdict.reasons[:_PRINTED]
        lines = [_line(self.verdict.headline)]
        for one in shown:
            lines.append(f"  {'!' if one.alarm else '-'} {_line(one.message)}")
            lines += [f"      {_line(one.detail)}"] if one.detail else []
        if len(self.verdict.reasons) > _PRINTED:
            lines.append(f"  … and {len(self.verdict.reasons) - _PRINTED} more")
        return "\n".join(lines)


def _line(text: str) -> str:
    """Returns a sentence for a terminal; the middle of one that very long names make too long is left out."""
    return fit(text, _LETTERS, start=_LETTERS // 2)


def write_audit(audit: Audit | Unjudged, uri: str) -> None:
    """Writes `audit` to a file."""
    content = json.dumps(audit.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    content = _NUMBERS.sub(lambda found: " ".join(found[0].split()), content)
    storage.write_bytes(uri, content.encode("utf-8", "backslashreplace"))


def now() -> str:
    """Returns the time, ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def describe(run: Run) -> dict[str, Any]:
    """Returns what tells a run from others."""
    manifest = run.manifest
    counts = {"images": manifest.images, "rows": manifest.rows, "failures": manifest.failures}
    names = ("model", "model_digest", "config_digest")
    made_by = {name: getattr(manifest.provenance, name) for name in names}
    return {"uri": run.uri, "created": manifest.created} | counts | made_by


def history(runs: Sequence[Run], slices: Sequence[SliceAudit]) -> dict[str, Any]:
    """Returns the means of each run, from its statistics, of the first slices."""
    means = [_means(run) for run in runs]
    return {
        "nights": [{"uri": run.uri, "created": run.manifest.created, "images": run.manifest.images} for run in runs],
        "slices": [
            _trend(one, [rows.get((one.kind, one.value), {}) for rows in means]) for one in slices[:_TREND_SLICES]
        ],
    }


def _means(run: Run) -> dict[tuple[str, str], Row]:
    """Returns the means of every slice of a run and their errors, of those that it has: earlier versions knew fewer."""
    means = [f"mean_{name}" for name in STORED_SCALARS if name in run.scalars]
    means += [column for name in means if (column := name.replace("mean_", "se_", 1)) in run.statistics_columns]
    rows = run.statistics(("kind", "value", "name", "count", *means)).to_pylist()
    kept = (row for row in rows if not is_overflow(Slice(row["kind"], row["value"], row["name"])))
    return {(row["kind"], row["value"]): row for row in kept}


def _trend(one: SliceAudit, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {name: [row.get(f"mean_{name}") for row in rows] for name in STORED_SCALARS}
    errors = {name: [row.get(f"se_{name}") for row in rows] for name in STORED_SCALARS}
    counts = [row.get("count", 0) for row in rows]
    numbers = {"rows": counts, "means": means, "errors": errors}
    return {"kind": one.kind, "value": one.value, "name": one.name} | numbers
