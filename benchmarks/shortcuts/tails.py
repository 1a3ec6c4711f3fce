"""The tails that `compare` looks at, on arrays in memory: a hundred times quicker, for many nights.

A test checks that it tells the nights that `compare` tells. Labels alone are looked at; as `compare` looks at predicted
pictures too, and so makes twice as many tests, p-values are doubled.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from benchmarks.shortcuts.networks import Network
from benchmarks.shortcuts.trials import Outcome
from pipeline.audit.thresholds import load_thresholds
from transforms.core.drift.places import COLUMNS, Places
from transforms.core.drift.tails import Exceedances, TailAudit, Units, judge_tails
from transforms.core.vocabulary import VECTORS
from transforms.store.schema import matrix

_OVERLAP = 4


def judge(candidate: pa.Table, references: Sequence[pa.Table], network: Network) -> Outcome:
    """Returns what the tails of a night show."""
    start = time.perf_counter()
    found = find_tails(candidate, references)
    mine = found.get(network.target, [])
    cells = [{(row, col) for row, col in tail.cells} for tail in mine]
    return Outcome(
        alarm=bool(found),
        right_class=bool(mine),
        right_place=any(each and _OVERLAP * len(each & set(network.cells)) >= len(each) for each in cells),
        wrong_classes=len(found) - bool(mine),
        seconds=time.perf_counter() - start,
    )


def find_tails(candidate: pa.Table, references: Sequence[pa.Table]) -> dict[int, list[TailAudit]]:
    """Returns what stands out of each label, of those of which anything does."""
    limits, places = load_thresholds().tails, Places(8)
    limits = dataclasses.replace(limits, p_value=limits.p_value / 2)
    here, *there = [by_label(table, places) for table in (candidate, *references)]
    labels = sorted(here)
    units = {label: Units.of(np.concatenate([night[label] for night in there]), places) for label in labels}
    counted = []
    for night in (here, *there):
        counts = Exceedances.zero(len(labels), places)
        for number, label in enumerate(labels):
            counts.add(number, night[label], units[label], places)
        counted.append(counts)
    audits = judge_tails(counted[1:], counted[0], places, limits)
    return {label: found for label, found in zip(labels, audits, strict=True) if found}


def by_label(table: pa.Table, places: Places) -> dict[int, np.ndarray]:
    """Returns the values of the rows of each label, as `Places.values` returns them."""
    columns = {
        name: matrix(table, name) if name in VECTORS else table.column(name).to_numpy().astype(np.float32)
        for name in COLUMNS
    }
    values, labels = places.values(columns), table.column("label").to_numpy()
    return {int(label): values[labels == label] for label in np.unique(labels)}
