"""The judgement of a slice, as audit.json has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from transforms.core.drift.mean_error import NORMAL
from transforms.core.drift.power import Power
from transforms.core.drift.tails import TailAudit

DRIFT, FINE, TOO_FEW, NEW, GONE = "drift", "fine", "too few", "new", "gone"


@dataclass(frozen=True)
class MetricAudit:
    """A metric of a slice; the fields are those of audit.json."""

    name: str
    topic: str
    drift: bool
    effect: float
    threshold: float
    self_effect: float
    p_value: float
    q_value: float
    distances: dict[str, float]
    reference: float | None
    candidate: float | None
    reference_error: float | None
    candidate_error: float | None

    @property
    def reference_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the reference's mean; None for vectors."""
        return _interval(self.reference, self.reference_error)

    @property
    def candidate_interval(self) -> tuple[float, float] | None:
        """That of the candidate's."""
        return _interval(self.candidate, self.candidate_error)


@dataclass(frozen=True)
class CellAudit:
    """A cell of the importance grid that changed."""

    row: int
    col: int
    reference: float
    candidate: float
    reference_error: float
    candidate_error: float
    p_value: float
    signed: bool


@dataclass(frozen=True)
class SignedAudit:
    """What each cell says for or against the class, row by row: means of both sides, and their standard errors."""

    reference: list[float]
    candidate: list[float]
    reference_error: list[float]
    candidate_error: list[float]


@dataclass(frozen=True)
class GridAudit:
    """The mean grids of a slice, row by row, the cells that changed, and the signed grids where these did.

    Means have standard errors beside them.
    """

    side: int
    reference: list[float]
    candidate: list[float]
    reference_error: list[float]
    candidate_error: list[float]
    changed: list[CellAudit]
    signed: SignedAudit | None


@dataclass(frozen=True)
class SliceAudit:
    """The judgement of a slice; the fields are those of audit.json."""

    kind: str
    value: str
    name: str
    state: str
    reference_rows: int
    candidate_rows: int
    compared_share: float
    metrics: list[MetricAudit]
    grid: GridAudit | None
    tails: list[TailAudit] = field(default_factory=list)
    power: Power | None = None


def _interval(mean: float | None, error: float | None) -> tuple[float, float] | None:
    return None if mean is None or error is None else (mean - NORMAL * error, mean + NORMAL * error)
