"""Groups of pictures whose attribution lies elsewhere in many cells at once, each of them too little to be extreme.

Such a group is far out in one direction of the space of all cells, and no cell, block or sum need show it. The
direction is found by projection pursuit: cells are standardized by their class and whitened by the correlations of the
other classes, so that a group does not hide itself; then the direction is turned, from several starts, to where the
most pictures lie far out on one side. In so many cells some direction looks like that by chance. So one half of a
class's pictures finds it and the other half is counted along it, and the reverse. A cluster is found by both halves,
and the pictures so counted are more than in other classes, along the same direction or along their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.findings.rates import Rates
from transforms.core.findings.robust import Robust
from transforms.core.findings.tails import LEAST_ROWS

LEAST_CLASSES = 5
"""Fewer do not tell what directions are usual."""

LEAST_COUNT = 8
"""Pictures of a cluster."""

LEAST_SHARE, MOST_SHARE = 0.01, 0.4
"""Of the class's pictures, in a cluster."""

LEAST_COSINE = 0.75
"""Between the directions that two halves of a class find: those of noise are hardly ever so near."""

THRESHOLD = 4.0
"""Robust z along the direction that a cluster's pictures exceed."""

_LEAST_CELLS = 16
_CLIPPED = 6.0
"""Highest robust z of a single cell that counts: one that is extreme alone is a tail."""

_SHRUNK = 0.05
"""Share of the identity in the correlations."""

_SAMPLE = 3_000
"""Most pictures of a class among which directions are looked for."""

_STARTS = 24
_ROUNDS = 8
_FROM, _TO = 2.0, 6.0
"""Robust z from which on, and up to which, pictures pull at a direction."""

_MOST_SHAPE = 4.0
"""Of the rates by which clusters are judged: a few classes do not show that they are more alike than this."""

_NEAR = 0.5
"""Of the largest effect in a cell: cells with as much are the cluster's place."""

_FRAMED = 0.75
"""Share of the frame's cells among these, and of these in the frame, if the frame is the place."""

_TINY = 1e-12


@dataclass(frozen=True)
class Axis:
    """A direction, and how far any picture of a class lies out along it.

    Attributes:
        robust: of the class's cells.
        weights: of the standardized cells, float64 `[cells]`.
        center: of the class along the direction.
        spread: of the class along it, above 0.
    """

    robust: Robust
    weights: np.ndarray
    center: float
    spread: float

    @classmethod
    def of(cls, signed: np.ndarray, robust: Robust, weights: np.ndarray) -> Axis:
        """Returns the axis of a class, from signed cells without NaN, float `[rows, cells]`."""
        along = Robust.of(_standardized(signed, robust) @ weights[:, None], ["axis"])
        return cls(robust, weights, float(along.center[0]), float(along.spread[0]))

    def scores(self, signed: np.ndarray) -> np.ndarray:
        """Returns the robust z of each picture along the axis, float64 `[rows]`; NaN for a map that is zero everywhere.

        Args:
            signed: float `[rows, cells]`.
        """
        return (_standardized(signed, self.robust) @ self.weights - self.center) / self.spread


@dataclass(frozen=True)
class Cluster:
    """A group of pictures.

    Attributes:
        number: of the class.
        cells: numbers of the cells in which the group differs most from the others, sorted.
        sign: 1 if these speak for the class more than in the others, −1 if less.
        usual: pictures that other classes let expect.
        log10_p: logarithm of the probability of such a group by chance, in any class; 0 at most.
        cosine: between the directions that the two halves of the class find.
        members: positions of the pictures in the class, the most extreme first.
        axis: of the class; members are beyond THRESHOLD along it.
    """

    number: int
    cells: tuple[int, ...]
    sign: int
    usual: float
    log10_p: float
    cosine: float
    members: np.ndarray
    axis: Axis


@dataclass(frozen=True)
class _Class:
    """Positions of the rows of a class whose maps are not zero everywhere, and the standardized cells of some of them.

    Attributes:
        rows: int64 `[rows]`.
        robust: of these some.
        standardized: in random order, float32 `[some, cells]`.
    """

    rows: np.ndarray
    robust: Robust
    standardized: np.ndarray

    @classmethod
    def of(cls, signed: np.ndarray, rows: np.ndarray) -> _Class:
        some = signed[np.random.default_rng(0).permutation(rows)[:_SAMPLE]]
        robust = Robust.of(some, ["cell"] * some.shape[1])
        return cls(rows, robust, _standardized(some, robust))

    @property
    def correlations(self) -> np.ndarray:
        return self.standardized.T @ self.standardized / len(self.standardized)


@dataclass(frozen=True)
class _Pursued:
    """What two halves of a class find.

    Attributes:
        weights: the direction that each finds, of the standardized cells, float64 `[cells, 2]`.
        cosine: between them, whitened.
        held_out: robust z of each picture along the direction that the other half finds, float64 `[rows]`.
    """

    weights: np.ndarray
    cosine: float
    held_out: np.ndarray

    @property
    def count(self) -> int:
        return int((self.held_out >= THRESHOLD).sum())


