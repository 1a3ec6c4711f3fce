"""Trials: one night of a network judged by one detector; kept line by line, so that the bench can be stopped."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.planted_nights import planted_rows


@dataclass(frozen=True)
class Cell:
    """A row of the table.

    Attributes:
        detector: that judges.
        network: whose rows nights are drawn from.
        share: of the class that has the plant tonight.
        rows: of each class a night.
        references: nights that it is compared with.
    """

    detector: str
    network: str
    share: float
    rows: int
    references: int


@dataclass(frozen=True)
class Outcome:
    """What a detector says about a night.

    Attributes:
        alarm: whether it raises one; None if its threshold is set by quiet nights.
        right_class: whether the class with the plant is named.
        right_place: whether one of the cells of the plant is named for this class.
        wrong_classes: how many other labels are named.
        scores: of a peer's units, the larger the more they have changed.
        seconds: of the comparison.
    """

    alarm: bool | None = None
    right_class: bool = False
    right_place: bool = False
    wrong_classes: int = 0
    scores: tuple[float, ...] = ()
    seconds: float = 0.0


@dataclass
class Results:
    """Outcomes by cell and night, in a file of JSON lines that is appended to.

    Attributes:
        path: of the file.
        outcomes: of each cell, by the number of the night.
    """

    path: Path
    outcomes: dict[Cell, dict[int, Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads what is there; a last line that was cut off is dropped."""
        content = self.path.read_text() if self.path.exists() else ""
        whole, _, cut = content.rpartition("\n")
        if cut:
            self.path.write_text(whole + "\n" if whole else "")
        for line in whole.splitlines():
            entry = json.loads(line)
            outcome = Outcome(**entry["outcome"] | {"scores": tuple(entry["outcome"]["scores"])})
            self.outcomes.setdefault(Cell(**entry["cell"]), {})[entry["night"]] = outcome

    def add(self, cell: Cell, night: int, outcome: Outcome) -> None:
        """Keeps an outcome."""
        self.outcomes.setdefault(cell, {})[night] = outcome
        entry = {"cell": dataclasses.asdict(cell), "night": night, "outcome": dataclasses.asdict(outcome)}
        with open(self.path, "a") as stream:
            stream.write(json.dumps(entry) + "\n")

    def has(self, cell: Cell, night: int) -> bool:
        """Returns whether a night was judged."""
        return night in self.outcomes.get(cell, {})


def night_chance(night: int) -> np.random.Generator:
    """Returns the source of chance of a night: the same pictures whatever the share and the detector."""
    return np.random.default_rng([night, 1])


def reference_chance(night: int) -> np.random.Generator:
    """Returns the source of chance of a night's references: more references begin with the same ones."""
    return np.random.default_rng([night, 2])


def cells(
    detector: str, network: str, shares: Iterable[float], rows: Iterable[int], references: Iterable[int]
) -> Iterator[Cell]:
    """Yields the rows of the table; a share that plants as many rows as another one is left out."""
    shares = sorted(shares)
    for each in rows:
        by_count = {planted_rows(each, share): share for share in reversed(shares)}
        for share in sorted(by_count.values()):
            yield from (Cell(detector, network, share, each, count) for count in references)


def summarize(cell: Cell, outcomes: Sequence[Outcome], uses: float) -> dict[str, Any]:
    """Returns a row of the table.

    Args:
        cell: of the row.
        outcomes: of its nights, in their order, with alarms.
        uses: in how many references a picture is, on average.
    """
    return {
        "detector": cell.detector,
        "kind": cell.network,
        "planted, %": f"{100 * cell.share:g}",
        "pictures": planted_rows(cell.rows, cell.share),
        "rows a class": cell.rows,
        "references": cell.references,
        "uses of a picture": uses,
        "nights": len(outcomes),
        "alarms": sum(bool(each.alarm) for each in outcomes),
        "class named": sum(each.right_class for each in outcomes),
        "place named": sum(each.right_place for each in outcomes),
        "other classes named": sum(each.wrong_classes > 0 for each in outcomes),
        "delay": delay([bool(each.alarm) for each in outcomes]),
        "seconds": statistics.median(each.seconds for each in outcomes),
    }


def delay(alarms: Sequence[bool]) -> float:
    """Returns the median number of nights until an alarm, the alarming one included, over all first nights.

    The last night is followed by the first one. Infinite if no night raises an alarm.
    """
    if not any(alarms):
        return float("inf")
    twice = [*alarms, *alarms]
    return float(statistics.median(twice.index(True, first) - first + 1 for first in range(len(alarms))))
