"""Rows of a run to compare, a bounded number of each slice, read without maps and pictures.

Which rows are taken depends on a hash of the image id alone: on no order, and a picture that comes again in another
run is taken there too. An image counts once in a slice, by the highest ranked of its targets there.
"""

from __future__ import annotations

import dataclasses
import functools
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from transforms.core.drift.contrast import SCALARS, Rows
from transforms.core.maps.importance import Importance
from transforms.core.stable_hash import stable_hash
from transforms.core.statistics.slices import SLICE_COLUMNS, Class, Name, Slice, Slicer
from transforms.core.vocabulary import OPTIONAL_COLUMNS, VECTORS
from transforms.store.schema import PLACING_COLUMNS, matrix, slice_columns

_OF_MAPS = tuple(field.name for field in dataclasses.fields(Importance))
"""Columns that are unknown of a map that is zero everywhere."""


@dataclass
class _Chosen:
    """The images of a slice with the least hashes so far, and the row of each."""

    images: int = 0
    last: int = -1
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    rows: array[int] = field(default_factory=lambda: array("q"))

    def add(self, image: int, row: int) -> None:
        if image != self.last:
            self.images, self.last = self.images + 1, image
            self.hashes.append(image)
            self.rows.append(row)

    def prune(self, most: int) -> None:
        """Forgets all but the `most` least hashes, once it is worth it."""
        if len(self.hashes) > 2 * most:
            order = np.argsort(np.frombuffer(self.hashes, np.uint64), kind="stable")[:most]
            self.hashes, self.rows = (
                array(values.typecode, np.asarray(values)[order].tolist()) for values in (self.hashes, self.rows)
            )

    def least(self, most: int) -> np.ndarray:
        order = np.argsort(np.frombuffer(self.hashes, np.uint64), kind="stable")[:most]
        return np.frombuffer(self.rows, np.int64)[order]


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
        images: how many images each slice has.
        classes: images by class: (value, name). A class is the label, or the prediction if there is none.
        chosen: for each slice, the numbers of the rows to compare.
    """

    reader: Reader
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
        taken, first = [], 0
        for table in self.reader([*VECTORS, *SCALARS, *PLACING_COLUMNS, *OPTIONAL_COLUMNS]):
            inside = wanted[(wanted >= first) & (wanted < first + len(table))]
            taken.append(table.take(pa.array(inside - first)))
            first += len(table)
        positions = {key: np.searchsorted(wanted, self.chosen[key]) for key in slices}
        return SampledRows(_rows(pa.concat_tables(taken), number), positions)


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
    chosen = {key: _Chosen() for key in slices}
    classes: Counter[tuple[str, str]] = Counter()
    row, last = 0, -1
    for table in reader(["image_id", *PLACING_COLUMNS, *OPTIONAL_COLUMNS]):
        columns = slice_columns(table)
        images = map(stable_hash, table.column("image_id").to_pylist())
        for image, values in zip(images, zip(*(columns[name] for name in SLICE_COLUMNS), strict=True), strict=True):
            if image != last:
                classes[class_of(*values[:6])] += 1
                last = image
            for key in slicer(*values):
                if key in chosen:
                    chosen[key].add(image, row)
            row += 1
        for rows in chosen.values():
            rows.prune(most)
    images_of = {key: rows.images for key, rows in chosen.items()}
    return Sample(reader, images_of, classes, {key: rows.least(most) for key, rows in chosen.items()})


def class_of(
    label: Class,
    label_name: Name,
    predicted: Class,
    predicted_name: Name,
    target: int = 0,
    target_name: str | None = None,
) -> tuple[str, str]:
    """Returns a row's class, (value, name): its image's label, or the top prediction where it has none.

    Of a model that gives any number of labels, it is what the row explains: hardly two images have the same labels.
    """
    if isinstance(label, tuple) or isinstance(predicted, tuple):
        return str(target), target_name or ""
    if label is not None:
        return str(label), _text(label_name)
    return (_text(label_name),) * 2 if label_name else (str(predicted), _text(predicted_name))


def _text(name: Name) -> str:
    return name if isinstance(name, str) else ""


def _rows(table: pa.Table, number: int) -> Rows:
    columns = slice_columns(table)
    classes = map(class_of, *(columns[name] for name in SLICE_COLUMNS[:6]))
    values = {name: matrix(table, name) for name in VECTORS}
    values |= {name: table.column(name).to_numpy().astype(np.float32) for name in SCALARS}
    blank = np.asarray(~values["grid"].any(axis=1))
    if blank.any():  # version 0.1.0 stored zeros for a map that is zero everywhere
        values |= {name: _without(values[name], blank) for name in _OF_MAPS}
    return Rows(
        {name: values[name] for name in VECTORS},
        {name: values[name] for name in SCALARS},
        np.array([_code(value) for value, _ in classes], np.uint64).view(np.int64),
        np.full(len(table), number),
    )


def _without(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns `values` `[rows, …]` with some rows unknown."""
    found = values.copy()
    found[rows] = np.nan
    return found


_code = functools.lru_cache(maxsize=65536)(stable_hash)  # of classes, which are few
