"""Pictures that come again: the rows of a run and of its references that are of the same pictures, as arrays.

Pictures are matched by the digest of their content, or by image id if a run stores none. An image counts once, by the
highest ranked of its targets. References of one model are taken as one training: of each picture, its latest row.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.drift.contrast import SCALARS, Rows
from transforms.core.drift.pair_contrast import Paired
from transforms.core.drift.pairs import Again
from transforms.core.drift.trainings import LEAST_TRAININGS
from transforms.core.stable_hash import stable_hash
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.vocabulary import CONTENT, OPTIONAL_COLUMNS, VECTORS
from transforms.store.placed import BLOCK_ROWS, Placed, begins, blocks
from transforms.store.run import Run
from transforms.store.sample import rows_of_table
from transforms.store.schema import PLACING_COLUMNS, first_predictions

KINDS = ("all", "label", "predicted", "target")
"""The kinds of slices in which pictures are compared one by one."""

MOST_TRAININGS = 8
"""How many trainings are compared, the latest: as the memory takes a million pictures of each."""

_MOST_BYTES = 256 << 20
"""Of the numbers of all rows that are held."""

_NONE = Rows({}, {}, np.zeros(0, np.int64), np.zeros(0, np.int64))

_CODES = ("label", "target", "target_rank")
_NAMES = ("label_name", "target_name")
_PLACING = (*_CODES, *_NAMES, "predictions")


@dataclass(frozen=True)
class Listing:
    """The pictures of a run, in the order stored.

    Attributes:
        keys: content or image id by the name of the column, `[pictures]`; without the content if a row lacks it.
        targets: the class that is explained, int64 `[pictures]`.
        rows: number of the row, int64 `[pictures]`.
        placed: number of the set of slices in `places`, int64 `[pictures]`.
        places: sets of slices, of KINDS.
    """

    keys: Mapping[str, pa.Array]
    targets: np.ndarray
    rows: np.ndarray
    placed: np.ndarray
    places: Sequence[tuple[Slice, ...]]

    def __len__(self) -> int:
        return len(self.rows)


def list_pictures(run: Run) -> Listing:
    """Returns the pictures of a finished run.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    slicer, places = Slicer(), dict[tuple[Slice, ...], int]()
    keys: dict[str, list[pa.Array]] = {name: [pa.array([], pa.string())] for name in ("image_id", CONTENT)}
    columns: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in ("targets", "rows", "placed")}
    first, last = 0, pa.scalar(None, pa.string())
    for table in blocks(run.rows(["image_id", *_PLACING, *OPTIONAL_COLUMNS, CONTENT], most=BLOCK_ROWS)):
        ids = table.column("image_id").combine_chunks()
        before = pa.concat_arrays([pa.array([last.as_py()], pa.string()), ids])[: len(ids)]
        begins = pc.fill_null(pc.not_equal(ids, before), True).to_numpy(zero_copy_only=False)
        if len(ids):
            last = ids[-1]
        chosen = table.filter(pa.array(begins))
        keys["image_id"].append(chosen.column("image_id").combine_chunks())
        keys[CONTENT].append(_contents(chosen))
        columns["targets"].append(_numbers(chosen.column("target")))
        columns["rows"].append(first + np.flatnonzero(begins))
        columns["placed"].append(_places(chosen, slicer, places))
        first += len(table)
    joined = {name: pa.concat_arrays(parts) for name, parts in keys.items()}
    if joined[CONTENT].null_count:
        del joined[CONTENT]
    return Listing(joined, **{name: np.concatenate(parts) for name, parts in columns.items()}, places=list(places))


def _contents(table: pa.Table) -> pa.Array:
    if CONTENT in table.column_names:
        return table.column(CONTENT).combine_chunks()
    return pa.nulls(len(table), pa.string())


def _numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Returns whole numbers, −1 where there is none, int64 `[rows]`."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.int64()), -1))


