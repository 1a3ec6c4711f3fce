"""ModelFacts: what was found out about a model, for the first lines of a run, its manifest and its report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from transforms.core.model.evidence import UNRELATED, Evidence
from transforms.core.model.kind import check_usable, kind_of
from transforms.core.model.names import class_names
from transforms.core.model.options import ModelOptions
from transforms.core.model.pictures import FIXED
from transforms.core.model.task import task_of

_RANGES = {
    "unit": "[0, 1]",
    "signed": "[-1, 1]",
    "byte": "[0, 255]",
    "imagenet": "[0, 1] less ImageNet's mean, over its deviation",
    "caffe": "[0, 255] as BGR, less ImageNet's mean",
}
_SPANS = {"unit": 1.0, "signed": 2.0, "byte": 255.0, "imagenet": 1 / 0.225, "caffe": 255.0}
"""What the model is fed for white less what it is fed for black."""

_OF_BYTES = 0.03
"""A first layer that multiplies by less was made for [0, 255]: 1/255 is 0.004, 1/127.5 is 0.008, 1/58 is 0.017."""

_OF_UNITS = 1.5
"""A first layer that multiplies bytes by more was made for [0, 1]: nothing needs larger ones."""


@dataclass(frozen=True)
class ModelFacts:
    """What was found out about a model.

    Attributes:
        input: the shape of an image and the range of values that the model is fed.
        outputs: what they are: `logits`, `softmax`, `sigmoid` or `values`.
        found: how that is known.
        task: what the model decides, one of `vocabulary.TASKS`.
        classes: number of classes.
        difference: largest relative difference of two calls with the same pictures.
        assumptions: what was assumed that the model's files do not say, one sentence each.
        suspicions: what is likely wrong, with the option that mends it, one sentence each.
    """

    input: str
    outputs: str
    found: str
    task: str
    classes: int
    difference: float
    assumptions: tuple[str, ...] = ()
    suspicions: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns the facts as lines of text."""
        return [
            f"model: {_what(self.task, self.classes)}, {self.outputs} ({self.found}), input {self.input}",
            *(f"model: {sentence}" for sentence in self.assumptions),
            *(f"model: SUSPICIOUS: {sentence}" for sentence in self.suspicions),
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes as JSON values, with the lines."""
        return {**dataclasses.asdict(self), "lines": self.lines()}


def facts_of(evidence: Evidence, options: ModelOptions) -> ModelFacts:
    """Returns the facts of a model.

    Args:
        evidence: what its outputs for fixed pictures show.
        options: what the function is.

    Raises:
        UsageError: the model cannot be used, or what its outputs are is not known or contradicts the options.
    """
    pixels = evidence.pixels or options.pixels
    check_usable(evidence, pixels)
    kind, found = ("values", "their shape") if evidence.dense else kind_of(evidence, options.outputs)
    task = "dense" if evidence.dense else task_of(kind, evidence.count)
    assumptions = [*evidence.assumptions, *class_names(options, evidence.count, task)[1]]
    if kind == "logits" and options.outputs == "auto":
        assumptions.append("its outputs are taken for logits; if they are something else, set --outputs")
    if evidence.finite < FIXED:
        assumptions.append(f"its outputs are not finite for {FIXED - evidence.finite} of {FIXED} fixed pictures")
    return ModelFacts(
        input=f"{'x'.join(map(str, evidence.shape))} in {_RANGES[pixels]}",
        outputs=kind,
        found=found,
        task=task,
        classes={"binary": 2, "dense": 0}.get(task, evidence.count),
        difference=evidence.difference,
        assumptions=tuple(assumptions),
        suspicions=_suspicions(evidence, pixels),
    )


def _suspicions(evidence: Evidence, pixels: str) -> tuple[str, ...]:
    """Returns what is likely wrong with a model's input, one sentence each."""
    found, span = [], _SPANS[pixels]
    factor = evidence.scale / span
    if 0 < factor <= _OF_BYTES and span < _SPANS["byte"]:
        found.append(
            f"its first layers multiply their input by {factor:.2g}, as if it were in [0, 255], but "
            f"--pixels {pixels} feeds it {_RANGES[pixels]}; try --pixels byte"
        )
    if factor >= _OF_UNITS and span == _SPANS["byte"]:
        found.append(
            f"its first layers multiply their input by {factor:.3g}, as if it were in [0, 1], but "
            f"--pixels {pixels} feeds it {_RANGES[pixels]}; try --pixels unit"
        )
    if evidence.spread <= UNRELATED:
        found.append(
            f"its outputs hardly depend on the picture: over {FIXED} different ones, black, white and noise among "
            f"them, they stay within {evidence.spread:.2%} of the largest; check --pixels and the model's weights"
        )
    return tuple(found)


def _what(task: str, classes: int) -> str:
    if task == "binary":
        return "two classes by one output"
    if task == "dense":
        return "outputs that a score of yours reads"
    if task == "values":
        return "a regression's value" if classes == 1 else f"{classes:,} values of a regression"
    return f"{classes:,} {'labels, any number of them at a time' if task == 'labels' else 'classes'}"
