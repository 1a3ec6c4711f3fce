"""The pictures worth looking at, found in one pass over the rows' numbers; only theirs are then read.

Maps and thumbnails are nearly all of a run's bytes: the pass leaves them out, a part at a time, and keeps a few rows of
each ranking.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.cpus import usable_cpus
from transforms.core.record import Row
from transforms.core.vocabulary import CONTENT, MAP_COLUMNS
from transforms.store import PartSummary
from transforms.store.lookup import rows_of_table
from transforms.store.refined import MapOptions
from transforms.store.run import Run
from transforms.store.schema import first_predictions, matrix

_COLUMNS = (
    "target",
    "target_rank",
    "label",
    "score",
    "error_estimate",
    "border_share",
    "label_difference",
    "grid",
    "predictions.list.element.target",
    "predictions.list.element.probability",
)
_SHOWN = (
    "image_id",
    "label_name",
    "label_value",
    "target",
    "target_name",
    "target_rank",
    "score",
    "error_estimate",
    "converged",
    "steps",
    "border_share",
    "predictions",
    CONTENT,
    *MAP_COLUMNS,
    "thumbnail",
)
_REFINED = ("converged", "error_estimate", "steps", *MAP_COLUMNS)
_SAME = ("image_id", "target", CONTENT)  # of a refined row and the run's
_PARTS = 64  # whose picks wait at once to be merged
_THREADS = 4


@dataclass(frozen=True)
class Numbers:
    """What rows are ranked by, `[rows, …]` each.

    Attributes:
        target: the class explained.
        rank: how many classes had a higher output than it; −1 if nothing is ranked.
        label: −1 where unknown.
        predicted: the image's top prediction; −1 where unknown.
        probability: of that.
        error_estimate: relative L1 error of the map.
        border_share: share of the attribution near the border; NaN for a map that is zero everywhere.
        difference: of the score from a label that is a number; NaN if there is none.
        grid: share of the attribution in each cell, `[rows, cells]`; NaN likewise.
    """

    target: np.ndarray
    rank: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    error_estimate: np.ndarray
    border_share: np.ndarray
    difference: np.ndarray
    grid: np.ndarray


Ranking = Callable[[Numbers], np.ndarray]
"""Gives each row a number, the higher the more worth showing; NaN leaves a row out."""


@dataclass(frozen=True, order=True)
class Pick:
    """A row by its place: the part, and the row within; `value` is what it was ranked by."""

    value: float
    part: str
    position: int


def least_converged(rows: Numbers) -> np.ndarray:
    """Ranks by the estimated error of the map."""
    return rows.error_estimate


def highest_border(rows: Numbers) -> np.ndarray:
    """Ranks by the share of attribution near the border."""
    return rows.border_share


def wrong_and_confident(rows: Numbers) -> np.ndarray:
    """Ranks explained top predictions that are not the label by their probability."""
    wrong = (rows.label >= 0) & (rows.predicted >= 0) & (rows.label != rows.predicted) & (rows.target == rows.predicted)
    return np.where(wrong, rows.probability, np.nan)


def far_from_label(rows: Numbers) -> np.ndarray:
    """Ranks by how far a score is from a label that is a number."""
    return np.abs(rows.difference)


@dataclass(frozen=True)
class FarFromMean:
    """Ranks by how far a map lies from the mean map of its class: total variation of the grids, 0 to 1.

    Attributes:
        means: float `[classes, cells]`.
        classes: int, sorted `[classes]`: the class of each mean; rows of others are left out.
        only: classes that count; None for all.
        ranked: whether only maps of the top prediction count.
    """

    classes: np.ndarray
    means: np.ndarray
    only: frozenset[int] | None = None
    ranked: bool = True

    def __call__(self, rows: Numbers) -> np.ndarray:
        """Returns the distances, float `[rows]`."""
        if not len(self.classes):
            return np.full(len(rows.target), np.nan)
        found = np.minimum(np.searchsorted(self.classes, rows.target), len(self.classes) - 1)
        known = (self.classes[found] == rows.target) & ((rows.rank == 0) | (not self.ranked))
        if self.only is not None:
            known &= np.isin(rows.target, list(self.only))
        distance = np.abs(rows.grid - self.means[found]).sum(axis=1) / 2
        return np.where(known, distance, np.nan)


def find_picks(run: Run, rankings: Mapping[str, Ranking], count: int) -> dict[str, list[Pick]]:
    """Returns the `count` highest rows of each ranking, the highest first; the same rows for the same run."""
    found: dict[str, list[Pick]] = {name: [] for name in rankings}
    parts = run.manifest.parts

    def scan(part: PartSummary) -> dict[str, list[Pick]]:
        rows = _numbers(run.part_rows(part, _COLUMNS))
        return {name: _highest(part.attributions.name, rank(rows), count) for name, rank in rankings.items()}

    with ThreadPoolExecutor(min(_THREADS, usable_cpus()), "scan") as threads:
        for start in range(0, len(parts), _PARTS):
            for picks in threads.map(scan, parts[start : start + _PARTS]):
                for name in found:
                    found[name] = heapq.nlargest(count, [*found[name], *picks[name]])
    return found


@dataclass(frozen=True)
class Drawn:
    """What is drawn of a picture.

    Attributes:
        row: the run's row, with its thumbnail.
        values: the map as float32, the refined one if there is one; None if there is none.
        made: the row that the map is from.
        refined: how the map was made, if it is a refined one.
    """

    row: Row
    values: np.ndarray | None
    made: Row
    refined: MapOptions | None = None


def read_picks(run: Run, picks: Iterable[Pick]) -> dict[tuple[str, int], Drawn]:
    """Returns the rows of `picks` by part and position, with their maps and their thumbnails."""
    rows = _read_rows(run, picks)
    drawn = {place: Drawn(row, row.get("attribution"), row) for place, row in rows.items()}
    if run.refined and rows:
        found = run.refined.find({row["image_id"] for row in rows.values()}, _REFINED)
        refined = {tuple(each.row[name] for name in _SAME): each for each in found}
        for place, row in rows.items():
            if each := refined.get(tuple(row.get(name) for name in _SAME)):
                drawn[place] = Drawn(row, each.row["attribution"], each.row, each.part.options)
    return drawn


def _read_rows(run: Run, picks: Iterable[Pick]) -> dict[tuple[str, int], Row]:
    wanted: dict[str, set[int]] = {}
    for pick in picks:
        wanted.setdefault(pick.part, set()).add(pick.position)
    rows: dict[tuple[str, int], Row] = {}
    for part, positions in sorted(wanted.items()):
        with run.parquet(part, _SHOWN) as parquet:
            begin = 0
            for group in range(parquet.num_row_groups):
                end = begin + parquet.metadata.row_group(group).num_rows
                inside = sorted(position for position in positions if begin <= position < end)
                if inside:
                    stored = [name for name in _SHOWN if name in parquet.schema_arrow.names]
                    table = parquet.read_row_group(group, columns=stored)
                    taken = run.relabel(table.take(pa.array([position - begin for position in inside])))
                    rows.update(zip(((part, position) for position in inside), rows_of_table(taken), strict=True))
                begin = end
    return rows


def _highest(name: str, values: np.ndarray, count: int) -> list[Pick]:
    known = np.flatnonzero(~np.isnan(values))
    best = known[np.argsort(-values[known], kind="stable")[:count]]
    return [Pick(float(values[position]), name, int(position)) for position in best]


def _numbers_of(table: pa.Table, name: str) -> np.ndarray:
    """Returns an optional column of numbers; NaN in each row if it is not stored."""
    return table.column(name).to_numpy() if name in table.column_names else np.full(len(table), np.nan)


def _numbers(table: pa.Table) -> Numbers:
    first = first_predictions(table)
    return Numbers(
        target=table.column("target").to_numpy(),
        rank=table.column("target_rank").fill_null(-1).to_numpy(),
        label=table.column("label").fill_null(-1).to_numpy(),
        predicted=pc.struct_field(first, "target").fill_null(-1).to_numpy(),
        probability=pc.struct_field(first, "probability").fill_null(np.nan).to_numpy(),
        error_estimate=table.column("error_estimate").to_numpy(),
        border_share=table.column("border_share").to_numpy(),
        difference=_numbers_of(table, "label_difference"),
        grid=matrix(table, "grid"),
    )
