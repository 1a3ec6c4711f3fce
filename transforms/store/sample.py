"""Rows of a run to compare, a bounded number of each slice, read without maps and pictures.

Which rows are taken depends on a hash of the image id alone: on no order, and a picture that comes again in another
run is taken there too. An image counts once in a slice, by the highest ranked of its targets there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.core.drift.contrast import SCALARS, Rows
from transforms.core.maps.importance import Importance
from transforms.core.stable_hash import stable_hash
from transforms.core.statistics.slices import SLICE_COLUMNS, Slice, Slicer
from transforms.core.vocabulary import VECTORS
from transforms.store.placed import COLUMNS, Placed, blocks, class_of, place_rows
from transforms.store.schema import matrix, slice_columns

_OF_MAPS = tuple(
    field.name for field in dataclasses.fields(Importance) if field.name in VECTORS or field.name in SCALARS
)
"""Columns that are unknown of a map that is zero everywhere."""

_SELECTED = 4
"""Times as many rows as are wanted, from which on selecting them is quicker than sorting all."""


@dataclass(frozen=True)
class SampledRows:
    """The chosen rows of a run, each once, though it may be in several slices."""

    rows: Rows
    positions: Mapping[Slice, np.ndarray]

    def of(self, key: Slice) -> Rows:
        """Returns the rows of a slice; none if the run has not it."""
        return self.rows.take(self.positions.get(key, np.zeros(0, np.int64)))


Reader = Callable[[Sequence[str]], Iterator[pa.Table]]
"""Yields all rows of a run with only some columns, in the same order each time."""


@dataclass(frozen=True)
class Sample:
    """Which rows of a run to compare, by slice.

    Attributes:
        reader: of the run.
        placed: where all its rows belong.
        images: how many images each slice has.
        classes: images by class: (value, name). A class is the label, or the prediction if there is none.
        chosen: for each slice, the numbers of the rows to compare.
    """

    reader: Reader
    placed: Placed
    images: Mapping[Slice, int]
    classes: Mapping[tuple[str, str], int]
    chosen: Mapping[Slice, np.ndarray]

    def read(self, slices: Collection[Slice], number: int = 0) -> SampledRows:
        """Returns the chosen rows of `slices`.

        Args:
            slices: which to read, of those that rows were chosen for.
            number: tells the rows of this run from those of other references.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part lacks a column.
        """
        wanted = np.unique(np.concatenate([np.zeros(0, np.int64), *(self.chosen[key] for key in slices)]))
        taken: list[dict[str, np.ndarray]] = []
        first = 0
        for table in blocks(self.reader([*VECTORS, *SCALARS])):
            start, end = np.searchsorted(wanted, [first, first + len(table)])
            if end > start or not taken:
                taken.append(_values(table.take(pa.array(wanted[start:end] - first))))
            first += len(table)
        values = {name: np.concatenate([each.pop(name) for each in taken]) for name in (*VECTORS, *SCALARS)}
        codes = np.array([_code(value) for value, _ in self.placed.classes], np.uint64).view(np.int64)
        rows = Rows(
            {name: values[name] for name in VECTORS},
            {name: values[name] for name in SCALARS},
            codes[self.placed.class_codes[wanted]],
            np.full(len(wanted), number),
        )
        return SampledRows(rows, {key: np.searchsorted(wanted, self.chosen[key]) for key in slices})


def choose_rows(reader: Reader, slicer: Slicer, slices: Collection[Slice], most: int) -> Sample:
    """Returns which rows of a run to compare.

    Args:
        reader: of the run; yields at least one table.
        slicer: places rows in slices.
        slices: which to choose rows for.
        most: rows of a slice.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    placed = place_rows(reader(COLUMNS), slicer)
    images, chosen = {}, {}
    for key in slices:
        rows = placed.images_of(key)
        images[key] = len(rows)
        chosen[key] = rows[_least(placed.images[rows], most)]
    return Sample(reader, placed, images, placed.count_classes(), chosen)


def _least(hashes: np.ndarray, most: int) -> np.ndarray:
    """Returns the positions of the `most` least hashes in their order; of equal ones, the first come first."""
    if len(hashes) <= _SELECTED * most:
        return np.argsort(hashes, kind="stable")[:most]
    few = np.flatnonzero(hashes <= np.partition(hashes, most - 1)[most - 1])
    return few[np.argsort(hashes[few], kind="stable")][:most]


def rows_of_table(table: pa.Table, number: int) -> Rows:
    """Returns the numbers of stored rows, few enough to go by one by one; `number` tells them from other runs' rows."""
    columns, values = slice_columns(table), _values(table)
    classes = map(class_of, *(columns[name] for name in SLICE_COLUMNS[:6]))
    return Rows(
        {name: values[name] for name in VECTORS},
        {name: values[name] for name in SCALARS},
        np.array([_code(value) for value, _ in classes], np.uint64).view(np.int64),
        np.full(len(table), number),
    )


def _values(table: pa.Table) -> dict[str, np.ndarray]:
    """Returns the vectors and scalars of rows, by name; see `Rows`."""
    values = {name: matrix(table, name) for name in VECTORS}
    values |= {name: table.column(name).to_numpy().astype(np.float32) for name in SCALARS}
    blank = np.asarray(~values["grid"].any(axis=1))
    if blank.any():  # version 0.1.0 stored zeros for a map that is zero everywhere
        values |= {name: _without(values[name], blank) for name in _OF_MAPS}
    return values


def _without(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns `values` `[rows, …]` with some rows unknown."""
    found = values.copy()
    found[rows] = np.nan
    return found


_code = functools.lru_cache(maxsize=65536)(stable_hash)  # of classes, which are few
