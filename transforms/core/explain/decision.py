"""What a model decides of an image: its predictions, the labels that it gives, and the rank of a class."""

from __future__ import annotations

import numpy as np

from transforms.core.explain.target import ranked
from transforms.core.model.classifier import Classifier
from transforms.core.record import Prediction

TOP_PREDICTIONS = 5

DECIDED = 0.5
"""A model of any number of labels gives an image those of a higher probability."""


def has_probabilities(classifier: Classifier) -> bool:
    """Returns whether a model's outputs are those of classes, and not values or something of another shape."""
    return classifier.task not in ("values", "dense")


def probabilities_of(classifier: Classifier, outputs: np.ndarray) -> np.ndarray:
    """Returns an image's outputs `[classes]` as probabilities, float32."""
    return np.asarray(classifier.to_probabilities(outputs[None]))[0]


def predictions_of(classifier: Classifier, outputs: np.ndarray) -> tuple[Prediction, ...]:
    """Returns the classes of the highest probabilities; a regression's first outputs; nothing of dense outputs."""
    names = classifier.names
    if classifier.task == "values":
        return tuple(
            Prediction(index, names[index], None, float(value)) for index, value in enumerate(outputs[:TOP_PREDICTIONS])
        )
    if not has_probabilities(classifier):
        return ()
    probabilities, top = probabilities_of(classifier, outputs), ranked(outputs)[:TOP_PREDICTIONS]
    return tuple(Prediction(int(index), names[index], float(probabilities[index])) for index in top)


def decided_labels(classifier: Classifier, outputs: np.ndarray) -> tuple[int, ...]:
    """Returns the labels, sorted, that a model of any number of them gives an image; none of other models."""
    if classifier.task != "labels":
        return ()
    return tuple(np.flatnonzero(probabilities_of(classifier, outputs) > DECIDED).tolist())


def rank_of(classifier: Classifier, outputs: np.ndarray, target: int | None) -> int | None:
    """Returns the number of classes with a higher output than a target; None if nothing is ranked."""
    if target is None or not has_probabilities(classifier):
        return None
    return int(np.flatnonzero(ranked(outputs) == target)[0])
