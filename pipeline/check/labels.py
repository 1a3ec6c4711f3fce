"""Labels of some images → whether they name classes of the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.check.report import LabelCounts
from transforms.core.explain.label import LabelError, Labels
from transforms.core.explain.suspicion import Suspicion
from transforms.core.record import Image

_EXAMPLES = 3


def index_of(image: Image, labels: Labels) -> int | None:
    """Returns the class of an image's label, or the index that it says though the model has no such class."""
    try:
        found = labels.resolve_image(image)
    except LabelError:
        stored = str(image.label)
        return int(stored) + labels.offset if re.fullmatch(r"[0-9]{1,9}", stored) else None
    return found if isinstance(found, int) else None


def count_labels(images: Iterable[Image], labels: Labels) -> LabelCounts:
    """Returns how many of some images have a label that can be used."""
    looked_at = usable = missing = unusable = 0
    examples: dict[str, None] = {}
    for image in images:
        looked_at += 1
        try:
            found = labels.resolve_image(image)
        except LabelError as error:
            unusable += 1
            examples.setdefault(str(error)) if len(examples) < _EXAMPLES else None
        else:
            missing += found is None
            usable += found is not None
    return LabelCounts(looked_at, usable, missing, unusable, tuple(examples))


def suspicions_of(labels: LabelCounts, needed: bool, formats: Sequence[str]) -> list[Suspicion]:
    """Returns what is likely wrong with labels.

    Args:
        labels: what was counted.
        needed: whether an image without a label fails.
        formats: of the shards.
    """
    found = []
    if labels.unusable:
        found.append(
            Suspicion(
                "labels name no class of the model",
                f"{labels.unusable:,} of {labels.looked_at:,} looked at: {'; '.join(labels.examples)}",
                "--class_names, --label_offset",
            )
        )
    if needed and labels.missing and not labels.unusable:
        options = {"tfrecord": "--label_feature", "parquet": "--label_column"}
        where = " or ".join(dict.fromkeys(options[each] for each in formats if each in options))
        found.append(
            Suspicion(
                "images have no label, and --targets label needs one",
                f"{labels.missing:,} of {labels.looked_at:,} looked at",
                where or "--targets top1",
            )
        )
    return found
