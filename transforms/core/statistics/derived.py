"""Columns of finished statistics that follow from several statistics of a slice, or from those of other slices.

- `controlled_cells`: mean cells of rule shifted, narrowed by the completeness residual, whose expectation is 0;
- `quadrature_cells`: the share of the variance of cells between rows that the rule's few steps make;
- `corrected_X`: the mean of X that maps to tolerance would have, see `corrected`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.core.record import Row
from transforms.core.statistics.corrected import Bias, corrected
from transforms.core.statistics.interval import Estimate, controlled
from transforms.core.statistics.moments import Distribution, Moments
from transforms.core.statistics.statistic import INTERVAL, ColumnType, interval_columns
from transforms.core.vocabulary import CELLS, SECOND_CELLS

Biases = Mapping[str, Sequence[Bias | None]]
"""By name of a pair statistic: what cheap values lack over classes, for each element."""


class Derived(ABC):
    """Columns that follow from the values of statistics of one slice.

    Attributes:
        needs: names of the statistics that it follows from.
    """

    needs: tuple[str, ...]

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns, in order."""

    @abstractmethod
    def finish(self, values: Mapping[str, Any], biases: Biases) -> Row:
        """Returns the columns.

        Args:
            values: of the statistics of a slice, by name.
            biases: over the classes of the run.
        """


class Controlled(Derived):
    """`controlled_mean_cells` and its interval; None for rows of other rules."""

    needs = ("residual_cells",)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The mean and those of INTERVAL."""
        return {f"{word}_controlled_cells": "numbers" for word in ("mean", *INTERVAL)}

    def finish(self, values: Mapping[str, Any], biases: Biases) -> Row:
        """Returns the columns."""
        joint = values[self.needs[0]]
        return interval_columns("controlled_cells", controlled(joint) if joint.count else None, "mean")


class QuadratureShare(Derived):
    """`quadrature_cells`: of each cell, the share of the variance between rows that is due to the number of steps."""

    needs = (CELLS, SECOND_CELLS)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The shares."""
        return {"quadrature_cells": "numbers"}

    def finish(self, values: Mapping[str, Any], biases: Biases) -> Row:
        """Returns the shares, by chance above 1; None where cells do not vary, or no row has a second shift."""
        cells, differences = (values[name] for name in self.needs)
        if not differences.count:
            return {"quadrature_cells": None}
        pairs = zip(quadrature_variances(differences), cells.std, strict=True)
        return {"quadrature_cells": [part / (std * std) if std else None for part, std in pairs]}


class Corrected(Derived):
    """`mean_corrected_X` and its interval; None where too few rows have maps to tolerance."""

    def __init__(self, name: str, vector: bool) -> None:
        """Takes the name of X, and whether it has several elements."""
        self._name = name
        self._type: ColumnType = "numbers" if vector else "number"
        self.needs = (name, f"reference_{name}")

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The mean and those of INTERVAL."""
        return {f"{word}_corrected_{self._name}": self._type for word in ("mean", *INTERVAL)}

    def finish(self, values: Mapping[str, Any], biases: Biases) -> Row:
        """Returns the columns."""
        cheap, joint = (values[name] for name in self.needs)
        found = _corrected(cheap, joint, biases.get(self.needs[1], ()))
        row = interval_columns(f"corrected_{self._name}", found, "mean")
        return row if self._type == "numbers" else {name: each and each[0] for name, each in row.items()}


def _corrected(cheap: Moments | Distribution, joint: Any, bias: Sequence[Bias | None]) -> list[Estimate | None] | None:
    """Returns the corrected means of elements; None if not one of them is known."""
    if not cheap.count:
        return None
    size = 1 if isinstance(cheap, Distribution) else len(cheap.sums)
    found = corrected(cheap, joint, bias or [None] * size)
    return found if any(found) else None


def quadrature_variances(differences: Moments) -> list[float]:
    """Returns the variance of each cell that shifts make: half of the mean square of differences of two of them."""
    pairs = zip(differences.mean, differences.std, strict=True)
    return [(mean * mean + std * std) / 2 for mean, std in pairs]
