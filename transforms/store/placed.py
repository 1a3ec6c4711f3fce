"""All rows of a run by the slices they belong to, read as arrays: a million rows in seconds.

Each distinct combination of what places a row is placed once, and its rows share the answer. A row costs a few numbers:
the hash of its image id, and for each axis (classes, shards, a field) the number of its combination.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.stable_hash import stable_hashes
from transforms.core.statistics.slices import (
    SLICE_COLUMNS,
    Class,
    Name,
    Slice,
    Slicer,
    class_slices,
    field_slice,
    shard_slice,
)
from transforms.core.vocabulary import CONTENT, OPTIONAL_COLUMNS, TASK_COLUMNS
from transforms.store.schema import PLACING_COLUMNS, first_predictions, pairs, slice_columns

COLUMNS = ("image_id", *PLACING_COLUMNS, *OPTIONAL_COLUMNS, CONTENT)
"""What `place_rows` reads."""

BLOCK_ROWS = 1 << 15
"""Rows that are read at a time: enough to make arrays worth it, and few enough for a few megabytes."""

_LISTED = TASK_COLUMNS["labels"]
_OF_CLASSES = ("label", "label_name", "target", "target_name", "target_rank")
_PLACED_BY_CLASS = SLICE_COLUMNS[: SLICE_COLUMNS.index("shard")]
_MOST_LISTED = 1 << 24
_MOST_CODES = 1 << 62
_SHORT = 1 << 16

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Axis:
    """What rows are placed by, apart from the other axes.

    Attributes:
        codes: each row's combination, int32 `[rows]`.
        slices: of each combination, the slices that its rows belong to, as indices into the keys.
    """

    codes: np.ndarray
    slices: tuple[tuple[int, ...], ...]

    def rows_of(self, key: int) -> np.ndarray | None:
        """Returns the numbers of the rows of a slice, ascending, int64; None if the slice is not of this axis."""
        codes = self._combinations.get(key)
        if codes is None:
            return None
        if len(codes) == len(self.slices):
            return np.arange(len(self.codes))
        order, starts = self._order
        found = np.concatenate([order[starts[code] : starts[code + 1]] for code in codes]).astype(np.int64)
        return found if len(codes) == 1 else np.sort(found)

    @functools.cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows by combination, uint32 `[rows]`, and where each combination begins, `[combinations + 1]`."""
        codes = (
            self.codes.astype(np.uint16) if len(self.slices) <= _SHORT else self.codes
        )  # sorted several times faster
        counts = np.bincount(self.codes, minlength=len(self.slices))
        return np.argsort(codes, kind="stable").astype(np.uint32), np.concatenate([[0], np.cumsum(counts)])

    @functools.cached_property
    def _combinations(self) -> dict[int, list[int]]:
        """The combinations of each slice."""
        found: dict[int, list[int]] = {}
        for code, keys in enumerate(self.slices):
            for key in dict.fromkeys(keys):
                found.setdefault(key, []).append(code)
        return found


@dataclass(frozen=True)
class Placed:
    """Where all rows of a run belong, in about 40 bytes a row.

    Attributes:
        images: the hash of each row's image id, uint64 `[rows]`; an image's rows follow one another, the highest
            ranked target first.
        classes: (value, name) of the classes that rows have; see `class_of`.
        class_codes: each row's class, as an index into `classes`, int32 `[rows]`.
        keys: the slices that there are.
        axes: what rows are placed by.
        contents: the hash of each row's picture, uint64 `[rows]`; None if that of any is not stored.
    """

    images: np.ndarray
    classes: tuple[tuple[str, str], ...]
    class_codes: np.ndarray
    keys: tuple[Slice, ...]
    axes: tuple[Axis, ...]
    contents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def rows_of(self, key: Slice) -> np.ndarray:
        """Returns the numbers of the rows of a slice, ascending, int64: one for each target of an image there."""
        number = self._numbers.get(key)
        found = (axis.rows_of(number) for axis in self.axes if number is not None)
        return next((rows for rows in found if rows is not None), np.zeros(0, np.int64))

    def images_of(self, key: Slice) -> np.ndarray:
        """Returns the numbers of the rows of a slice, an image once, by the highest ranked of its targets there."""
        rows = self.rows_of(key)
        return rows[begins(self.images[rows])]

    def count_classes(self) -> dict[tuple[str, str], int]:
        """Returns the images of each class, an image by its first row, in the order in which the classes come."""
        codes = self.class_codes[begins(self.images)]
        found, first, counts = np.unique(codes, return_index=True, return_counts=True)
        return {self.classes[found[each]]: int(counts[each]) for each in np.argsort(first)}

    @functools.cached_property
    def _numbers(self) -> dict[Slice, int]:
        return {key: number for number, key in enumerate(self.keys)}


def place_rows(tables: Iterable[pa.Table], slicer: Slicer) -> Placed:
    """Returns where the rows of a run belong.

    Args:
        tables: all rows, with COLUMNS, in their order.
        slicer: names the slices of a row.
    """
    keys, classes = _Numbers[Slice](), _Numbers[tuple[str, str]]()
    images, class_codes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int32)]
    contents: list[np.ndarray] | None = [np.zeros(0, np.uint64)]
    axes = [_AxisBuilder(keys) for _ in ("classes", "shards", *slicer.slice_by)]
    for table in blocks(tables):
        images.append(hash_images(table.column("image_id")))
        if CONTENT not in table.column_names or table.column(CONTENT).null_count:
            contents = None
        if contents is not None:
            contents.append(hash_images(table.column(CONTENT)))
        rows, inverse = _class_rows(table)
        class_codes.append(np.array([classes[class_of(*row[:6])] for row in rows], np.int32)[inverse])
        axes[0].add([class_slices(*row) for row in rows], inverse)
        shards, inverse = _texts(table.column("shard").combine_chunks())
        axes[1].add([(shard_slice(shard),) for shard in shards], inverse)
        for axis, name in zip(axes[2:], slicer.slice_by, strict=True):
            values, inverse = _texts(_field_values(table, name))
            axis.add([() if value is None else (field_slice(name, value),) for value in values], inverse)
    return Placed(
        np.concatenate(images),
        tuple(classes),
        np.concatenate(class_codes),
        tuple(keys),
        tuple(axis.finish() for axis in axes),
        None if contents is None else np.concatenate(contents),
    )