def find_clusters(classes: Sequence[np.ndarray], limit: float) -> list[Cluster]:
    """Returns the clusters whose evidence is beyond a limit, one of a class at most, the strongest first.

    Args:
        classes: signed cells of the pictures of each class, float `[rows, cells]` of a square grid; NaN in all cells of
            a map that is zero everywhere.
        limit: highest `log10_p`, below 0.
    """
    rows = {number: np.flatnonzero(~np.isnan(signed).any(axis=1)) for number, signed in enumerate(classes)}
    known = {n: _Class.of(classes[n], there) for n, there in rows.items() if len(there) >= LEAST_ROWS}
    if len(known) < LEAST_CLASSES or classes[next(iter(known))].shape[1] < _LEAST_CELLS:
        return []
    total = np.sum([one.correlations for one in known.values()], axis=0)
    pursued = {n: _pursue(one, (total - one.correlations) / (len(known) - 1)) for n, one in known.items()}
    found = []
    for number, one in pursued.items():
        if _holds(one):
            log10_p, usual = _judge(number, known, pursued)
            if log10_p <= limit:
                found.append(_cluster(number, known[number], classes[number], one, log10_p, usual))
    return sorted((one for one in found if _separate(one, known[one.number])), key=lambda one: one.log10_p)


def _standardized(signed: np.ndarray, robust: Robust) -> np.ndarray:
    return np.clip((signed - robust.center) / robust.spread, -_CLIPPED, _CLIPPED).astype(np.float32)


def _pursue(one: _Class, correlations: np.ndarray) -> _Pursued:
    values, vectors = np.linalg.eigh((1 - _SHRUNK) * correlations + _SHRUNK * np.eye(len(correlations)))
    whitener = (vectors / np.sqrt(values)) @ vectors.T
    white = one.standardized @ whitener
    half = len(white) // 2  # rows are in random order
    parts = (slice(0, half), slice(half, None))
    directions = np.stack([_farthest(white[part]) for part in parts], axis=1)
    held_out = np.concatenate([_robust_z(white[parts[1 - n]] @ directions[:, n]) for n in (1, 0)])
    cosine = float(directions[:, 0] @ directions[:, 1])
    return _Pursued(whitener @ directions, cosine, held_out)


def _farthest(white: np.ndarray) -> np.ndarray:
    """Returns the direction in which the most pictures lie far out on one side, of length 1, float `[cells]`."""
    starts = np.argsort(-np.linalg.norm(white, axis=1), kind="stable")[:_STARTS]
    directions = white[starts].T
    for _ in range(_ROUNDS):
        directions = directions / np.maximum(np.linalg.norm(directions, axis=0), _TINY)
        directions = white.T @ _pull(white, directions) + _TINY
    directions /= np.linalg.norm(directions, axis=0)
    return directions[:, _pull(white, directions).sum(axis=0).argmax()]


def _pull(white: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return (np.clip(_robust_z(white @ directions), _FROM, _TO) - _FROM) ** 2


def _robust_z(values: np.ndarray) -> np.ndarray:
    center = np.median(values, axis=0)
    return (values - center) / np.maximum(1.4826 * np.median(np.abs(values - center), axis=0), _TINY)


def _holds(one: _Pursued) -> bool:
    rows = len(one.held_out)
    return one.cosine >= LEAST_COSINE and one.count >= max(LEAST_COUNT, LEAST_SHARE * rows)


def _judge(number: int, known: Mapping[int, _Class], pursued: Mapping[int, _Pursued]) -> tuple[float, float]:
    """Returns evidence for a cluster, and how many pictures would be usual among all of its class."""
    one = pursued[number]
    others = [other for other in known if other != number]
    sizes = np.array([len(pursued[other].held_out) for other in others], float)
    along = np.array([_along(known[other], one.weights) for other in others])
    own = np.array([pursued[other].count for other in others], float)
    logs = []
    for counts in (along, own):
        rates = Rates.fit(counts, sizes, _MOST_SHAPE)
        logs.append(np.log10(rates.p_values(np.array([float(one.count)]), np.array([len(one.held_out)]))[0]))
    usual = along.sum() / sizes.sum() * len(known[number].rows)
    return float(min(max(logs) + np.log10(len(known)), 0)), float(usual)


def _along(other: _Class, weights: np.ndarray) -> float:
    return float((_robust_z(other.standardized @ weights) >= THRESHOLD).sum() / weights.shape[1])


def _cluster(number: int, one: _Class, signed: np.ndarray, pursued: _Pursued, log10_p: float, usual: float) -> Cluster:
    known = signed[one.rows]
    axis = Axis.of(known, one.robust, pursued.weights.mean(axis=1))
    z = axis.scores(known)
    inside = z >= THRESHOLD
    members = np.flatnonzero(inside)
    if not len(members):
        return Cluster(number, (), 1, usual, log10_p, pursued.cosine, members, axis)
    standardized = _standardized(known, one.robust)
    cells, sign = _place(standardized[inside].mean(axis=0) - standardized[~inside].mean(axis=0))
    ranked = one.rows[members[np.argsort(-z[members], kind="stable")]]
    return Cluster(number, cells, sign, usual, log10_p, pursued.cosine, ranked, axis)


def _place(effects: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Returns the cells that differ most, the frame if they are most of it and hardly anything else, and their sign."""
    sign = 1 if effects[np.abs(effects).argmax()] > 0 else -1
    strong = sign * effects >= _NEAR * np.abs(effects).max()
    side = round(len(effects) ** 0.5)
    rows, cols = np.divmod(np.arange(len(effects)), side)
    frame = (np.minimum(rows, cols) == 0) | (np.maximum(rows, cols) == side - 1)
    most = strong[frame].mean() >= _FRAMED and frame[strong].mean() >= _FRAMED
    return tuple(np.flatnonzero(frame if most else strong).tolist()), sign


def _separate(cluster: Cluster, one: _Class) -> bool:
    return LEAST_COUNT <= len(cluster.members) <= MOST_SHARE * len(one.rows)
