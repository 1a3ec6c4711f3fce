"""Groups of pictures whose attribution lies far from that of their class in one place, the same for all of them.

Counted are, for each class, place and sign, the pictures beyond some thresholds in robust units. A count is judged
twice, each time by the counts of all other classes and places of the same rows: among all pictures of its class, and
among those beyond a moderate threshold, which tells a separate group from a place whose tail is heavy throughout. The
weaker evidence counts, times the number of all counts of such places and the number of sizes of places (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from transforms.core.findings.rates import judge_counts
from transforms.core.findings.robust import Place, Robust, places_of, sums

LEAST_ROWS = 30
"""Pictures that a class needs: median and spread of fewer are too uncertain."""

LEAST_COUNT = 3
"""Pictures of a group."""

_MODERATE = 3.0
_THRESHOLDS = np.array([5.0, 6, 7, 8, 10, 13, 17, 22])
_FRAME_SCALE = 0.6
"""Of the thresholds of the frame: a sum over many cells has lighter tails, and a border moves each of them a little."""

_ANYWHERE = Place((), "anywhere")
_MOST_PER_CLASS = 3
_LEAST_CLASSES = 3
_WIDEST = 1.5

_COMMON = 0.6
"""Share of a group's pictures that are the most extreme in one cell, if that is its place."""

_IMPURE = 0.1
"""Highest share of a group's pictures that would be usual."""

_NEW = 0.7
"""Share of a group's pictures that are in no stronger group."""


@dataclass(frozen=True)
class Ruler:
    """Says how extreme any picture of a class is in each place.

    Attributes:
        places: cells, blocks and the frame of a grid.
        robust: of the class.
    """

    places: tuple[Place, ...]
    robust: Robust

    @classmethod
    def of(cls, signed: np.ndarray) -> Ruler:
        """Returns the ruler of a class, from signed cells without NaN, float `[rows, cells]`."""
        places = tuple(places_of(round(signed.shape[1] ** 0.5)))
        return cls(places, Robust.of(sums(signed, places), [place.size for place in places]))

    @property
    def scales(self) -> np.ndarray:
        """By what the thresholds of each score are multiplied, float32 `[2 · (places + 1)]`."""
        scales = [*(_FRAME_SCALE if place.size == "frame" else 1.0 for place in self.places), 1.0]
        return np.tile(np.array(scales, np.float32), 2)

    def scores(self, signed: np.ndarray) -> np.ndarray:
        """Returns robust z of each picture, high then low; the last of each is that of the most extreme cell.

        Args:
            signed: float `[rows, cells]`; NaN in all cells of a map that is zero everywhere.

        Returns:
            float32 `[rows, 2 · (places + 1)]`.
        """
        z = self.robust.z(sums(signed, self.places))
        cells = z[:, : signed.shape[1]]
        return np.column_stack([z, cells.max(axis=1), -z, -cells.min(axis=1)])


@dataclass(frozen=True)
class Tail:
    """A group of pictures.

    Attributes:
        number: of the class.
        place: where their attribution is extreme; without cells if the place differs from picture to picture.
        sign: 1 if it is high, −1 if it is low.
        threshold: in robust units, which all of the group exceed.
        usual: pictures that other classes and places let expect.
        log10_p: logarithm of the probability of such a group by chance, in any class or place; 0 at most.
        members: positions of the pictures in the class, the most extreme first.
        ruler: of the class.
        column: of the ruler's scores by which they were found.
    """

    number: int
    place: Place
    sign: int
    threshold: float
    usual: float
    log10_p: float
    members: np.ndarray
    ruler: Ruler
    column: int


@dataclass(frozen=True)
class _Scores:
    """The scores of the pictures of a class whose maps are not zero everywhere, and their positions in the class."""

    values: np.ndarray
    rows: np.ndarray
    ruler: Ruler

    @classmethod
    def of(cls, signed: np.ndarray, ruler: Ruler) -> _Scores:
        rows = np.flatnonzero(~np.isnan(signed).any(axis=1))
        return cls(ruler.scores(signed[rows]), rows, ruler)

    def common(self, members: np.ndarray, sign: int) -> Place:
        """Returns the cell in which most of the members are the most extreme; no cell if they differ."""
        half, cells = self.values.shape[1] // 2, sum(place.size == "cell" for place in self.ruler.places)
        peaks = self.values[members, :cells] if sign > 0 else self.values[members, half : half + cells]
        cell, count = max(enumerate(np.bincount(peaks.argmax(axis=1), minlength=cells)), key=lambda item: item[1])
        return Place((int(cell),), "cell") if count >= _COMMON * len(members) else _ANYWHERE

    def counts(self) -> np.ndarray:
        """Returns how many exceed the moderate and each other threshold, float `[1 + thresholds, 2 · places]`."""
        limits, scales = (_MODERATE, *_THRESHOLDS), self.ruler.scales
        return np.stack([(self.values >= limit * scales).sum(axis=0) for limit in limits]).astype(float)


