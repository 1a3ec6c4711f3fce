"""How many of all rows of a run lie in the tails of their classes: read block by block, so that a million may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.core.drift.places import COLUMNS, Places
from transforms.core.drift.tails import Exceedances, Units
from transforms.core.statistics.slices import Slice
from transforms.core.vocabulary import CONTENT, VECTORS
from transforms.store.placed import blocks
from transforms.store.sample import Sample
from transforms.store.schema import matrix

_BLOCK_CELLS = 1 << 21
"""Of the grids that are read at a time: 32,768 rows of 8 × 8 cells, and fewer of finer grids."""

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
"""Odd, so that no letter of a digest is lost."""


@dataclass(frozen=True)
class CountedTails:
    """The tails of all rows of a run.

    Attributes:
        counts: by slice, an image once.
        pictures: of each slice, a hash of each picture's content, uint64 `[pictures]`; of its id if that is not stored.
    """

    counts: Exceedances
    pictures: list[np.ndarray]


def count_tails(sample: Sample, units: Mapping[Slice, Units], places: Places) -> CountedTails:
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
    contents, first = [np.zeros(0, np.uint64)], 0
    for table in blocks(sample.reader([*COLUMNS, CONTENT]), _BLOCK_CELLS // places.side**2):
        contents.append(_hash_contents(table, sample.placed.images[first : first + len(table)]))
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
    pictures = np.concatenate(contents)
    return CountedTails(counted, [pictures[rows] for rows in rows_of])


def _hash_contents(table: pa.Table, images: np.ndarray) -> np.ndarray:
    """Returns a number for each row's content, uint64 `[rows]`; `images` if a row has none, as in earlier versions."""
    if CONTENT not in table.column_names or table.column(CONTENT).null_count:
        return images
    digests = np.array(table.column(CONTENT).to_pylist(), "S32")
    words = np.ascontiguousarray(digests).view(np.uint64).reshape(len(digests), -1)
    return np.asarray((words * _FACTORS).sum(axis=1, dtype=np.uint64))
