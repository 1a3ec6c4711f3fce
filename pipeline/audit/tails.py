"""The tails of two or more runs: which classes have pictures that look where the reference's hardly ever do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.core.cpus import usable_cpus
from transforms.core.drift.contrast import Rows
from transforms.core.drift.judge import Pair
from transforms.core.drift.places import AGAINST, COLUMNS, LOW, SHARE, Place, Places
from transforms.core.drift.power import ClassTest, Power
from transforms.core.drift.tails import LEVELS, Exceedances, Rates, TailAudit, Units, count_tests, judge_tails
from transforms.core.drift.thresholds import Thresholds
from transforms.core.statistics.slices import Slice
from transforms.store.sample import Sample
from transforms.store.tails import count_tails

KINDS = ("label", "predicted", "target")
"""Slices whose tails are looked at: those of one class."""

_THREADS = 2  # a block of rows takes about 200 MB
_PICTURES = 500  # of a class that its power is computed with


@dataclass(frozen=True)
class Tails:
    """What was found in the tails.

    Attributes:
        found: of each slice, the places where more pictures look than the reference leads to expect.
        power: of each slice, which change would have been noticed.
        evidence: the counts, as audit.json has them.
    """

    found: dict[Slice, list[TailAudit]]
    power: dict[Slice, Power]
    evidence: dict[str, Any]


@dataclass(frozen=True)
class _Usual:
    """What the reference tells of a class: its units, and signed cells of some of its pictures."""

    units: Units
    signed: np.ndarray


class TailJudge:
    """Learns what is usual from the sampled rows of the slices, and then counts all rows of all runs."""

    def __init__(self, thresholds: Thresholds) -> None:
        """Takes what counts as a change."""
        self._thresholds = thresholds
        self._usual: dict[Slice, _Usual] = {}
        self._places: Places | None = None

    def watch(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yields `pairs` as they come, after learning what is usual in those of a class."""
        for pair in pairs:
            enough = min(pair.reference_rows, pair.candidate_rows) >= self._thresholds.min_rows
            if pair.key.kind in KINDS and enough:
                self._learn(pair.key, pair.reference)
            yield pair

    def judge(self, candidate: Sample, references: Sequence[Sample], numbers: Sequence[int]) -> Tails:
        """Returns what the tails show.

        Args:
            candidate: the run that is judged.
            references: what it is compared with.
            numbers: of each reference; those of the same number count as one night.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part lacks a column.
        """
        if self._places is None:
            return Tails({}, {}, {"levels": list(LEVELS), "places": [], "slices": []})
        places, limits = self._places, self._thresholds.tails
        units = {key: usual.units for key, usual in self._usual.items()}
        with ThreadPoolExecutor(min(_THREADS, usable_cpus()), "tails") as threads:
            here, *counted = threads.map(lambda run: count_tails(run, units, places), (candidate, *references))
        nights: dict[int, Exceedances] = {}
        for number, reference in zip(numbers, counted, strict=True):
            nights[number] = nights[number].join(reference.counts) if number in nights else reference.counts
        there = list(nights.values())
        found = dict(zip(units, judge_tails(there, here.counts, places, limits), strict=True))
        rates, tests, rows = Rates.of(there, places), count_tests(here.counts), here.counts.rows
        power = {
            key: ClassTest(usual.signed, usual.units, rates, number, int(rows[number]), tests, limits).power()
            for number, (key, usual) in enumerate(self._usual.items())
        }
        pictures = [
            len(np.unique(np.concatenate([reference.pictures[number] for reference in counted])))
            for number in range(len(units))
        ]
        return Tails(found, power, _evidence(list(units), places, here.counts, there, pictures))

    def _learn(self, key: Slice, rows: Rows) -> None:
        columns = {name: rows.vectors.get(name, rows.scalars.get(name)) for name in COLUMNS}
        grid = columns["grid"]
        if grid is None or not np.isfinite(grid).all(axis=1).any():
            return
        self._places = self._places or Places(round(grid.shape[1] ** 0.5))
        values = self._places.values({name: column for name, column in columns.items() if column is not None})
        known = values[np.isfinite(values).all(axis=1)]
        if len(known) >= self._thresholds.min_rows:
            signed = known[:: -(-len(known) // _PICTURES), : grid.shape[1]].copy()
            self._usual[key] = _Usual(Units.of(known, self._places), signed)


def _evidence(
    keys: Sequence[Slice], places: Places, here: Exceedances, there: Sequence[Exceedances], pictures: Sequence[int]
) -> dict[str, Any]:
    """Returns the counts of the signed cells, the frame and the numbers, where they are not 0.

    Args:
        keys: the slices.
        places: of the counts.
        here: counts of the candidate.
        there: of each night of the reference.
        pictures: of the reference in each slice, those that come in several nights counted once.
    """
    reference = there[0].join(*there[1:])
    names, chosen = _named(places)
    slices = []
    for number, key in enumerate(keys):
        both = np.stack([here.counts[number], reference.counts[number]], axis=-1)[chosen]
        positions = np.argwhere(both.any(axis=-1))
        counts = [
            [names[place][0], names[place][1], level, *both[place, level].tolist()]
            for place, level in positions.tolist()
        ]
        rows = {"rows": int(here.rows[number]), "reference_rows": int(reference.rows[number])}
        rows["reference_pictures"] = min(pictures[number], rows["reference_rows"])
        slices.append(dataclasses.asdict(key) | rows | {"counts": counts})
    listed = sorted({number: name for number, _, name in names}.items())
    return {"levels": list(LEVELS), "places": [name for _, name in listed], "slices": slices}


def _named(places: Places) -> tuple[list[tuple[int, int, str]], list[int]]:
    """Returns number, sign and name of the places that are evidence, and their positions among all."""
    numbers: dict[str, int] = {}
    names, chosen = [], []
    for position, place in enumerate(places.all):
        if place.side != SHARE and len(place.cells) != 4:
            name = _name(place)
            number = numbers.setdefault(name, len(numbers))
            names.append((number, -1 if place.side in (AGAINST, LOW) else 1, name))
            chosen.append(position)
    return names, chosen


def _name(place: Place) -> str:
    if place.name:
        return place.name
    return f"{place.cells[0][0] + 1},{place.cells[0][1] + 1}" if len(place.cells) == 1 else "frame"
