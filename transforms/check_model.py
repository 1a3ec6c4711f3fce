"""Two checks of a run's model, made once, on a few of its stored pictures, whatever the runner and workers.

They need the model, but not the input: stored pictures show what the model saw. One compares maps with those of
randomized weights, both of the same picture; the other looks at predictions, for what is likely wrong with the options.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms import worker
from transforms.core.image.decode import Decoding, decode
from transforms.core.record import Randomization, Row
from transforms.core.stable_hash import stable_digest
from transforms.preflight import TRIED, Look, Subject, look
from transforms.store import PartSummary
from transforms.store.run import Run
from transforms.worker import AttributorSpec

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor

PICTURES = 2
PARTS = 8
"""Parts whose pictures are looked at: neighbors may be of one class."""

_SECONDS = 3.0


def rank(part: PartSummary) -> bytes:
    """Returns what puts parts in an order that has nothing to do with their images: a hash of the chunk's id."""
    return stable_digest(part.chunk, 64)


def check_run(run: Run, parts: Sequence[PartSummary], spec: AttributorSpec, config_digest: str) -> Randomization:
    """Returns the randomization check of a run whose parts are written; that of its earlier manifest, if it has one.

    Args:
        run: the run, whose manifest may not be written yet.
        parts: its parts, or as many of the first by `rank` that have rows as give PICTURES; the pictures are these.
        spec: makes this worker's attributor, if it has none yet.
        config_digest: an earlier manifest counts if it has the same.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: the model cannot be loaded.
    """
    if not spec.settings.faithfulness:
        return Randomization(reason="switched off by --faithfulness 0")
    earlier = run.manifest if run.is_finished else None
    if earlier and earlier.randomisation and earlier.provenance.config_digest == config_digest:
        return earlier.randomisation
    rows = run.first_rows(PICTURES, ("target", "thumbnail"), sorted(parts, key=rank))
    if not rows:
        return Randomization(reason="no image was attributed")
    from transforms.core.explain.randomization import check_randomization

    attributor = worker.attributor(spec).attributor
    channels = attributor.classifier.input_shape[2]
    if channels not in _SHOWN:
        return Randomization(reason=f"stored pictures do not hold the {channels} channels of the model's input")
    return check_randomization(attributor, _pictures(rows, attributor), [row["target"] for row in rows])


def look_at_run(
    run: Run, parts: Sequence[PartSummary], spec: AttributorSpec, config_digest: str
) -> Mapping[str, Any] | None:
    """Returns what the predictions for some of a run's pictures show, as JSON values: see `preflight.Look`.

    Arguments and errors are those of `check_run`, by whose loaded model it looks; None if that is switched off.
    """
    if not spec.settings.faithfulness:
        return None
    earlier = run.manifest if run.is_finished else None
    if earlier and "look" in earlier.facts and earlier.provenance.config_digest == config_digest:
        found: Mapping[str, Any] = earlier.facts["look"]
        return found
    chosen = sorted(parts, key=rank)[:PARTS]
    columns = ("image_id", "label", "label_name", "predictions", "thumbnail")
    each = -(-TRIED // max(1, len(chosen)))
    rows = {row["image_id"]: row for part in chosen for row in run.first_rows(each, columns, [part])}
    if not rows:
        return Look(reason="no image was attributed").to_json()
    attributor = worker.attributor(spec).attributor
    if attributor.classifier.input_shape[2] not in _SHOWN:
        return Look(reason="stored pictures do not hold the channels of the model's input").to_json()
    pictures = _pictures(list(rows.values()), attributor)
    labels = [_index(row, attributor.classifier.label_offset) for row in rows.values()]
    seen = look(Subject.of(attributor), pictures, attributor.outputs(pictures), labels, _SECONDS)
    return (seen if seen.reason else _as_stored(seen, list(rows.values()), labels)).to_json()


_SHOWN = (1, 3)
"""Channels that stored pictures hold."""


def _as_stored(seen: Look, rows: Sequence[Row], labels: Sequence[int | None]) -> Look:
    """Returns a look with the accuracy of the stored predictions: stored pictures are JPEGs, which move some."""
    classes = [row["predictions"][0]["target"] for row in rows]
    names = Counter(row["predictions"][0]["name"] for row in rows)
    ((name, count),) = names.most_common(1)
    right = sum(label == each for label, each in zip(labels, classes, strict=True))
    accuracy = right / seen.labeled if seen.labeled else None
    return dataclasses.replace(seen, accuracy=accuracy, top_class=name, top_share=count / len(rows))


def _pictures(rows: Sequence[Row], attributor: Attributor) -> np.ndarray:
    height, width, channels = attributor.classifier.input_shape
    how = Decoding("stretch", channels=channels)
    return np.stack([decode(row["thumbnail"], (height, width), how).array for row in rows])


def _index(row: Row, offset: int) -> int | None:
    """Returns the class index of a row's label, or the index that it says though the model has no such class."""
    if isinstance(row["label"], int):
        return row["label"]
    stored = str(row["label_name"])
    return int(stored) + offset if re.fullmatch("[0-9]{1,9}", stored) else None
