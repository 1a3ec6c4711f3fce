"""Nights drawn from the stored rows of numbered pictures; in some, a share of a class's pictures show a plant.

Image ids are `plain#NUMBER`, and `planted#NUMBER` for the same picture with the plant in it. Which pictures are for
nights and which for their references depends on their number alone: no night shares a picture with a reference.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from support.redraw import take
from transforms.core.drift.contrast import SCALARS
from transforms.core.stable_hash import share as hashed_share
from transforms.store.schema import matrix

PLAIN, PLANTED = "plain#", "planted#"
NIGHTS_SHARE = 1 / 3
"""Of the pictures, those that nights are drawn from; references take several times as many."""


@dataclass(frozen=True)
class Arrays:
    """Rows as arrays, for programs that read no runs.

    Attributes:
        labels: int `[rows]`.
        signed: what each cell says for or against the class, float32 `[rows, cells]`.
        absolute: each cell's share of the attribution, float32 `[rows, cells]`.
        scalars: float32 `[rows, scalars]`, of those that every row has.
        names: of the scalars.
    """

    labels: np.ndarray
    signed: np.ndarray
    absolute: np.ndarray
    scalars: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """The rows of one model.

    Attributes:
        plain: rows of pictures as they are, with `redraw.COLUMNS`.
        planted: rows of pictures of one class with the plant in them, some of those in `plain`; may be empty.
    """

    plain: pa.Table
    planted: pa.Table

    @classmethod
    def of(cls, rows: pa.Table) -> Pool:
        """Returns the pool of a model's rows, told apart by their image ids."""
        planted = pc.starts_with(rows.column("image_id"), PLANTED)
        return cls(rows.filter(pc.invert(planted)).combine_chunks(), rows.filter(planted).combine_chunks())

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """The classes of `plain`, int `[rows]`."""
        return self.plain.column("label").to_numpy()

    @functools.cached_property
    def for_nights(self) -> np.ndarray:
        """Which rows of `plain` nights are drawn from, bool `[rows]`; references are drawn from the others."""
        return np.array([hashed_share(f"picture {number}") < NIGHTS_SHARE for number in _numbers(self.plain)])

    @functools.cached_property
    def plants(self) -> dict[int, int]:
        """The position in `planted` of each picture, by its number."""
        return {number: position for position, number in enumerate(_numbers(self.planted))}

    def most(self, for_nights: bool) -> int:
        """Returns how many different pictures each class has, for nights or for references."""
        return int(np.bincount(self.labels[self.for_nights == for_nights]).min())


def draw_night(pool: Pool, rows: int, share: float, rng: np.random.Generator) -> pa.Table:
    """Returns a night: different pictures of each class, a share of one class's with the plant.

    Args:
        pool: of a model.
        rows: of each class.
        share: of the class that has the plant, in [0, 1]; see `planted_rows`.
        rng: source of chance. Nights of the same state share their pictures, whatever the share.

    Raises:
        ValueError: the pool has too few pictures, or none with the plant.
    """
    (night,) = _deal(pool, rows, 1, rng, for_nights=True)
    count = planted_rows(rows, share)
    if not count:
        return night
    numbers = _numbers(night)
    mine = np.array([position for position, number in enumerate(numbers) if number in pool.plants], int)
    if len(mine) < count:
        raise ValueError(f"share: {share} of {rows} rows are {count} pictures with the plant; there are {len(mine)}")
    chosen = rng.choice(mine, count, replace=False)
    swapped = take(pool.planted, [pool.plants[numbers[position]] for position in chosen])
    kept = take(night, np.setdiff1d(np.arange(len(night)), chosen).tolist())
    return pa.concat_tables([kept, swapped]).sort_by("index").combine_chunks()


def draw_references(pool: Pool, rows: int, count: int, rng: np.random.Generator) -> list[pa.Table]:
    """Returns reference nights: different pictures within each, and no more in common than the pool makes necessary.

    Args:
        pool: of a model.
        rows: of each class in a night.
        count: of nights.
        rng: source of chance.

    Raises:
        ValueError: the pool has too few pictures for one night.
    """
    return _deal(pool, rows, count, rng, for_nights=False)


def planted_rows(rows: int, share: float) -> int:
    """Returns how many of a class's rows have the plant: the nearest whole number, the larger one of two."""
    return math.floor(rows * share + 0.5)


def uses(pool: Pool, rows: int, count: int) -> float:
    """Returns in how many of `count` references a picture is, on average over those that are in any; at least 1."""
    return max(1.0, rows * count / pool.most(for_nights=False))


def to_arrays(rows: pa.Table) -> Arrays:
    """Returns what is compared of rows, as arrays."""
    columns = {name: rows.column(name).cast(pa.float32()).to_numpy() for name in SCALARS}
    known = {name: values for name, values in columns.items() if np.isfinite(values).all()}
    return Arrays(
        rows.column("label").to_numpy(),
        matrix(rows, "signed_grid"),
        matrix(rows, "grid"),
        np.stack(list(known.values()), axis=1),
        tuple(known),
    )


def _deal(pool: Pool, rows: int, count: int, rng: np.random.Generator, for_nights: bool) -> list[pa.Table]:
    """Returns nights of `rows` pictures of each class, dealt from one shuffled deck after the other."""
    chosen: list[list[np.ndarray]] = [[] for _ in range(count)]
    for code in np.unique(pool.labels).tolist():
        deck = rng.permutation(np.flatnonzero((pool.labels == code) & (pool.for_nights == for_nights)))
        if len(deck) < rows:
            part = "nights" if for_nights else "references"
            raise ValueError(f"rows: {rows} of class {code}; {part} have {len(deck)} pictures of it to draw from")
        for night, positions in enumerate(chosen):
            positions.append(deck[np.arange(night * rows, (night + 1) * rows) % len(deck)])
    return [take(pool.plain, np.sort(np.concatenate(positions)).tolist()) for positions in chosen]


def _numbers(rows: pa.Table) -> list[int]:
    return [int(image_id.rpartition("#")[2]) for image_id in rows.column("image_id").to_pylist()]
