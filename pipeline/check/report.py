"""What a check finds: values, with the suspicions that follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.cost import Cost, IntervalCost
from transforms.core.explain.suspicion import Suspicion
from transforms.preflight import Look

VERSION = 1


@dataclass(frozen=True)
class LabelCounts:
    """Whether the labels of some images name classes of the model.

    Attributes:
        looked_at: how many images.
        usable: how many have a label that does.
        missing: how many have none.
        unusable: how many have a label that names no class.
        examples: why not, for a few of these.
    """

    looked_at: int = 0
    usable: int = 0
    missing: int = 0
    unusable: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failures:
    """Images that fail for one reason: how many, of how many that came to this stage, and the first of them."""

    images: int
    of: int
    stage: str
    error: str
    message: str
    example: str


@dataclass(frozen=True)
class Report:
    """All that a check finds.

    Attributes:
        shards: number of shards by format.
        passed_over: number of files of folders that are no part of the input, by extension.
        images: number of images of the input.
        exact: whether they were counted; otherwise they are an estimate.
        limit: images of which a run takes a sample; 0 if it takes all.
        looked_at: number of images that were read.
        predicted: number of those that were decoded and given to the model, or failed on the way.
        labels: whether they name classes.
        fields: of each field that was asked for, how many of the images looked at have it.
        failures: images that fail, by reason, the most frequent first.
        model: what the model is, one line each.
        look: its predictions for the pictures.
        cost: of the run; None if no picture could be attributed.
        sample: sentences about the sample that a budget pays for, and about classes with more reference maps.
        interval: what it would cost to know means so well as was asked; empty if nothing was.
        suspicions: what is likely wrong, the look's included.
        load_seconds: how long the model took to load and compile.
        seconds: how long everything else took.
    """

    shards: Mapping[str, int]
    passed_over: Mapping[str, int]
    images: int
    exact: bool
    limit: int
    looked_at: int
    predicted: int
    labels: LabelCounts
    fields: Mapping[str, int]
    failures: tuple[Failures, ...]
    model: tuple[str, ...]
    look: Look
    cost: Cost | None
    sample: tuple[str, ...]
    interval: tuple[IntervalCost, ...]
    suspicions: tuple[Suspicion, ...]
    load_seconds: float
    seconds: float

    @property
    def usable(self) -> bool:
        """Whether a run can attribute any of the images looked at."""
        return self.cost is not None

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        content: dict[str, Any] = {"version": VERSION, **dataclasses.asdict(self)}
        if self.cost:
            content["cost"] |= {"hours": self.cost.hours, "gigabytes": self.cost.gigabytes}
        return content
