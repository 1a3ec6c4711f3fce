"""The model-randomization check of a run, made once, on a few of its stored pictures, whatever the runner and workers.

It needs the model, but not the input: stored pictures show what the model saw, and both maps of the check are made
of the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms import worker
from transforms.core.image.decode import Decoding, decode
from transforms.core.record import Randomization
from transforms.core.stable_hash import stable_digest
from transforms.store import PartSummary
from transforms.store.run import Run
from transforms.worker import AttributorSpec

PICTURES = 2


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
        ValueError: the model can't be loaded.
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
    height, width, channels = attributor.classifier.input_shape
    if channels not in (1, 3, 4):
        return Randomization(reason=f"stored pictures do not hold the {channels} channels of the model's input")
    how = Decoding("stretch", channels=channels)
    pictures = np.stack([decode(row["thumbnail"], (height, width), how).array for row in rows])
    return check_randomization(attributor, pictures, [row["target"] for row in rows])
