"""How precise the means of a run are, and what that owes to its few steps: sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.core.explain.settings import DEFAULT_STEPS
from transforms.core.statistics.importance import CLASS_KINDS
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.run import Run

_FALL = 1.7
"""Power of the number of steps with which the variance of quadrature falls: 1.3 from 1 step to 2, 2.2 from 16 to 32,
with Lite0 on 125 photographs."""

_LEAST, _LEAST_OF_A_CLASS = 30, 10
_COLUMNS = ("kind", "value", "name", "count", "std_cells", "quadrature_cells", "count_second_cells")


@dataclass(frozen=True)
class QuadratureVariance:
    """What few steps add to the variance of cells between the pictures of a class.

    Attributes:
        share: of that variance, which steps make; in [0, 1].
        rows: that have a second map, from which it is known.
        steps: of each map.
    """

    share: float
    rows: int
    steps: int

    def pictures(self, steps: float) -> float:
        """Returns how many pictures are needed with another number of steps for the same intervals, relative to now."""
        return 1 - self.share + self.share * float((self.steps / steps) ** _FALL)

    @property
    def sentence(self) -> str:
        """What it means for the intervals."""
        exact = (1 - self.share) ** 0.5
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        text = (
            f"{self.share:.0%} of the variance between pictures of a class is due to maps of {count} "
            f"(from second maps of {self.rows:,}): exact maps would narrow the intervals of cells by {1 - exact:.0%}"
        )
        if self.steps == 1:
            return text
        half = self.steps // 2
        more = self.pictures(half)
        steps = "1 step" if half == 1 else f"{half} steps"
        fewer = f"{steps} on about {more:.2g} times as many pictures would give the same intervals"
        return f"{text}; {fewer}, for {more * half / self.steps:.0%} of the gradients"


def quadrature_variance(run: Run) -> QuadratureVariance | None:
    """Returns what few steps add to the variance of cells; None if the run's rule is another, or too few rows tell.

    Raises:
        OSError: the statistics are missing or damaged.
    """
    config = run.manifest.provenance.config
    if config.get("rule") != "shifted" or not set(_COLUMNS) <= {*run.statistics_columns}:
        return None
    rows = run.statistics(_COLUMNS).to_pylist()
    classes = [row for row in rows if row["kind"] in CLASS_KINDS and not _is_overflow(row)]
    classes = [row for row in classes if row["count"] >= _LEAST_OF_A_CLASS and row["quadrature_cells"]]
    told = sum(row["count_second_cells"] for row in classes)
    if told < _LEAST:
        return None
    total = sum(row["count"] * np.square(row["std_cells"]).sum() for row in classes)
    made = sum(row["count"] * _product(row["quadrature_cells"], row["std_cells"]) for row in classes)
    return (
        QuadratureVariance(float(min(1, made / total)), told, config.get("steps") or DEFAULT_STEPS) if total else None
    )


def _product(shares: Sequence[float | None], stds: Sequence[float]) -> float:
    return sum((share or 0.0) * std * std for share, std in zip(shares, stds, strict=True))


def _is_overflow(row: dict[str, Any]) -> bool:
    return is_overflow(Slice(row["kind"], row["value"], row["name"]))
