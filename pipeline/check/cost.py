"""What a run will take, from a finished run of the same model and options, or measured on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.audit.references import find_references
from pipeline.check.report import Cost
from pipeline.config import AuditConfig
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.record import Chunk, Failure, Image
from transforms.store.rows import rows_of
from transforms.store.run import Run

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor

_MOST = 16
_FIRST = 2


def measure(attributor: Attributor, images: Sequence[Image], total: int, seconds: float) -> Cost | None:
    """Returns the cost of a run by attributing a few images; None if none of them can be.

    Args:
        attributor: loaded and warm.
        images: that can be decoded.
        total: number of images of the run.
        seconds: after which no further image is attributed, except the first ones.
    """
    settings, classifier = attributor.settings, attributor.classifier
    steps: list[int] = []
    spent, done = 0.0, 0
    with tempfile.TemporaryDirectory(prefix="ig-audit-") as folder:
        chunk, provenance = Chunk("0", "", "", "files", 0, 0), store.Provenance({}, "", "", "", {})
        with store.write_part(folder, chunk, provenance, settings, classifier.input_shape) as part:
            start = time.monotonic()
            while done < min(_MOST, len(images)):
                count = int((seconds - spent) / (spent / done)) if done else _FIRST
                if count < 1:
                    break
                few = images[done : min(done + count, _MOST)]
                for outcome in attributor.attribute(few, lambda batch, _: steps.append(batch)):
                    if not isinstance(outcome, Failure):
                        part.add(rows_of(outcome, settings, classifier.names))
                done += len(few)
                spent = time.monotonic() - start
    measured = part.summary.images
    if not measured:
        return None
    return Cost(
        seconds_an_image=spent / measured,
        bytes_an_image=part.summary.attributions.bytes / measured,
        images=total,
        steps_an_image=sum(steps) / measured,
        steps_a_second=sum(steps) / spent,
        measured=measured,
    )


def from_last_run(cost: Cost, config: AuditConfig, model_digest: str) -> Cost:
    """Returns the cost by the latest finished run of this model and these settings; as measured if there is none.

    It is looked for among the references, and beside an output that has a date.
    """
    parent, _, name = config.output.rpartition("/")
    folders = [*config.reference, *([parent or "."] if "{date}" in name else [])]
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            for run in reversed(find_references([folder])):
                manifest = run.manifest
                seconds = manifest.facts.get("worker_seconds")
                if seconds and manifest.images and _is_alike(run, config, model_digest):
                    size = sum(file.bytes for file in run.files)
                    return dataclasses.replace(
                        cost,
                        seconds_an_image=seconds / manifest.images,
                        bytes_an_image=size / manifest.images,
                        known_from=run.uri,
                    )
    return cost


def _is_alike(run: Run, config: AuditConfig, model_digest: str) -> bool:
    """Returns whether an image of a run cost what it will now: the same model and settings."""
    stored, now = run.manifest.provenance, config.shaping()
    names = [field.name for field in dataclasses.fields(Settings)]
    return stored.model_digest == model_digest and all(stored.config.get(name) == now[name] for name in names)
