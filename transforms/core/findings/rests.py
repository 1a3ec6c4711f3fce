"""Classes that rest on a place that no other class does.

What most pictures of a class share is no tail: it moves the class's own median. So the medians of the classes are
compared, place by place, in units of how much single pictures spread. How far medians lie apart without a reason is
told by all classes and places of the run together: their distances are taken to follow a Laplace distribution, whose
tail is heavier than the normal one, and the number of places and classes counts (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.findings.robust import Place, Robust
from transforms.core.findings.tails import LEAST_ROWS, Ruler, Tail

LEAST_CLASSES = 3

_FLOOR = 2.0
"""Least distance of a median from those of the other classes, in spreads of a picture, that is worth a word."""

_LARGEST_LOG = -300.0


@dataclass(frozen=True)
class Rest(Tail):
    """A class that rests on a place that no other class rests on; the ruler is that of the other classes."""


def find_rests(classes: Sequence[np.ndarray], limit: float) -> list[Rest]:
    """Returns the classes whose evidence is beyond a limit, each with its strongest place, the strongest first.

    Args:
        classes: signed cells of the pictures of each class, float `[rows, cells]`; NaN in all cells of a map that is
            zero everywhere.
        limit: highest `log10_p`, below 0.
    """
    known = {number: signed[~np.isnan(signed).any(axis=1)] for number, signed in enumerate(classes)}
    known = {number: signed for number, signed in known.items() if len(signed) >= LEAST_ROWS}
    if len(known) < LEAST_CLASSES or next(iter(known.values())).shape[1] < 4:
        return []
    rulers = [Ruler.of(signed) for signed in known.values()]
    centers = np.stack([ruler.robust.center for ruler in rulers])
    spread = np.median([ruler.robust.spread for ruler in rulers], axis=0)
    others = np.stack([np.median(np.delete(centers, number, axis=0), axis=0) for number in range(len(centers))])
    distances = (centers - others) / spread
    logs = _log10_p(distances)
    alone = _beyond_all(centers, spread, rulers[0].places)
    found = []
    for position, number in enumerate(known):
        column = int(np.argmin(np.where(alone[position], logs[position], 0)))
        if alone[position, column] and logs[position, column] <= limit:
            ruler = Ruler(rulers[0].places, Robust(others[position], spread))
            distance, log10_p = float(distances[position, column]), float(logs[position, column])
            found.append(_rest(classes, known, number, ruler, column, distance, log10_p))
    return sorted(found, key=lambda rest: rest.log10_p)


def _log10_p(distances: np.ndarray) -> np.ndarray:
    scale = np.median(np.abs(distances)) / np.log(2)  # of a Laplace distribution
    logs = np.log10(0.5 * distances.size) - np.abs(distances) / max(scale, 1e-9) / np.log(10)
    return np.clip(logs, _LARGEST_LOG, 0)


def _beyond_all(centers: np.ndarray, spread: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """Returns where a class's median lies beyond that of every other class by the floor, bool `[classes, places]`."""
    ranked = np.sort(centers, axis=0)
    above, below = (ranked[-1] - ranked[-2]) / spread, (ranked[1] - ranked[0]) / spread
    apart = ((centers == ranked[-1]) & (above >= _FLOOR)) | ((centers == ranked[0]) & (below >= _FLOOR))
    apart[:, [place.size == "frame" for place in places]] = False  # that of airplanes in the sky is another by nature
    return apart


def _rest(
    classes: Sequence[np.ndarray],
    known: Mapping[int, np.ndarray],
    number: int,
    ruler: Ruler,
    place: int,
    distance: float,
    log10_p: float,
) -> Rest:
    sign = 1 if distance > 0 else -1
    column = place if sign > 0 else place + len(ruler.places) + 1
    threshold = abs(distance) / 2  # halfway between the class and the others
    rates = [(ruler.scores(rows)[:, column] >= threshold).mean() for other, rows in known.items() if other != number]
    z = ruler.scores(classes[number])[:, column]
    members = np.flatnonzero(z >= threshold)
    return Rest(
        number=number,
        place=ruler.places[place],
        sign=sign,
        threshold=threshold,
        usual=float(np.median(rates)) * len(known[number]),
        log10_p=log10_p,
        members=members[np.argsort(-z[members], kind="stable")],
        ruler=ruler,
        column=column,
    )
