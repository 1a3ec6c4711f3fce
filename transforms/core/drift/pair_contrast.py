"""The same pictures on both sides of a slice → how far each number moved, and how far trainings move it.

Differences are taken picture by picture, from the mean of the trainings that have the picture; each training is
compared with the mean of the others in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.drift.contrast import CELLS, CONVERGENCE, SCALARS, TOPICS, Rows
from transforms.core.drift.thresholds import Thresholds
from transforms.core.drift.trainings import LEAST_TRAININGS
from transforms.core.stable_hash import stable_digest
from transforms.core.statistics.slices import Slice

_FLIPPED_ROWS = 1 << 18
"""Signs that are held simultaneously."""

_TINY = 1e-12
_FAR = 6.0
"""Robust standard deviations of the differences between trainings beyond which a picture moved far."""

_ROBUST = 1.4826
"""A standard deviation over a median absolute deviation, of a normal distribution."""


@dataclass(frozen=True)
class Paired:
    """Rows of the same pictures, explained for the same class.

    Attributes:
        slices: positions of the pictures of each slice.
        candidate: a row for each picture.
        trainings: the same, for each model among the references that is compared with; `nights` is −1 and all numbers
            are NaN where it has not the picture.
    """

    slices: Mapping[Slice, np.ndarray]
    candidate: Rows
    trainings: Sequence[Rows]


@dataclass(frozen=True)
class Tails:
    """How many pictures moved far in each signed cell.

    Attributes:
        pictures: that have a signed grid on both sides.
        counts: of them, those that moved far, `[cells]`.
        balance: mean sign of their differences, `[cells]`.
        exposure: pictures of each training, `[trainings]`.
        usual: those that each training moved far from the others, `[trainings, cells]`.
    """

    pictures: int
    counts: np.ndarray
    balance: np.ndarray
    exposure: np.ndarray
    usual: np.ndarray


@dataclass(frozen=True)
class PairedContrast:
    """What was measured of a slice, without its rows.

    Attributes:
        key: the slice.
        pictures: how many.
        columns: where each metric's numbers are in what follows, in the order of TOPICS.
        means: of all numbers, reference and candidate, `[2, numbers]`.
        effect: mean difference, `[numbers]`, in the metric's unit.
        others: the same of each training against the others, `[trainings, numbers]`; empty with fewer than 3.
        unit: standard deviation between pictures, `[numbers]`, by which to divide `effect` for `between`.
        statistic: difference over its standard error, `[numbers]`.
        flipped: the largest statistic of each flip of signs.
        tails: where pictures moved far, if there are enough trainings and signed cells are compared.
        moved: share of the attention of a picture that lies elsewhere, on average over the pictures.
        most_moved: the largest change of a cell's mean share.
        usual: the same of pairs of trainings, least and most.
    """

    key: Slice
    pictures: int
    columns: Mapping[str, slice]
    means: np.ndarray
    effect: np.ndarray
    others: np.ndarray
    unit: np.ndarray
    statistic: np.ndarray
    flipped: np.ndarray
    tails: Tails | None
    moved: float
    most_moved: float
    usual: list[float] | None

    def numbers_of(self, metric: str) -> np.ndarray:
        """Returns the places of a metric's numbers; none if there are too few trainings for a floor."""
        if not len(self.others) or metric not in self.columns:
            return np.zeros(0, np.int64)
        return np.arange(self.effect.size)[self.columns[metric]]


def measure_pairs(key: Slice, rows: np.ndarray, paired: Paired, thresholds: Thresholds) -> PairedContrast | None:
    """Returns what can be measured of a slice, or None if too few of its pictures have a map.

    Args:
        key: the slice.
        rows: positions of its pictures.
        paired: all pictures.
        thresholds: `min_rows`, `splits`, `seed`, and which metrics are compared.
    """
    columns = _columns(paired.candidate, thresholds)
    candidate = _numbers(paired.candidate, rows, columns)
    trainings = np.stack([_numbers(training, rows, columns) for training in paired.trainings])
    reference = known_mean(trainings, axis=0)
    difference = candidate - reference
    if np.isfinite(difference).any(axis=1).sum() < thresholds.min_rows:
        return None
    known = np.isfinite(difference)
    unit = _spread(np.where(known, reference, np.nan), paired.candidate.classes[rows], columns)
    in_units = np.concatenate([np.full(part.stop - part.start, name != "cells") for name, part in columns.items()])
    scale = np.where(in_units, unit, 1)
    others, tails = np.zeros((0, difference.shape[1])), None
    if len(trainings) >= LEAST_TRAININGS:
        errors = _against_others(trainings)
        others = known_mean(errors, axis=1) / scale
        if "signed_cells" in columns:
            tails = _count_tails(difference[:, columns["signed_cells"]], errors[:, :, columns["signed_cells"]])
    statistic, flipped = _flip(difference, columns, thresholds, _rng(key, thresholds.seed))
    grids = [rows_.vectors["grid"][rows] for rows_ in (paired.candidate, *paired.trainings)]
    return PairedContrast(
        key=key,
        pictures=len(rows),
        columns=columns,
        means=np.stack([known_mean(np.where(known, side, np.nan), axis=0) for side in (reference, candidate)]),
        effect=known_mean(difference, axis=0) / scale,
        others=others,
        unit=np.where(in_units, 1, unit),
        statistic=statistic,
        flipped=flipped,
        tails=tails,
        moved=float(np.mean([_moved(grids[0], grid) for grid in grids[1:]])),
        most_moved=_most_moved(grids[0], np.stack(grids[1:])),
        usual=_usual(grids[1:]),
    )


