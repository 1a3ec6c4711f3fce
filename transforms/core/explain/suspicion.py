"""What is likely wrong with labels or with a model's input, judged from its predictions for a few pictures.

A suspicion needs evidence that chance does not give: two ways to read the same pictures are compared by the pictures
that only one of them gets right (McNemar's exact test), and agreement with the labels by what is left of it beyond
chance (Cohen's kappa).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.model.other_inputs import BGR

LEAST = 16
"""Pictures below which nothing is suspected."""

_SIGNIFICANT = 1e-3
_ONE_CLASS = 0.9
_VARIED = 0.6
_NO_AGREEMENT = 0.1
_HIGH = 0.8
_MUCH = 0.1
_COLLAPSED = 0.05
_LEAST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class Suspicion:
    """Something that is likely wrong.

    Attributes:
        problem: what it is, a sentence without its full stop.
        evidence: what shows it.
        option: what mends it, or where to look.
    """

    problem: str
    evidence: str
    option: str


@dataclass(frozen=True)
class _Cause:
    """A suspicion, and the share of the labels that would be right without what is wrong."""

    suspicion: Suspicion
    right: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions for some pictures, and their labels.

    Attributes:
        classes: int `[n]`, the class of the highest output.
        spread: how far log-probabilities differ from picture to picture, by how far they differ from class to class.
        labels: of each picture a class index, or None; one outside the model's classes is a label that names none.
        names: the class names.
    """

    classes: np.ndarray
    spread: float
    labels: Sequence[int | None]
    names: Sequence[str]

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: Sequence[int | None], names: Sequence[str]) -> Predictions:
        """Returns the predictions of probabilities `[n, classes]`."""
        logs = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
        spread = logs.std(axis=0).mean() / max(float(logs.mean(axis=0).std()), _LEAST_PROBABILITY)
        return cls(probabilities.argmax(axis=1), float(spread), labels, names)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def labeled(self) -> np.ndarray:
        """Which pictures have a label, bool `[n]`."""
        return np.array([label is not None for label in self.labels], bool)

    def right(self, offset: int = 0) -> np.ndarray:
        """Returns bool `[n]`: whose prediction is the label plus `offset`."""
        return np.array(
            [
                label is not None and label + offset == each
                for label, each in zip(self.labels, self.classes, strict=True)
            ],
            bool,
        )

    @property
    def accuracy(self) -> float | None:
        """The share of labeled pictures whose prediction is the label; None if none has a label."""
        count = int(self.labeled.sum())
        return float(self.right().sum() / count) if count else None

    @property
    def chance(self) -> float:
        """The accuracy that the same predictions and labels would have in any order; 0 without labels."""
        labels = [label for label in self.labels if label is not None]
        predicted = Counter(self.classes[self.labeled].tolist())
        return sum(count * labels.count(each) for each, count in predicted.items()) / max(1, len(labels)) ** 2

    @property
    def agrees(self) -> bool:
        """Whether predictions agree with the labels beyond chance, by Cohen's kappa."""
        return (self.accuracy or 0.0) - self.chance > _NO_AGREEMENT * (1 - self.chance)

    @property
    def top(self) -> tuple[str, float]:
        """The most predicted class, and its share of the pictures."""
        (found, count), *_ = Counter(self.classes.tolist()).most_common(1)
        return str(self.names[found]), count / len(self)


def suspicions(given: Predictions, others: Mapping[str, Predictions], pixels: str, offset: int = 0) -> list[Suspicion]:
    """Returns what is likely wrong; of several causes that would explain each other, the first.

    Args:
        given: predictions with the options as they are, for `LEAST` pictures or more.
        others: predictions for the first of these pictures with other inputs, by the names of `other_inputs`.
        pixels: the option that was used.
        offset: what was added to stored labels.
    """
    if len(given) < LEAST:
        return []
    causes = [*_of_input(given, others, pixels), *_of_offset(given, offset)]
    best = None
    for cause in causes:
        if best is None or cause.right > best.right + _MUCH:
            best = cause
    if best:
        return [best.suspicion]
    return _of_names(given) or _of_one_class(given, pixels) or _of_chance(given)


def is_beyond_doubt(given: Predictions) -> bool:
    """Returns whether no other input needs to be tried: predictions are mostly right or, without labels, varied."""
    if not given.labeled.any():
        return not _has_collapsed(given)
    return bool(given.labeled.sum() >= LEAST and (given.accuracy or 0.0) >= _HIGH)


