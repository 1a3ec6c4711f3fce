"""How many of all rows of a run lie in the tails of their classes: read block by block, so that a million may."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transforms.core.drift.places import COLUMNS, Places
from transforms.core.drift.tails import Exceedances, Units
from transforms.core.statistics.slices import Slice
from transforms.core.vocabulary import VECTORS
from transforms.store.placed import blocks
from transforms.store.sample import Sample
from transforms.store.schema import matrix


def count_tails(sample: Sample, units: Mapping[Slice, Units], places: Places) -> Exceedances:
    """Returns how many rows of each slice lie beyond each level in each place, an image once.

    Args:
        sample: of the run.
        units: of the slices, in the order of the counts.
        places: of these.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    counted = Exceedances.zero(len(units), places)
    rows_of = [sample.placed.images_of(key) for key in units]
    first = 0
    for table in blocks(sample.reader(COLUMNS)):
        columns = {
            name: matrix(table, name) if name in VECTORS else table.column(name).to_numpy().astype(np.float32)
            for name in COLUMNS
        }
        values = places.values(columns)
        values[~columns["grid"].any(axis=1)] = np.nan  # version 0.1.0 stored zeros for a map that is zero everywhere
        for number, (rows, usual) in enumerate(zip(rows_of, units.values(), strict=True)):
            start, end = np.searchsorted(rows, [first, first + len(table)])
            if end > start:
                counted.add(number, values[rows[start:end] - first], usual, places)
        first += len(table)
    return counted
