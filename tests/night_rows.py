"""Nights without a model: rows that vary as pictures of a few classes do, for tests of drift.

A class looks at a blob somewhere; each picture moves it and adds noise of a heavy tail. A stamp draws attention to
the cell in the upper right corner.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from transforms.core.drift.contrast import SCALARS, Rows
from transforms.core.drift.judge import Pair
from transforms.core.statistics.slices import Slice

SIDE = 8
CORNER = SIDE - 1


def make_pool(count: int, classes: int = 8, seed: int = 0) -> Rows:
    """Returns `count` pictures' rows, as many of each class."""
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % classes
    centers = np.random.default_rng(99).uniform(0.3, 0.7, size=(classes, 2))[codes] + rng.normal(0, 0.12, (count, 2))
    axis = (np.arange(SIDE) + 0.5) / SIDE
    distance = (axis[:, None] - centers[:, None, :1]) ** 2 + (axis - centers[:, 1:])[:, None, :] ** 2
    grid = (np.exp(-distance / 0.08) + 0.05) * rng.lognormal(0, 0.9, size=(count, SIDE, SIDE))
    scalars = {name: rng.normal(codes, 1) for name in SCALARS}
    scalars["mask_share"][::3] = np.nan  # a third has no mask
    scalars["steps"] = rng.integers(40, 60, count).astype(float)
    rows = Rows(
        {
            "grid": grid.reshape(count, -1),
            "signed_grid": rng.normal(0.0003, 0.001, (count, SIDE * SIDE)),
            "channel_share": rng.dirichlet([30, 30, 30], count),
        },
        scalars,
        codes,
        np.zeros(count, int),
    )
    return _describe(rows)


def stamp(rows: Rows, chosen: np.ndarray, seed: int = 0) -> Rows:
    """Returns the rows with 15 to 50 % of the attribution of the `chosen` ones in the upper right corner."""
    drawn = np.random.default_rng(seed).uniform(0.15, 0.5, (len(rows), 1))
    share = np.where(chosen[:, None], drawn, 0)
    grid = rows.vectors["grid"] * (1 - share)
    grid[:, CORNER] += share[:, 0]
    return _describe(dataclasses.replace(rows, vectors=rows.vectors | {"grid": grid}))


def speak_up(rows: Rows, chosen: np.ndarray, by: float = 0.01) -> Rows:
    """Returns the rows with the upper right corner of the `chosen` ones saying more for their class."""
    signed = rows.vectors["signed_grid"].copy()
    signed[chosen, CORNER] += by
    return dataclasses.replace(rows, vectors=rows.vectors | {"signed_grid": signed})


def retrain(rows: Rows, seed: int) -> Rows:
    """Returns the rows of the same pictures by another training: each moves, and each class's cells and scores do."""
    rng = np.random.default_rng([seed, 7])
    shape = rows.vectors["grid"].shape
    of_class = rng.normal(0, 1, (1 + int(rows.classes.max()), shape[1]))[rows.classes]
    grid = rows.vectors["grid"] * np.exp(rng.normal(0, 0.3, shape) + 0.1 * of_class)
    signed = rows.vectors["signed_grid"] + rng.normal(0, 0.0005, shape) + 0.0001 * np.roll(of_class, 1, axis=1)
    scalars = rows.scalars | {"score": rows.scalars["score"] + rng.normal(0, 0.3, len(rows)) + 0.1 * of_class[:, 0]}
    return _describe(
        dataclasses.replace(rows, vectors=rows.vectors | {"grid": grid, "signed_grid": signed}, scalars=scalars)
    )


def draw(pool: Rows, count: int, seed: int, night: int = 0) -> Rows:
    """Returns a night of `count` different pictures of the pool."""
    rows = pool.take(np.random.default_rng(seed).choice(len(pool), count, replace=False))
    return dataclasses.replace(rows, nights=np.full(count, night))


def pairs(candidate: Rows, *references: Rows) -> list[Pair]:
    """Returns the slices of all rows and of each class."""
    reference = references[0].join(*references[1:])
    found = [Pair(Slice("all"), reference, candidate, len(reference), len(candidate))]
    for code in np.union1d(reference.classes, candidate.classes).tolist():
        sides = [rows.take(rows.classes == code) for rows in (reference, candidate)]
        found.append(Pair(Slice("label", str(code), f"class {code}"), *sides, *map(len, sides)))
    return found


def _describe(rows: Rows) -> Rows:
    """Returns the rows with normalised grids, and the scalars that follow from these."""
    grid = rows.vectors["grid"] / rows.vectors["grid"].sum(axis=1, keepdims=True)
    cells = grid.reshape(-1, SIDE, SIDE)
    axis = (np.arange(SIDE) + 0.5) / SIDE
    ascending = np.sort(grid, axis=1)
    described = {
        "gini": ascending @ np.arange(1 - grid.shape[1], grid.shape[1], 2) / grid.shape[1],
        "entropy": -(grid * np.log(grid)).sum(axis=1) / np.log(grid.shape[1]),
        "center_row": cells.sum(axis=2) @ axis,
        "center_col": cells.sum(axis=1) @ axis,
        "border_share": 1 - cells[:, 1:-1, 1:-1].sum(axis=(1, 2)),
    }
    return dataclasses.replace(
        rows,
        vectors={name: values.astype(np.float32) for name, values in (rows.vectors | {"grid": grid}).items()},
        scalars={name: values.astype(np.float32) for name, values in (rows.scalars | described).items()},
    )