def _of_input(given: Predictions, others: Mapping[str, Predictions], pixels: str) -> list[_Cause]:
    """Returns the input by which the model gets more right or, without labels, predicts more than one class."""
    better = {name: other for name, other in others.items() if _is_better(given, other)}
    if not better:
        return []
    name, best = max(better.items(), key=lambda item: (item[1].right().sum(), -item[1].top[1]))
    first, right = _first(given, len(best)), 0.0
    if first.labeled.any():
        right = float(best.accuracy or 0.0)
        evidence = f"it gets {right:.0%} right by {_named(name)}, {first.accuracy or 0.0:.0%} by {pixels}"
    else:
        evidence = f"by {_named(name)} it finds {_kinds(best)} in {len(best)} pictures, by {pixels} {_kinds(first)}"
    if name == BGR:
        mend = "--pixels caffe if it was trained with that; else export it with its channels reversed"
        return [_Cause(Suspicion("the model seems to expect blue, green, red", evidence, mend), right)]
    problem = "the model seems to expect another range of pixels"
    return [_Cause(Suspicion(problem, evidence, f"--pixels {name}"), right)]


def _is_better(given: Predictions, other: Predictions) -> bool:
    first = _first(given, len(other))
    if first.labeled.any():
        return other.agrees and _beats(other.right(), first.right())
    return _has_collapsed(first) and other.top[1] <= _VARIED and other.spread > _COLLAPSED


def _has_collapsed(predictions: Predictions) -> bool:
    """Returns whether all pictures look nearly alike to the model; pictures of one class do not."""
    return predictions.top[1] >= _ONE_CLASS and predictions.spread <= _COLLAPSED


def _of_offset(given: Predictions, offset: int) -> list[_Cause]:
    found = []
    for step in (1, -1):
        if _beats(given.right(step), given.right()):
            right = float(given.right(step)[given.labeled].mean())
            evidence = (
                f"{right:.0%} are the model's predictions if {step:+d} is added, {given.accuracy:.0%} as they are"
            )
            suspicion = Suspicion("labels seem to be off by one", evidence, f"--label_offset {offset + step}")
            found.append(_Cause(suspicion, right))
    return found


def _of_names(given: Predictions) -> list[Suspicion]:
    """Returns whether predictions foretell the labels, but as other classes: the names are in another order.

    A picture's label is foretold by the other pictures of the same prediction.
    """
    pairs = [(p, q) for p, q in zip(given.classes.tolist(), given.labels, strict=True) if q is not None]
    counts = Counter(pairs)
    by_class: dict[int, Counter[int]] = {}
    for (predicted, label), count in counts.items():
        by_class.setdefault(predicted, Counter())[label] += count
    foretold, right = [], []
    for predicted, label in pairs:
        if others := by_class[predicted] - Counter({label: 1}):
            foretold.append(others.most_common(1)[0][0] == label)
            right.append(predicted == label)
    if len({label for _, label in pairs}) < 2 or not _beats(np.array(foretold, bool), np.array(right, bool)):
        return []
    swapped = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
    predicted, label = max(swapped, key=lambda pair: swapped[pair])
    evidence = (
        f"{np.mean(foretold):.0%} of the labels follow from the predicted class, but only {np.mean(right):.0%} are "
        f"that class; most often it predicts {_name(given, predicted)} for {_name(given, label)}"
    )
    problem = "class names or labels seem to be in another order than the model's outputs"
    mend = "--class_names in the order of the outputs"
    return [Suspicion(problem, evidence, mend)]


def _of_one_class(given: Predictions, pixels: str) -> list[Suspicion]:
    name, share = given.top
    labels = Counter(label for label in given.labels if label is not None)
    expected = labels.most_common(1)[0][1] / labels.total() if labels else 0.0
    if share < _ONE_CLASS or expected >= share - 0.2 or not (labels or _has_collapsed(given)):
        return []
    what = f"the most frequent label is that of {expected:.0%}" if labels else "they have no labels"
    return [
        Suspicion(
            "the model predicts nearly always the same class",
            f"{name} for {share:.0%} of {len(given)} pictures; {what}",
            f"--pixels (now {pixels}), and the model's weights",
        )
    ]


def _of_chance(given: Predictions) -> list[Suspicion]:
    """Returns whether predictions and labels have nothing to do with each other."""
    if given.labeled.sum() < LEAST or given.accuracy is None or given.chance > _ONE_CLASS or given.agrees:
        return []
    return [
        Suspicion(
            "predictions have hardly anything to do with the labels",
            f"{given.accuracy:.0%} of {given.labeled.sum()} are right; chance alone would give {given.chance:.0%}",
            "--pixels, --class_names, --label_offset, --output_name, or another model",
        )
    ]


def _beats(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether one way gets more right than another, of the same pictures, and not by chance."""
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    tail = sum(math.comb(wins + losses, k) for k in range(wins, wins + losses + 1)) / 2 ** (wins + losses)
    return wins > losses and tail < _SIGNIFICANT


def _first(given: Predictions, count: int) -> Predictions:
    return Predictions(given.classes[:count], given.spread, given.labels[:count], given.names)


def _kinds(predictions: Predictions) -> str:
    count = len(set(predictions.classes.tolist()))
    return f"{count} class{'es' * (count != 1)}"


def _named(name: str) -> str:
    return "blue, green, red" if name == BGR else name


def _name(given: Predictions, index: int) -> str:
    return str(given.names[index]) if 0 <= index < len(given.names) else str(index)
