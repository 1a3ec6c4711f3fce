"""Tails in memory: which rows lie beyond which levels, computed once; a night is then a draw of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from transforms.core.drift.evidence import Statistic, Tally
from transforms.core.drift.places import AGAINST, LOW, SHARE, Places
from transforms.core.drift.tails import LEVELS, Units, beyond


@dataclass(frozen=True)
class Flags:
    """Rows of several classes with their flags.

    Attributes:
        matrix: 1 where a row lies beyond a level, `[rows, statistics × levels]`, the rows of a class together.
        starts: the first row of each class, and the end, int `[classes + 1]`.
        shape: statistics and levels.
    """

    matrix: csr_matrix
    starts: np.ndarray
    shape: tuple[int, int]

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each class, int `[classes]`."""
        return np.diff(self.starts)

    def count(self, drawn: np.ndarray, rows: Sequence[int] | np.ndarray) -> Tally:
        """Returns the counts of nights.

        Args:
            drawn: positions of rows, `[nights, pictures]`, those of a class together; a row may be drawn repeatedly.
            rows: how many of a night's pictures are of each class, int `[classes]`.
        """
        nights, pictures = drawn.shape
        within = np.concatenate([[0], np.cumsum(rows)])
        bounds = np.append((np.arange(nights)[:, None] * pictures + within[:-1]).ravel(), drawn.size)
        picked = csr_matrix(
            (np.ones(drawn.size), drawn.ravel(), bounds), shape=(nights * len(rows), self.matrix.shape[0])
        )
        counts = (picked @ self.matrix).toarray().reshape(nights, len(rows), *self.shape)
        return Tally(counts, np.broadcast_to(np.asarray(rows), (nights, len(rows))))


def watched(places: Places) -> tuple[list[int], list[Statistic]]:
    """Returns the numbers in `places.all` of the places that are evidence in audit.json, and what they are called."""
    numbers, statistics = [], []
    for number, place in enumerate(places.all):
        if place.side == SHARE or len(place.cells) == 4:
            continue
        cell = "frame" if len(place.cells) > 1 else ",".join(str(at + 1) for cell in place.cells for at in cell)
        numbers.append(number)
        statistics.append(Statistic(place.name or cell, -1 if place.side in (AGAINST, LOW) else 1))
    return numbers, statistics


def flags(values: np.ndarray, usual: Units, places: Places) -> np.ndarray:
    """Returns whether a row lies beyond a level, bool `[rows, statistics, levels]`, statistics as in `watched`.

    Args:
        values: of the rows, as `Places.values` returns them.
        usual: the units of their class.
        places: of these.
    """
    highest = np.full((len(values), len(places.all)), -1)
    rows, numbers, levels = beyond(values, usual, places)
    highest[rows, numbers] = levels
    return highest[:, watched(places)[0], None] >= np.arange(len(LEVELS))


def stack(parts: Sequence[np.ndarray]) -> Flags:
    """Returns the flags of several classes, each bool `[rows, statistics, levels]`, as one value."""
    shape = parts[0].shape[1:]
    matrix = vstack([csr_matrix(part.reshape(len(part), -1).astype(float)) for part in parts]).tocsr()
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return Flags(matrix, starts, (shape[0], shape[1]))
