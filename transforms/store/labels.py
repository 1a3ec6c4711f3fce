"""How many images have a label that the model's outputs can be compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transforms.core.record import Explanation

_LETTERS = 200


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Attributed images by what their labels are good for.

    >>> LabelCounts.total([LabelCounts(usable=2), LabelCounts(unusable=1, problem="label 'dgo' is no class name")])
    LabelCounts(usable=2, missing=0, unusable=1, problem="label 'dgo' is no class name")

    Attributes:
        usable: images with a label that means something for the model.
        missing: images without a label.
        unusable: images with a label that means nothing.
        problem: why the first of these does; empty if there is none.
    """

    usable: int = 0
    missing: int = 0
    unusable: int = 0
    problem: str = ""

    @classmethod
    def of(cls, explanation: Explanation) -> LabelCounts:
        """Returns the counts of one image."""
        if explanation.label is not None:
            return cls(usable=1)
        problem = explanation.label_problem[:_LETTERS]
        return cls(unusable=1, problem=problem) if problem else NO_LABEL

    @classmethod
    def total(cls, counts: Iterable[LabelCounts]) -> LabelCounts:
        """Returns the sum, with the first problem."""
        found = list(counts)
        return cls(
            sum(each.usable for each in found),
            sum(each.missing for each in found),
            sum(each.unusable for each in found),
            next((each.problem for each in found if each.problem), ""),
        )

    @property
    def images(self) -> int:
        """Number of images."""
        return self.usable + self.missing + self.unusable

    def __str__(self) -> str:
        why = f" (such as: {self.problem})" if self.problem else ""
        return f"{self.usable:,} usable, {self.missing:,} missing, {self.unusable:,} unusable{why}"


NO_LABEL = LabelCounts(missing=1)
"""The counts of an image without a label."""