def _places(table: pa.Table, slicer: Slicer, places: dict[tuple[Slice, ...], int]) -> np.ndarray:
    """Returns the number of each row's set of slices, int64 `[rows]`; adds new ones to `places`.

    Rows that agree in all that places them are placed once: they are many, and sets of slices are few.
    """
    several = "labels" in table.column_names  # whose images have any number of labels
    top = first_predictions(table)
    numbers = [_numbers(table.column(name)) for name in _CODES] + [_numbers(pc.struct_field(top, "target"))]
    numbers += [_numbers(table.column(name).combine_chunks().dictionary_encode().indices) for name in _NAMES]
    alike = np.zeros(len(table), np.int64)
    for codes in numbers:
        _, own = np.unique(codes, return_inverse=True)
        _, alike = np.unique(alike * (own.max(initial=0) + 1) + own, return_inverse=True)
    _, where = np.unique(alike, return_index=True)
    found = np.zeros(len(where), np.int64)
    examples = table.take(pa.array(where)).select([*_CODES, *_NAMES]).to_pylist()
    for number, (row, predicted) in enumerate(zip(examples, top.take(pa.array(where)).to_pylist(), strict=True)):
        top_class, top_name = (predicted["target"], predicted["name"]) if predicted else (None, None)
        label, label_name = row["label"], row["label_name"]
        if several:
            label, label_name, top_class, top_name = None, None, (), None
        of_target = row["target"], row["target_name"], row["target_rank"]
        every = slicer(label, label_name, top_class, top_name, *of_target, shard="", fields=())
        found[number] = places.setdefault(tuple(key for key in every if key.kind in KINDS), len(places))
    return found[alike]


def trainings(candidate: Run, references: Sequence[Run]) -> tuple[list[int], bool]:
    """Returns a number for each reference, and whether the candidate is judged by how trainings of a model differ.

    It is if its model is another one, and there are enough trainings: references of one model have the same number.
    Otherwise each has its own.
    """
    digests = [run.manifest.provenance.model_digest for run in references]
    another = candidate.manifest.provenance.model_digest not in digests
    if another and len(set(digests)) >= LEAST_TRAININGS:
        return [digests.index(digest) for digest in digests], True
    return list(range(len(references))), False


