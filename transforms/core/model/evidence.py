"""Evidence: what a model's outputs for fixed pictures show, in a few numbers that are kept for its next start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.core.model.pictures import FIXED, fixed_pictures

RANDOM = 1e-4
"""Difference of two calls from which on a model is random, relative to its largest output."""

UNRELATED = 1e-2
"""Deviation of the outputs from their mean over the pictures up to which they hardly depend on the picture, relative
to the largest output."""

_BATCH = 8


@dataclass(frozen=True)
class Evidence:
    """What a model's outputs for `FIXED` pictures show; those that are not finite are counted, and left out.

    Attributes:
        shape: (height, width, channels) of a picture.
        activation: what the model's graph ends in, `softmax` or `sigmoid`; empty if neither, or if it is not known.
        dense: whether the outputs are something else than one number for each class.
        count: outputs of an image.
        finite: pictures for which all outputs are finite.
        low: the smallest output.
        high: the largest.
        low_sum: the smallest sum over the outputs of an image.
        high_sum: the largest.
        tolerance: how far rounding moves a sum of probabilities, by the type of the outputs.
        difference: largest difference of two calls with the same pictures, relative as `RANDOM` is.
        batch_difference: the same of two calls in which a picture lies among others.
        spread: largest deviation of an output from its mean over the pictures, relative to the largest output.
        scale: white less black, where the model's first layer with weights is reached; 0 if it is not known.
        pixels: the range of values that the model is fed; empty for that of the options.
        assumptions: what was found out or assumed about the input that the model does not say, one sentence each.
    """

    shape: tuple[int, ...]
    activation: str
    dense: bool
    count: int
    finite: int
    low: float
    high: float
    low_sum: float
    high_sum: float
    tolerance: float
    difference: float
    batch_difference: float
    spread: float
    scale: float = 0.0
    pixels: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def in_unit_range(self) -> bool:
        """Whether all outputs are in [0, 1]."""
        return self.low >= -self.tolerance and self.high <= 1 + self.tolerance

    @property
    def sums_to_one(self) -> bool:
        """Whether the outputs of each image are in [0, 1] and sum to 1."""
        sums = max(abs(self.low_sum - 1), abs(self.high_sum - 1))
        return self.in_unit_range and sums <= self.tolerance

    @property
    def sums_to_a_constant(self) -> bool:
        """Whether no output is negative, and those of each image have the same sum."""
        return self.low >= -self.tolerance and self.high_sum - self.low_sum <= self.tolerance * self.high_sum

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evidence:
        """Returns what `to_json` gave.

        Raises:
            KeyError, TypeError: an attribute is missing or unknown, or has another type.
        """
        found = cls(**{**content, **{name: tuple(content[name]) for name in ("shape", "assumptions")}})
        for field in dataclasses.fields(cls):
            value, kinds = getattr(found, field.name), {"str": str, "int": int, "bool": bool, "float": float}
            if not isinstance(value, kinds.get(str(field.type), tuple)):
                raise TypeError(f"{field.name}: {value!r} is not {field.type}")
        return found


def examine(
    call: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    activation: str = "",
    dense: bool = False,
    tolerance: float = 1e-3,
    scale: float = 0.0,
) -> Evidence:
    """Returns what a model's outputs for the fixed pictures show.

    Args:
        call: pictures float32 `[n, *shape]` in [0, 1] → the model's outputs, float `[n, …]`.
        shape: (height, width, channels).
        activation: what the model's graph ends in.
        dense: whether the outputs are something else than one number for each class.
        tolerance: how far rounding moves a sum of probabilities.
        scale: white less black, where the model's first layer with weights is reached; 0 if it is not known.
    """
    pictures = fixed_pictures(shape)
    batches = [pictures[start : start + _BATCH] for start in range(0, FIXED, _BATCH)]
    found = np.concatenate([_rows(call(batch)) for batch in batches])
    mixed = pictures[:: FIXED // _BATCH]
    again, among_others = _rows(call(batches[0])), _rows(call(mixed))
    finite = np.isfinite(found).all(1)
    rows = found[finite].astype(np.float64) if finite.any() else np.zeros((1, found.shape[1]))
    largest, sums = float(np.abs(rows).max()), rows.sum(1)
    deviation = np.abs(rows - rows.mean(0)).max()
    return Evidence(
        shape=shape,
        activation=activation,
        dense=dense,
        count=found.shape[1],
        finite=int(finite.sum()),
        low=float(rows.min()),
        high=float(rows.max()),
        low_sum=float(sums.min()),
        high_sum=float(sums.max()),
        tolerance=tolerance,
        difference=_difference(again, found[:_BATCH], largest),
        batch_difference=_difference(among_others, found[:: FIXED // _BATCH], largest),
        spread=float(deviation / largest) if largest else 0.0,
        scale=scale,
    )


def _rows(outputs: np.ndarray) -> np.ndarray:
    return np.asarray(outputs).reshape(len(outputs), -1)


def _difference(one: np.ndarray, other: np.ndarray, largest: float) -> float:
    """Returns the largest difference of two calls' outputs that are both finite."""
    both = np.isfinite(one) & np.isfinite(other)
    differences = np.abs(np.subtract(one, other, dtype=np.float64, where=both, out=np.zeros(one.shape)))
    return float(differences.max(initial=0.0)) / (largest or 1.0)
