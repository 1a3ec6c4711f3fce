"""A look at a model's predictions for some pictures: accuracy, and what is likely wrong with the options.

The command `check` takes pictures all over the input; a run takes some of those that it has stored.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.core.explain.suspicion import LEAST, Predictions, Suspicion, is_beyond_doubt, suspicions
from transforms.core.model.other_inputs import other_inputs

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor

TRIED = 32
"""Pictures for which other inputs are tried."""

_TASKS = ("classes", "binary")


@dataclass(frozen=True)
class Look:
    """What a model's predictions for some pictures show.

    Attributes:
        pictures: how many.
        labeled: how many of them have a label.
        accuracy: the share of these whose prediction is the label; None without any.
        top_class: the most predicted class.
        top_share: its share of the pictures.
        tried: other inputs that were tried, by the names of `other_inputs`.
        suspicions: what is likely wrong.
        reason: why nothing was found out; empty otherwise.
    """

    pictures: int = 0
    labeled: int = 0
    accuracy: float | None = None
    top_class: str = ""
    top_share: float = 0.0
    tried: tuple[str, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked at: a model, as functions of arrays.

    Attributes:
        outputs: raw pixels float32 `[n, height, width, channels]` → outputs `[n, classes]`.
        probabilities: outputs → probabilities.
        names: the class names.
        task: what the model decides, one of `vocabulary.TASKS`.
        pixels: the option of the input's range.
        offset: what was added to stored labels.
    """

    outputs: Callable[[np.ndarray], np.ndarray]
    probabilities: Callable[[np.ndarray], Any]
    names: Sequence[str]
    task: str
    pixels: str
    offset: int = 0

    @classmethod
    def of(cls, attributor: Attributor) -> Subject:
        """Returns the model of an attributor."""
        found = attributor.classifier
        return cls(
            attributor.outputs, found.to_probabilities, found.names, found.task, found.pixels, found.label_offset
        )


def look(
    subject: Subject, images: np.ndarray, outputs: np.ndarray, labels: Sequence[int | None], seconds: float
) -> Look:
    """Returns what the predictions for some pictures show.

    Args:
        subject: the model.
        images: float32 `[m, height, width, channels]` in [0, 1], the first of the pictures.
        outputs: float32 `[n, classes]` of all pictures, n at least m.
        labels: of each picture the class index, or None; with an index that the model does not have, that.
        seconds: after which no other input is tried.
    """
    if subject.task not in _TASKS:
        return Look(len(outputs), reason=f"predictions are judged for {' and '.join(_TASKS)} only")
    if not len(outputs):
        return Look(reason="there is no picture to look at")
    given = _predictions(subject, outputs, labels)
    others: Mapping[str, Predictions] = {}
    if len(given) >= LEAST and not is_beyond_doubt(given):
        others = _try(subject, images[:TRIED], labels, seconds)
    name, share = given.top
    return Look(
        pictures=len(given),
        labeled=int(given.labeled.sum()),
        accuracy=given.accuracy,
        top_class=name,
        top_share=share,
        tried=tuple(others),
        suspicions=tuple(suspicions(given, others, subject.pixels, subject.offset)),
    )


def _try(subject: Subject, images: np.ndarray, labels: Sequence[int | None], seconds: float) -> dict[str, Predictions]:
    """Returns the predictions for other inputs, as many as time allows."""
    until = time.monotonic() + seconds
    inputs = other_inputs(images, subject.pixels).items()
    return {
        name: _predictions(subject, np.nan_to_num(subject.outputs(changed)), labels[: len(images)])
        for name, changed in itertools.takewhile(lambda _: time.monotonic() < until, inputs)
    }


def _predictions(subject: Subject, outputs: np.ndarray, labels: Sequence[int | None]) -> Predictions:
    return Predictions.of(np.asarray(subject.probabilities(outputs)), labels, subject.names)
