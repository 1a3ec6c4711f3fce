"""Failing images by kind, from the errors parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from transforms.core.record import Row
from transforms.store.run import Run


@dataclass(frozen=True)
class FailureKind:
    """Failures of one stage and kind: how many, and one of them."""

    stage: str
    error: str
    count: int
    image_id: str
    message: str


def failure_kinds(run: Run) -> list[FailureKind]:
    """Returns the kinds of failures, the most frequent first, each with its first example."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], Row] = {}
    for table in run.errors(["stage", "error", "image_id", "message"]):
        for failure in table.to_pylist():
            kind = failure["stage"], failure["error"]
            counts[kind] += 1
            examples.setdefault(kind, failure)
    return [
        FailureKind(*kind, count, examples[kind]["image_id"], examples[kind]["message"])
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