def match(candidate: Run, references: Sequence[Run], most: int, placed: Sequence[Placed] = ()) -> tuple[Again, Paired]:
    """Returns how many pictures come again, and the numbers of the rows that can be compared picture by picture.

    Args:
        candidate: a finished run.
        references: finished runs, the oldest first.
        most: pictures of a slice.
        placed: the rows of the candidate and of each reference, if they are known: if no picture comes again, no run is
            read.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    digest = candidate.manifest.provenance.model_digest
    digests = list(dict.fromkeys(run.manifest.provenance.model_digest for run in reversed(references)))
    if placed and not any(_may_share(placed[0], there) for there in placed[1:]):
        images = int(begins(placed[0].images).sum())
        by_content = all(each.contents is not None for each in placed)
        return Again(images, 0, 0, digest in digests, len(digests), by_content), Paired({}, _NONE, [])
    here = list_pictures(candidate)
    compared = [digest] if digest in digests else digests[:MOST_TRAININGS]
    of_run, of_row = (np.full((len(compared), len(here)), -1, kind) for kind in (np.int32, np.int64))
    seen, changed, by_content = np.zeros(len(here), bool), np.zeros(len(here), bool), True
    for number, run in reversed(list(enumerate(references))):
        there, by = list_pictures(run), CONTENT
        if not (CONTENT in here.keys and CONTENT in there.keys):
            by, by_content = "image_id", False
        found = pc.index_in(here.keys[by], value_set=there.keys[by])
        known = found.is_valid().to_numpy(zero_copy_only=False)
        position = np.asarray(pc.fill_null(found, 0))
        alike = known & (there.targets[position] == here.targets) if len(there) else known
        changed |= known & ~seen & ~alike
        seen |= known
        if (its := run.manifest.provenance.model_digest) in compared:
            training = compared.index(its)
            new = alike & (of_run[training] < 0)
            of_run[training, new], of_row[training, new] = number, there.rows[position[new]]
    again = Again(len(here), int(seen.sum()), int(changed.sum()), digest in digests, len(digests), by_content)
    held = _MOST_BYTES // (_row_bytes(candidate) * (1 + len(compared)))
    chosen = _choose(here, np.any(of_run >= 0, axis=0), most, held)
    if not chosen:
        return again, Paired({}, _NONE, [])
    pictures = np.unique(np.concatenate(list(chosen.values())))
    mine = _read(candidate, here.rows[pictures])
    taken = [_training(references, of_run[each, pictures], of_row[each, pictures], mine) for each in range(len(of_run))]
    return again, Paired({key: np.searchsorted(pictures, own) for key, own in chosen.items()}, mine, taken)


def _may_share(here: Placed, there: Placed) -> bool:
    """Returns whether a picture of a run is in another, too; if so by chance of the hashes, then hardly ever."""
    if here.contents is not None and there.contents is not None:
        mine, others = here.contents, there.contents
    else:
        mine, others = here.images, there.images
    return bool(pc.any(pc.is_in(pa.array(mine), value_set=pa.array(others))).as_py())


def _row_bytes(run: Run) -> int:
    """Returns the size of the numbers of a row, as they are held."""
    shares = run.statistics(["mean_grid"], kind="all").column(0).to_pylist()
    cells = max((len(grid) for grid in shares if grid), default=0)
    return 4 * (len(SCALARS) + 2 * cells + len(VECTORS))


def _choose(here: Listing, matched: np.ndarray, most: int, held: int) -> dict[Slice, np.ndarray]:
    """Returns pictures of each slice that come again: `most`, or fewer where there are many slices; by their hashes."""
    members: dict[Slice, list[np.ndarray]] = {}
    order = np.flatnonzero(matched)
    order = order[np.argsort(here.placed[order], kind="stable")]
    starts = np.searchsorted(here.placed[order], np.arange(len(here.places) + 1))
    for place, (start, end) in enumerate(itertools.pairwise(starts)):
        for key in here.places[place] if end > start else ():
            members.setdefault(key, []).append(order[start:end])
    slices = {key: np.sort(np.concatenate(parts)) for key, parts in members.items()}
    of_kind = max(Counter(key.kind for key in slices).values(), default=1)  # slices of a kind share no picture
    return {key: _least(here, own, max(min(most, held // of_kind), 1)) for key, own in sorted(slices.items())}


def _least(here: Listing, pictures: np.ndarray, most: int) -> np.ndarray:
    if len(pictures) <= most:
        return pictures
    keys = here.keys.get(CONTENT, here.keys["image_id"]).take(pa.array(pictures)).to_pylist()
    hashes = np.array([stable_hash(key) for key in keys], np.uint64)
    return np.sort(pictures[np.argsort(hashes, kind="stable")[:most]])


def _training(references: Sequence[Run], runs: np.ndarray, rows: np.ndarray, like: Rows) -> Rows:
    """Returns a training's numbers of each picture, NaN of those that it has not."""
    vectors = {name: np.full_like(values, np.nan) for name, values in like.vectors.items()}
    scalars = {name: np.full_like(values, np.nan) for name, values in like.scalars.items()}
    for number in np.unique(runs[runs >= 0]).tolist():
        mine = runs == number
        read = _read(references[number], rows[mine])
        for name in vectors:
            vectors[name][mine] = read.vectors[name]
        for name in scalars:
            scalars[name][mine] = read.scalars[name]
    return Rows(vectors, scalars, like.classes, np.where(runs >= 0, 0, -1))


def _read(run: Run, rows: np.ndarray) -> Rows:
    """Returns the numbers of rows of a run, in the order that `rows` has them."""
    wanted, places = np.unique(rows, return_inverse=True)
    return rows_of_table(pa.concat_tables(_taken(run, wanted)), 0).take(places)


def _taken(run: Run, wanted: np.ndarray) -> Iterator[pa.Table]:
    """Yields the rows of a run with these numbers, in order; reads no part that has none."""
    columns, first = [*VECTORS, *SCALARS, *PLACING_COLUMNS, *OPTIONAL_COLUMNS], 0
    for part in run.manifest.parts:
        if part.rows and np.any((wanted >= first) & (wanted < first + part.rows)):
            start = first
            for table in run.rows(columns, [part]):
                inside = wanted[(wanted >= start) & (wanted < start + len(table))] - start
                yield table.take(pa.array(inside))
                start += len(table)
        first += part.rows
