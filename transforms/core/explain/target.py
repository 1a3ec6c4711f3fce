"""Which classes of an image are attributed: `top1`, `topK`, `label`, `class:N`."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from transforms.core.errors import UsageError
from transforms.core.explain.label import LabelError
from transforms.core.vocabulary import TARGETS

_ALLOWED = f"{', '.join(TARGETS)} (K a number from 1, N a class index)"
_TOP = re.compile(r"top([1-9]\d{0,4})")
_CLASS = re.compile(r"class:(\d{1,9})")


@dataclass(frozen=True)
class Targets:
    """A parsed `targets` option: the `top` highest classes, or the `label`, or one `index`."""

    top: int = 0
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Targets:
        """Returns the targets that `text` names.

        Raises:
            ValueError: `text` is not one of the allowed forms.
        """
        if match := _TOP.fullmatch(text):
            return cls(top=int(match[1]))
        if match := _CLASS.fullmatch(text):
            return cls(index=int(match[1]))
        if text == "label":
            return cls()
        raise UsageError(f"targets: {text!r} is not one of {_ALLOWED}")

    @property
    def needs_label(self) -> bool:
        """Whether an image without a label cannot be attributed."""
        return not self.top and self.index is None

    def check(self, classes: int) -> None:
        """Raises ValueError where a model with `classes` classes has no such target."""
        if self.top > classes or (self.index is not None and self.index >= classes):
            raise UsageError(f"targets: the model has {classes} classes, 0 to {classes - 1}")

    def choose(self, outputs: np.ndarray, label: int | None) -> tuple[int, ...]:
        """Returns the class indices to attribute, highest output first.

        Args:
            outputs: float32 `[classes]`, the model's outputs for the image.
            label: the image's class index, where known.

        Raises:
            LabelError: the label is asked for and not known.
        """
        if self.top:
            return tuple(int(i) for i in ranked(outputs)[: self.top])
        if self.index is not None:
            return (self.index,)
        if label is None:
            raise LabelError("the image has no label, and targets is 'label'")
        return (label,)


def ranked(outputs: np.ndarray) -> np.ndarray:
    """Returns the class indices from the highest of `outputs` `[classes]` to the lowest; ties by index."""
    return np.argsort(-outputs, kind="stable")
