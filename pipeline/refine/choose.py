"""Which pictures of a run are refined, and the rows that their maps will belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ConfigError
from pipeline.report.content import gather
from pipeline.suggest import suggestion
from transforms import store
from transforms.core.errors import UsageError
from transforms.core.record import Row
from transforms.core.stable_hash import stable_hash
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.vocabulary import CONTENT, OPTIONAL_COLUMNS
from transforms.store.lookup import rows_of_table
from transforms.store.placed import BLOCK_ROWS, COLUMNS, place_rows
from transforms.store.run import Run

KEPT = ("label", "label_name", "target_name", "target_rank", "predictions", "fields", *OPTIONAL_COLUMNS)
"""Columns of a refined row that are the run's: what they need of class names and labels may be gone."""

_COLUMNS = ("image_id", "shard", "index", "target", CONTENT, *KEPT)
_SEED = "refine 0"
_NAMED = 5


@dataclass(frozen=True)
class Picture:
    """A picture to refine: its rows in the run, by target, the highest ranked first."""

    image_id: str
    rows: dict[int, Row]

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that the run explains."""
        return tuple(self.rows)

    @property
    def first(self) -> Row:
        """The row of the highest ranked target."""
        return next(iter(self.rows.values()))


@dataclass(frozen=True)
class Task:
    """The pictures of one of the run's parts that are refined, in the order of their shard."""

    part: store.PartSummary
    pictures: tuple[Picture, ...]


def shown(run: Run) -> list[str]:
    """Returns the ids of the pictures that the run's report shows.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: the audit cannot be read.
    """
    return list(gather(run, run.audit).shown)


def members(run: Run, text: str, limit: int) -> list[str]:
    """Returns the ids of some pictures of a slice: the `limit` with the least hashes of their content.

    Args:
        run: a finished run.
        text: `KIND` or `KIND:VALUE`; a value may be given by its name, too.
        limit: the most pictures.

    Raises:
        ConfigError: the run has no such slice.
        OSError: a part is missing or damaged.
    """
    slicer = Slicer(tuple(run.manifest.provenance.config.get("slice_by", ())))
    placed = place_rows(run.rows(COLUMNS, most=BLOCK_ROWS), slicer)
    wanted = placed.images_of(_slice_of(text, placed.keys))
    ranked: list[tuple[int, str]] = []
    first = 0
    for table in run.rows(("image_id", CONTENT), most=BLOCK_ROWS):
        _check_content(run, table)
        start, end = np.searchsorted(wanted, [first, first + len(table)])
        taken = table.take(pa.array(wanted[start:end] - first))
        pairs = zip(*(taken.column(name).to_pylist() for name in ("image_id", CONTENT)), strict=True)
        ranked += [(stable_hash(f"{_SEED}\0{content}"), image_id) for image_id, content in pairs]
        ranked = sorted(ranked)[:limit]
        first += len(table)
    return [image_id for _, image_id in ranked]


def read_tasks(run: Run, image_ids: Collection[str]) -> list[Task]:
    """Returns where the run has the pictures of these ids, and their rows, part by part.

    Raises:
        OSError: a part is missing or damaged.
        UsageError: the run has no such picture, or does not say what is in its pictures.
    """
    ids = pa.array(sorted(image_ids), pa.string())
    tasks: list[Task] = []
    for part in run.manifest.parts if image_ids else ():
        if pc.any(pc.is_in(run.part_rows(part, ("image_id",)).column("image_id"), ids)).as_py():
            tasks.append(Task(part, tuple(_pictures(run, part, ids))))
    found = {picture.image_id for task in tasks for picture in task.pictures}
    for image_id in image_ids:
        if image_id not in found:
            run.find(image_id, [])  # raises an error that says more
    return tasks


def _pictures(run: Run, part: store.PartSummary, ids: pa.Array) -> Iterator[Picture]:
    table = run.part_rows(part, _COLUMNS)
    _check_content(run, table)
    by_image: dict[str, list[Row]] = {}
    for row in rows_of_table(table.filter(pc.is_in(table.column("image_id"), ids))):
        by_image.setdefault(row["image_id"], []).append(row)
    for image_id, rows in sorted(by_image.items(), key=lambda item: item[1][0]["index"]):
        ordered = sorted(rows, key=lambda row: (row["target_rank"] or 0, row["target"]))
        yield Picture(image_id, {row["target"]: row for row in ordered})


def _check_content(run: Run, table: pa.Table) -> None:
    if CONTENT not in table.column_names or table.column(CONTENT).null_count:
        raise UsageError(
            f"{run.uri}: its rows do not say what is in their pictures, as those of this version do, so that other "
            "pictures of the same names could not be told from them; make the run again"
        )


def _slice_of(text: str, keys: Sequence[Slice]) -> Slice:
    """Returns the slice that a text names, by its value or else by its name.

    Raises:
        ConfigError: there is none, or several have that name.
    """
    by_value = {f"{key.kind}:{key.value}".rstrip(":"): key for key in keys}
    if text in by_value:
        return by_value[text]
    named = [key for key in keys if f"{key.kind}:{key.name}" == text]
    if len(named) == 1:
        return named[0]
    if named:
        several = ", ".join(f"{key.kind}:{key.value}" for key in named[:_NAMED])
        raise ConfigError(f"slice: {text!r} names several: {several}")
    kinds = list(dict.fromkeys(key.kind for key in keys))
    same = [f"{key.kind}:{key.name or key.value}" for key in keys if text.startswith(f"{key.kind}:")]
    hint = suggestion(text, same) or (f"; it has {', '.join(same[:_NAMED])}" if same else "")
    hint = hint or f"{suggestion(text, kinds)}; allowed is KIND or KIND:VALUE, of the kinds {', '.join(kinds)}"
    raise ConfigError(f"slice: {text!r} is no slice of this run{hint}")
