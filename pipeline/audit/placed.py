"""A run's rows by class, as arrays: a bounded number of each class, chosen by a hash, read without maps and pictures.

An image counts once in a class, by the first of its rows. Its class is its label; without one, what the row explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.statistics.slices import Slice
from transforms.store.placed import hash_images
from transforms.store.run import Run
from transforms.store.schema import first_predictions, matrix

_COLUMNS = (
    "image_id",
    "label",
    "label_name",
    "target",
    "target_name",
    "target_rank",
    "score",
    "predictions.list.element.target",
    "signed_grid",
)
MOST_ROWS = 20_000
"""Most rows of a class that are held."""

_LEAST_ROWS = 500
"""As many rows of a class are held in any case."""

_NUMBERS = 64_000_000
"""Most numbers of signed grids that are held, of all classes together: 256 MB."""

_BLOCK_ROWS = 65_536

_SEPARATOR = "\0"
"""Between the parts of a slice's name; those that are stored are printable, or text that a data set has."""


@dataclass(frozen=True)
class Block:
    """Some rows of a run, in order, one of each image and class.

    Attributes:
        rows: numbers of the rows in the run, int64 `[rows]`.
        classes: number of each row's class in the order in which they came, int64 `[rows]`.
        correct: whether the top prediction is the label, 1 or 0; NaN if one of them is unknown; float32 `[rows]`.
        score: float32 `[rows]`.
        signed: float32 `[rows, cells]`, NaN for a map that is zero everywhere.
        ids: of the images.
    """

    rows: np.ndarray
    classes: np.ndarray
    correct: np.ndarray
    score: np.ndarray
    signed: np.ndarray
    ids: pa.ChunkedArray

    def take(self, chosen: np.ndarray) -> Block:
        """Returns the rows at `chosen`."""
        return Block(
            self.rows[chosen],
            self.classes[chosen],
            self.correct[chosen],
            self.score[chosen],
            self.signed[chosen],
            self.ids.take(pa.array(chosen, pa.int64())),
        )


@dataclass(frozen=True)
class Rows:
    """The rows of a class that are held.

    Attributes:
        key: the class's slice.
        count: images of the class in the run.
        block: the held rows, in order: all of them, or those with the least hashes.
    """

    key: Slice
    count: int
    block: Block


@dataclass
class Placer:
    """Reads a run's rows and numbers their classes: the same classes, in the same order, for the same run.

    Attributes:
        classes: slices of the classes so far, in the order of their numbers.
    """

    classes: list[Slice] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def blocks(self, run: Run) -> Iterator[Block]:
        """Yields the rows of a finished run, a few thousand at a time.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part lacks a column.
        """
        first, last = 0, ""
        for table in run.rows([*_COLUMNS, "decided"], most=_BLOCK_ROWS):
            if len(table):
                yield self._placed(table, first, last)
                first, last = first + len(table), table.column("image_id")[-1].as_py()

    def _placed(self, table: pa.Table, first: int, last: str) -> Block:
        several = "decided" in table.column_names and table.column("decided").null_count < len(table)
        keys = _joined("target", table.column("target"), table.column("target_name")) if several else _keys(table)
        kept = np.arange(len(table)) if several else np.flatnonzero(_begins(table.column("image_id"), last))
        found = keys.take(pa.array(kept, pa.int64())).combine_chunks().dictionary_encode()
        numbers = np.array([self._number(key) for key in found.dictionary.to_pylist()], np.int64)
        signed = matrix(table, "signed_grid").astype(np.float32)
        signed[~np.asarray(signed.any(axis=1))] = np.nan  # version 0.1.0 stored zeros for a map that is zero everywhere
        return Block(
            first + kept,
            numbers[found.indices.to_numpy()],
            _correct(table)[kept],
            table.column("score").to_numpy().astype(np.float32)[kept],
            signed[kept],
            table.column("image_id").take(pa.array(kept, pa.int64())),
        )

    def _number(self, key: str) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.classes)
            self.classes.append(Slice(*key.split(_SEPARATOR, 2)))
        return self._numbers[key]