def _columns(rows: Rows, thresholds: Thresholds) -> dict[str, slice]:
    """Returns where each metric's numbers are: cells of the two grids, attention's numbers, and the score."""
    columns, first = {}, 0
    for name in thresholds.metrics:
        if name in CELLS:
            width = rows.vectors[CELLS[name]].shape[1]
        elif name in SCALARS and TOPICS[name] != CONVERGENCE:
            width = 1
        else:
            continue
        columns[name] = slice(first, first + width)
        first += width
    return columns


def _numbers(rows: Rows, chosen: np.ndarray, columns: Mapping[str, slice]) -> np.ndarray:
    """Returns the numbers of some rows, float64 `[pictures, numbers]`."""
    parts = [
        rows.vectors[CELLS[name]][chosen] if name in CELLS else rows.scalars[name][chosen, None] for name in columns
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def known_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Returns the mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _against_others(trainings: np.ndarray) -> np.ndarray:
    """Returns each training less the mean of the others, `[trainings, pictures, numbers]`."""
    every = range(len(trainings))
    return np.stack([trainings[one] - known_mean(np.delete(trainings, one, axis=0), axis=0) for one in every])


def _count_tails(difference: np.ndarray, errors: np.ndarray) -> Tails:
    """Returns how many pictures moved far, of the candidate `[pictures, cells]` and of each training."""
    moved = np.abs(errors)
    known = np.isfinite(moved).all(axis=2)
    spread = _ROBUST * np.median(moved[known], axis=0) if known.any() else np.full(difference.shape[1], np.inf)
    limit = _FAR * np.maximum(np.maximum(spread, np.median(spread)), _TINY)
    far = np.abs(difference) > limit
    return Tails(
        pictures=int(np.isfinite(difference).all(axis=1).sum()),
        counts=far.sum(axis=0),
        balance=np.where(far, np.sign(difference), 0).sum(axis=0),
        exposure=known.sum(axis=1),
        usual=(moved > limit).sum(axis=1),
    )


def _spread(values: np.ndarray, classes: np.ndarray, columns: Mapping[str, slice]) -> np.ndarray:
    """Returns the standard deviation within classes, `[numbers]`; a cell's counts as no less than the median cell's."""
    centered = np.full_like(values, np.nan)
    for one in np.unique(classes):
        mine = classes == one
        centered[mine] = values[mine] - known_mean(values[mine], axis=0)
    return _floored(np.nan_to_num(known_mean(centered**2, axis=0)), columns) ** 0.5


def _floored(variance: np.ndarray, columns: Mapping[str, slice]) -> np.ndarray:
    floored = np.maximum(variance, _TINY**2)
    for name in CELLS:
        if name in columns:
            cells = columns[name]
            floored[cells] = np.maximum(floored[cells], np.median(variance[cells]))
    return floored


def _flip(
    difference: np.ndarray, columns: Mapping[str, slice], thresholds: Thresholds, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each number's statistic, and the largest one of each of `splits` random flips of signs."""
    known = np.isfinite(difference)
    values = np.where(known, difference, 0)
    count = np.maximum(known.sum(axis=0), 1)
    variance = _floored((values**2).sum(axis=0) / count, columns) * count
    scaled = (values / np.sqrt(variance)).astype(np.float32)
    if not scaled.any():
        return np.zeros(scaled.shape[1]), np.zeros(1)
    largest, at_once = [], max(1, _FLIPPED_ROWS // len(scaled))
    for first in range(0, thresholds.splits, at_once):
        shape = min(at_once, thresholds.splits - first), len(scaled)
        signs = rng.integers(0, 2, shape, np.int8).astype(np.float32) * 2 - 1
        largest.append(np.abs(signs @ scaled).max(axis=1))
    return np.abs(scaled.sum(axis=0)), np.concatenate(largest)


def _moved(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the mean total variation between the grids of the same pictures; 0 if none is known on both sides."""
    return float(np.nan_to_num(known_mean(np.abs(one - other).sum(axis=1) / 2, axis=0)))


def _most_moved(one: np.ndarray, others: np.ndarray) -> float:
    """Returns the largest change of a cell's mean, against the mean of others `[trainings, pictures, cells]`."""
    change = known_mean(one - known_mean(others, axis=0), axis=0)
    return float(np.abs(np.nan_to_num(change)).max(initial=0))


def _usual(grids: Sequence[np.ndarray]) -> list[float] | None:
    pairs = [_moved(one, other) for number, one in enumerate(grids) for other in grids[:number]]
    return [min(pairs), max(pairs)] if pairs else None


def _rng(key: Slice, seed: int) -> np.random.Generator:
    """Returns a source of chance that depends on the slice and the seed, not on the other slices."""
    digest = stable_digest(f"pairs {seed} {key.kind} {key.value}", 16)
    return np.random.Generator(np.random.Philox(int.from_bytes(digest, "big")))
