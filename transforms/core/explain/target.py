"""What of an image is attributed: `top1`, `topK`, `label`, `labels`, `class:N`, `above:P`, `none`.

Which of these there are depends on what the model decides:

- one of several classes, or of two: all but `none`;
- any number of labels: these but `label`, which would be one of them;
- a number for each output: `class:N`, the output of that index, which `top1` is too if there is but one;
- something of another shape, or a layer that has no number for each class: `none`, as the score's function decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from transforms.core.errors import UsageError
from transforms.core.explain.label import LabelError, Resolved
from transforms.core.vocabulary import TARGETS

_ALLOWED = f"{', '.join(TARGETS)} (K a number from 1, N a class index, P a probability from 0 to 1)"
_TOP = re.compile(r"top([1-9]\d{0,4})")
_CLASS = re.compile(r"class:(\d{1,9})")
_ABOVE = re.compile(r"above:(0(?:\.\d{1,12})?|\.\d{1,12})")


class NoTargetError(ValueError):
    """An image has nothing of what is to be explained."""


@dataclass(frozen=True)
class Targets:
    """A parsed `targets` option.

    Attributes:
        text: the option.
        top: how many of the highest classes; 0 if others are asked for.
        index: the class; None if others are asked for.
        above: the probability above which classes are explained; None if others are asked for.
    """

    text: str
    top: int = 0
    index: int | None = None
    above: float | None = None

    @classmethod
    def parse(cls, text: str) -> Targets:
        """Returns the targets that `text` names.

        Raises:
            ValueError: `text` is not one of the allowed forms.
        """
        if match := _TOP.fullmatch(text):
            return cls(text, top=int(match[1]))
        if match := _CLASS.fullmatch(text):
            return cls(text, index=int(match[1]))
        if match := _ABOVE.fullmatch(text):
            return cls(text, above=float(match[1]))
        if text in ("label", "labels", "none"):
            return cls(text)
        raise UsageError(f"targets: {text!r} is not one of {_ALLOWED}")

    @property
    def none(self) -> bool:
        """Whether no class is explained: the score's function alone decides."""
        return self.text == "none"

    @property
    def needs_label(self) -> bool:
        """Whether an image without a label cannot be attributed."""
        return self.text in ("label", "labels")

    def check(self, classes: int, task: str = "classes", by_class: bool = True) -> None:
        """Checks that a model has such targets.

        Args:
            classes: number of the model's classes.
            task: what it decides, one of `vocabulary.TASKS`.
            by_class: whether what is explained has a number for each class.

        Raises:
            UsageError: it has not.
        """
        if task == "dense" or not by_class:
            if not self.none:
                what = "the model's outputs have" if task == "dense" else "the layer has"
                raise UsageError(
                    f"targets: {self.text!r}: {what} no number for each class to choose by; set targets to none: the "
                    "score's function alone decides"
                )
            return
        if self.none:
            raise UsageError("targets: 'none' is for outputs or a layer without classes; name one, such as class:0")
        if task == "values":
            self._check_values(classes)
        if task == "labels" and self.text == "label":
            raise UsageError("targets: 'label': an image of this model has any number of labels; set targets to labels")
        if self.top > classes or (self.index is not None and self.index >= classes):
            what = "outputs" if task == "values" else "classes"
            raise UsageError(f"targets: the model has {classes} {what}, 0 to {classes - 1}")

    def _check_values(self, outputs: int) -> None:
        """Raises UsageError if these are not targets of a regression with so many outputs."""
        if self.index is None and not (self.text == "top1" and outputs == 1):
            allowed = "class:0" if outputs == 1 else f"class:N, N the index of an output from 0 to {outputs - 1}"
            raise UsageError(
                f"targets: {self.text!r}: the model's outputs are values of a regression, of which none is the "
                f"decided one; set targets to {allowed}"
            )

    def choose(self, outputs: np.ndarray, label: Resolved, probabilities: np.ndarray | None = None) -> tuple[int, ...]:
        """Returns the class indices to attribute, highest output first; (0,) if there are no classes.

        Args:
            outputs: float32 `[classes]`, the model's outputs for the image.
            label: what its label says, where known: a class index, or several.
            probabilities: float32 `[classes]`, for `above:P`; `outputs` if None.

        Raises:
            LabelError: the label is asked for and not known.
            NoTargetError: the image has no true label, or no class above the probability.
        """
        if self.none:
            return (0,)
        if self.index is not None:
            return (self.index,)
        if self.top:
            return tuple(int(i) for i in ranked(outputs)[: self.top])
        if self.above is not None:
            found = np.flatnonzero((outputs if probabilities is None else probabilities) > self.above)
            if not len(found):
                raise NoTargetError(f"no class has a probability above {self.above:g}")
            return _in_order(outputs, found.tolist())
        if isinstance(label, tuple):
            if not label:
                raise NoTargetError("the image has no true label")
            return _in_order(outputs, label)
        if label is None:
            raise LabelError(f"the image has no label, and targets is {self.text!r}")
        return (int(label),)


def ranked(outputs: np.ndarray) -> np.ndarray:
    """Returns the class indices from the highest of `outputs` `[classes]` to the lowest; ties by index."""
    return np.argsort(-outputs, kind="stable")


def _in_order(outputs: np.ndarray, indices: Resolved | list[int]) -> tuple[int, ...]:
    """Returns class indices, highest output first."""
    chosen = set(indices if isinstance(indices, tuple | list) else ())
    return tuple(int(index) for index in ranked(outputs) if int(index) in chosen)