def read_classes(run: Run, most: int = MOST_ROWS) -> list[Rows]:
    """Returns the rows of each class of a finished run, the class with most images first.

    Args:
        run: a finished run.
        most: rows of a class that are held, fewer if the run has very many classes.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    placer = Placer()
    held: dict[int, _Held] = {}
    for block in placer.blocks(run):
        if not len(block.rows):
            continue  # its rows are further targets of an image of the block before
        cells = max(1, block.signed.shape[1])
        limit = max(_LEAST_ROWS, min(most, _NUMBERS // cells // len(placer.classes)))
        order = np.argsort(block.classes, kind="stable")
        numbers, starts = np.unique(block.classes[order], return_index=True)
        for number, chosen in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            held.setdefault(number, _Held()).add(block.take(chosen), limit)
    rows = [Rows(placer.classes[number], each.count, each.block()) for number, each in held.items()]
    return sorted(rows, key=lambda one: (-one.count, one.key))


@dataclass
class _Held:
    """The rows of a class so far, of which those with the least hashes of their ids are kept."""

    count: int = 0
    blocks: list[Block] = field(default_factory=list)
    _rows: int = 0
    _bound: int = 2**64

    def add(self, block: Block, most: int) -> None:
        self.count += len(block.rows)
        if self._bound < 2**64:
            block = block.take(np.flatnonzero(_hashes(block) < np.uint64(self._bound)))
        self.blocks.append(block)
        self._rows += len(block.rows)
        if self._rows > 2 * most:
            self._prune(most)

    def _prune(self, most: int) -> None:
        whole = _joined_blocks(self.blocks)
        hashes = _hashes(whole)
        self._bound = int(np.partition(hashes, most)[most])
        self.blocks = [whole.take(np.flatnonzero(hashes < np.uint64(self._bound)))]
        self._rows = len(self.blocks[0].rows)

    def block(self) -> Block:
        return _joined_blocks(self.blocks)


def _joined_blocks(blocks: Sequence[Block]) -> Block:
    return Block(
        np.concatenate([block.rows for block in blocks]),
        np.concatenate([block.classes for block in blocks]),
        np.concatenate([block.correct for block in blocks]),
        np.concatenate([block.score for block in blocks]),
        np.concatenate([block.signed for block in blocks]),
        pa.chunked_array([chunk for block in blocks for chunk in block.ids.chunks], pa.string()),
    )


def _hashes(block: Block) -> np.ndarray:
    return hash_images(block.ids) if len(block.rows) else np.zeros(0, np.uint64)


def _begins(ids: pa.ChunkedArray, last: str) -> np.ndarray:
    """Returns which rows are the first of their image, bool `[rows]`; those of an image follow one another."""
    whole = ids.combine_chunks()
    differ = pc.not_equal(whole[1:], whole[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[whole[0].as_py() != last], differ]).astype(bool)


def _keys(table: pa.Table) -> pa.ChunkedArray:
    """Returns the slice of each row's class as text: its label, else what it explains, or else all rows."""
    label, text = table.column("label"), pc.fill_null(table.column("label_name"), "")
    rank, name = table.column("target_rank"), table.column("target_name")
    explained = pc.if_else(
        pc.fill_null(pc.equal(rank, 0), False),
        _joined("predicted", table.column("target"), name),
        _joined("target", table.column("target"), name),
    )
    nothing = pc.and_(pc.is_null(rank), pc.is_null(name))
    unlabelled = pc.if_else(nothing, _joined("all", pa.scalar(""), pa.scalar("")), explained)
    named = pc.if_else(pc.equal(text, ""), unlabelled, _joined("label", text, text))
    return pc.if_else(pc.is_valid(label), _joined("label", label, text), named)


def _joined(kind: str, value: pa.ChunkedArray | pa.Scalar, name: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    parts = [pa.scalar(kind), pc.fill_null(pc.cast(value, pa.string()), ""), pc.fill_null(name, "")]
    return pc.binary_join_element_wise(*parts, _SEPARATOR)


def _correct(table: pa.Table) -> np.ndarray:
    predicted = pc.struct_field(first_predictions(table), "target")
    hit = pc.cast(pc.equal(table.column("label").combine_chunks(), predicted), pa.float32())
    return hit.fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float32)