def blocks(tables: Iterable[pa.Table], least: int = BLOCK_ROWS) -> Iterator[pa.Table]:
    """Yields the rows of `tables`, at least `least` of them at a time but for the last; no empty table."""
    pending: list[pa.Table] = []
    for table in tables:
        pending += [table] * bool(len(table))
        if sum(map(len, pending)) >= least:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def hash_images(image_ids: pa.ChunkedArray) -> np.ndarray:
    """Returns the `stable_hash` of each id, uint64 `[rows]`; of ids that follow one another, it is computed once."""
    ids = image_ids.combine_chunks().cast(pa.binary())
    first = np.ones(len(ids), bool)
    first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    hashes = stable_hashes((ids if first.all() else ids.filter(pa.array(first))).to_pylist())
    return np.frombuffer(hashes, ">u8").astype(np.uint64)[np.cumsum(first) - 1]


def begins(images: np.ndarray) -> np.ndarray:
    """Returns which rows are not of the same image as the row before, bool `[rows]`."""
    found = np.ones(len(images), bool)
    found[1:] = images[1:] != images[:-1]
    return found


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


class _Numbers(dict[_Key, int]):
    """Numbers things from 0 on, in the order in which they are asked for."""

    def __missing__(self, key: _Key) -> int:
        self[key] = number = len(self)
        return number


class _AxisBuilder:
    """An axis, block by block."""

    def __init__(self, keys: _Numbers[Slice]):
        self._keys = keys
        self._combinations = _Numbers[tuple[int, ...]]()
        self._codes = [np.zeros(0, np.int32)]

    def add(self, slices: Sequence[Sequence[Slice]], inverse: np.ndarray) -> None:
        """Adds rows: the slices of each distinct combination in a block, and the combination of each of its rows."""
        codes = [self._combinations[tuple(self._keys[key] for key in each)] for each in slices]
        self._codes.append(np.array(codes, np.int32)[inverse])

    def finish(self) -> Axis:
        return Axis(np.concatenate(self._codes), tuple(self._combinations))


def _class_rows(table: pa.Table) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """Returns the distinct values that place rows by class, in the order in which they come, and which each row has."""
    top = first_predictions(table)
    columns = [table.column(name).combine_chunks() for name in _OF_CLASSES]
    columns += [pc.struct_field(top, name) for name in ("target", "name")]
    codes = [_encode(column)[0] for column in columns]
    codes += [_encode_lists(table.column(name).combine_chunks()) for name in _LISTED if name in table.column_names]
    first, inverse = _distinct(codes)
    found = slice_columns(table.take(pa.array(first)))
    return list(zip(*(found[name] for name in _PLACED_BY_CLASS), strict=True)), inverse


def _texts(column: pa.Array) -> tuple[list[str | None], np.ndarray]:
    """Returns the distinct texts of a column, and which of them each row has."""
    codes, values = _encode(column)
    return values.to_pylist(), codes


def _encode(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Returns the number of each row's value, and the distinct values in the order in which they come."""
    encoded = pc.dictionary_encode(column, null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _encode_lists(column: pa.Array) -> np.ndarray:
    """Returns numbers that tell lists of classes apart: by the index of each, on which its name depends."""
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    longest = lengths.max(initial=0)
    if len(lengths) * longest > _MOST_LISTED:
        return np.arange(len(lengths))
    padded = np.full((len(lengths), 1 + longest), -1, np.int64)
    padded[:, 0] = lengths
    classes = pc.fill_null(pc.struct_field(column.flatten(), "target"), -1)
    padded[:, 1:][np.arange(longest) < lengths[:, None]] = classes.to_numpy(zero_copy_only=False)
    return np.unique(padded, axis=0, return_inverse=True)[1].reshape(-1)


def _distinct(codes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first row of each distinct combination of codes, ascending, and the combination of each row."""
    joined, most = np.zeros(len(codes[0]), np.int64), 1
    for each in codes:
        size = int(each.max(initial=0)) + 1
        if most * size > _MOST_CODES:
            joined = np.unique(joined, return_inverse=True)[1]
            most = len(joined)
        joined, most = joined * size + each, most * size
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[inverse]


def _field_values(table: pa.Table, name: str) -> pa.Array:
    """Returns the value of one of each row's `fields`, null where it has none; the last, if it comes several times."""
    column = table.column("fields").combine_chunks()
    if not pa.types.is_list(column.type):  # of version 0.1.0
        return pa.array([dict(pairs(row)).get(name) for row in column.to_pylist()], pa.string())
    stored = column.flatten()
    named = pc.fill_null(pc.equal(pc.struct_field(stored, "key"), name), False)
    rows = pc.list_parent_indices(column).filter(named).to_numpy(zero_copy_only=False)
    positions = np.full(len(column), -1)
    positions[rows] = np.arange(len(rows))
    return pc.struct_field(stored, "value").filter(named).take(pa.array(positions, mask=positions < 0))


def _text(name: Name) -> str:
    return name if isinstance(name, str) else ""
