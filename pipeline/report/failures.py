"""Failing images by kind, from the errors parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms import storage, store
from transforms.core.record import Row
from transforms.store.files import open_parquet


@dataclass(frozen=True)
class FailureKind:
    """Failures of one stage and kind: how many, and one of them."""

    stage: str
    error: str
    count: int
    image_id: str
    message: str


def failure_kinds(run_uri: str, parts: Sequence[store.PartSummary]) -> list[FailureKind]:
    """Returns the kinds of failures, the most frequent first, each with its first example."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], Row] = {}
    for part in parts:
        if part.errors:
            for failure in _failures(run_uri, part.errors.name):
                kind = failure["stage"], failure["error"]
                counts[kind] += 1
                examples.setdefault(kind, failure)
    return [
        FailureKind(*kind, count, examples[kind]["image_id"], examples[kind]["message"])
        for kind, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _failures(run_uri: str, name: str) -> Iterator[Row]:
    with open_parquet(storage.join(run_uri, name)) as parquet:
        for batch in parquet.iter_batches(columns=["stage", "error", "image_id", "message"]):
            yield from batch.to_pylist()