def find_tails(classes: Sequence[np.ndarray], limit: float, most: int) -> list[Tail]:
    """Returns the groups whose evidence is beyond a limit, the strongest first.

    Args:
        classes: signed cells of the pictures of each class, float `[rows, cells]` of a square grid; NaN in all cells of
            a map that is zero everywhere.
        limit: highest `log10_p`, below 0.
        most: groups.
    """
    usable = [number for number, signed in enumerate(classes) if _rows(signed) >= LEAST_ROWS]
    if not usable or classes[usable[0]].shape[1] < 4:
        return []
    places = [*places_of(round(classes[usable[0]].shape[1] ** 0.5)), _ANYWHERE]
    rulers = _rulers([classes[number] for number in usable])
    pairs = list(zip(usable, rulers, strict=True))
    counts = np.stack([_Scores.of(classes[number], ruler).counts() for number, ruler in pairs])
    judged = _judge(counts, np.array([_rows(classes[number]) for number in usable], float), places)
    suspects = np.flatnonzero(judged.p_values.min(axis=(1, 2)) <= 10**limit)
    found: list[Tail] = []
    for position in suspects.tolist():
        number, ruler = pairs[position]
        found += _peel(number, _Scores.of(classes[number], ruler), places, judged.of(position), limit)
    return sorted(found, key=lambda tail: (tail.log10_p, -len(tail.members)))[:most]


def _rulers(classes: Sequence[np.ndarray]) -> list[Ruler]:
    """Returns the ruler of each class.

    A group of a third of the class, or more, widens the spread in its place until it hides there. So a spread counts as
    no more than _WIDEST times what it is in the other classes, in comparison with the other places.
    """
    rulers = [Ruler.of(signed[~np.isnan(signed).any(axis=1)]) for signed in classes]
    if len(rulers) < _LEAST_CLASSES:
        return rulers
    spreads = np.stack([ruler.robust.spread for ruler in rulers])
    levels = np.median(spreads, axis=1, keepdims=True)
    highest = _WIDEST * levels * np.median(spreads / levels, axis=0)
    return [
        replace(ruler, robust=replace(ruler.robust, spread=spread))
        for ruler, spread in zip(rulers, np.minimum(spreads, highest), strict=True)
    ]


def _rows(signed: np.ndarray) -> int:
    return int((~np.isnan(signed).any(axis=1)).sum())


@dataclass(frozen=True)
class _Judged:
    """Adjusted probabilities, expected counts, and the counts themselves, float `[classes, thresholds, 2 · places]`."""

    p_values: np.ndarray
    usual: np.ndarray
    counts: np.ndarray

    def of(self, position: int) -> _Judged:
        return _Judged(self.p_values[position], self.usual[position], self.counts[position])


def _judge(counts: np.ndarray, rows: np.ndarray, places: Sequence[Place]) -> _Judged:
    """Returns the judgement of counts `[classes, 1 + thresholds, 2 · places]` of classes with so many rows each."""
    extreme, moderate = counts[:, 1:], counts[:, 0]
    p_values, usual = np.ones(extreme.shape), np.zeros(extreme.shape)
    sizes = np.tile([place.size for place in places], 2)
    for size in np.unique(sizes):
        same = sizes == size
        shape = (len(rows), int(same.sum()))
        exposures = (np.broadcast_to(rows[:, None], shape), moderate[:, same] + 1)
        for number in range(len(_THRESHOLDS)):
            these = extreme[:, number, same]
            judged = [judge_counts(these.ravel(), exposed.ravel()) for exposed in exposures]
            weaker = np.maximum(*(each.p_values for each in judged)).reshape(shape)
            p_values[:, number, same] = np.minimum(weaker * these.size * len(_THRESHOLDS) * len(np.unique(sizes)), 1)
            usual[:, number, same] = judged[0].expected.reshape(shape)
    return _Judged(p_values, usual, extreme)


def _peel(number: int, scores: _Scores, places: Sequence[Place], judged: _Judged, limit: float) -> list[Tail]:
    """Returns the groups of one class, the strongest first; a picture is in one of them at most."""
    logs = np.log10(judged.p_values)
    excess = judged.counts - judged.usual
    levels, columns = np.nonzero((logs <= limit) & (judged.counts >= LEAST_COUNT))
    anywhere = columns % len(places) == len(places) - 1  # says less, so only of pictures that no place explains
    taken = np.zeros(len(scores.rows), bool)
    found: list[Tail] = []
    for entry in np.lexsort((-excess[levels, columns], logs[levels, columns], anywhere)).tolist():
        level, column = int(levels[entry]), int(columns[entry])
        values, scale = scores.values[:, column], float(scores.ruler.scales[column])
        if (values[~taken] >= scale * _THRESHOLDS[level]).sum() < max(LEAST_COUNT, _NEW * judged.counts[level, column]):
            continue  # nearly all are in a group already
        level = _lowest(level, judged.counts[:, column], judged.usual[:, column])
        members = np.flatnonzero((values >= scale * _THRESHOLDS[level]) & ~taken)
        members = members[np.argsort(-values[members], kind="stable")]
        place = places[column % len(places)]
        sign = 1 if column < len(places) else -1
        found.append(
            Tail(
                number,
                place if place.cells else scores.common(members, sign),
                sign,
                scale * float(_THRESHOLDS[level]),
                float(judged.usual[level, column]),
                float(logs[levels[entry], column]),
                scores.rows[members],
                scores.ruler,
                column,
            )
        )
        taken |= values >= scale * _MODERATE  # those less extreme are no second group
        if len(found) == _MOST_PER_CLASS:
            break
    return found


def _lowest(level: int, counts: np.ndarray, usual: np.ndarray) -> int:
    """Returns the lowest threshold beyond which hardly a picture is to be expected: it takes in most of a group."""
    pure = np.flatnonzero(usual[: level + 1] <= _IMPURE * counts[: level + 1])
    return int(pure[0]) if len(pure) else level
