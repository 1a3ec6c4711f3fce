"""`sampling.json`: of which share of its images a run is a sample; decided before the work, read by a resumed run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transforms import storage
from transforms.core.errors import UsageError
from transforms.store.json_object import read_object

SAMPLING = "sampling.json"

SAMPLED = "sampling"
"""The member of a run's stored config that says of which share it is a sample; others have none."""

VERSION = 1


@dataclass(frozen=True)
class SamplingPlan:
    """What a budget came to.

    Attributes:
        budget: as it was given; empty if only the shares of reference maps were decided.
        share: of the images that are attributed, above 0 and at most 1; the same in every class.
        images: of the input, when this was decided.
        exact: whether these were counted; otherwise they are an estimate.
        unit: of the budget: `gradients` or `seconds`.
        cost: of an image, in this unit.
        cost_from: how the cost is known.
        spread: standard deviation, over pictures, of the share of a class's largest cell.
        spread_from: how the spread is known.
        reference_shares: the share of pictures that get reference maps, by class index, of those classes in which it is
            raised.
    """

    budget: str
    share: float
    images: int
    exact: bool
    unit: str = ""
    cost: float = 0.0
    cost_from: str = ""
    spread: float = 1.0
    spread_from: str = ""
    reference_shares: tuple[tuple[int, float], ...] = ()

    @property
    def expected(self) -> int:
        """Images of the sample, about."""
        return round(self.share * self.images)

    @property
    def shaping(self) -> dict[str, Any]:
        """What of it decides which rows there are, and what is in them, as JSON values: a part of the stored config."""
        return {"share": self.share, "reference_shares": [list(pair) for pair in self.reference_shares]}

    def to_bytes(self) -> bytes:
        """Returns the plan as JSON."""
        content = {"version": VERSION, **dataclasses.asdict(self), "expected": self.expected}
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> SamplingPlan:
        """Returns the plan whose `to_bytes` this is.

        Raises:
            UsageError: it is none.
        """
        content = read_object(data)
        if content.get("version") != VERSION:
            raise UsageError(f"version {content.get('version')!r:.20}, where {VERSION} is known")
        return cls._of(content)

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> SamplingPlan:
        try:
            values = {field.name: content[field.name] for field in dataclasses.fields(cls)}
            shares = tuple((int(label), float(share)) for label, share in values["reference_shares"])
            plan = cls(**{**values, "share": float(values["share"]), "reference_shares": shares})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"not a plan of a sample ({error!r})") from error
        if not 0 < plan.share <= 1:
            raise UsageError(f"a share of {plan.share!r}, not above 0 and at most 1")
        return plan


def read_plan(run_uri: str) -> SamplingPlan | None:
    """Returns the plan of a run, finished or not; None if it has none.

    Raises:
        UsageError: it cannot be read.
    """
    uri = storage.join(run_uri, SAMPLING)
    try:
        return SamplingPlan.from_bytes(storage.read_bytes(uri))
    except FileNotFoundError:
        return None
    except UsageError as error:
        raise UsageError(f"{uri}: {error}") from error


def write_plan(run_uri: str, plan: SamplingPlan | None) -> None:
    """Writes the plan of a run; without one, deletes that of a run that never began."""
    uri = storage.join(run_uri, SAMPLING)
    if plan is None:
        storage.delete(uri)
    else:
        storage.write_bytes(uri, plan.to_bytes())
