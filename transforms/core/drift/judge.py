"""Has a run drifted from its reference? Judged by what the reference does to itself.

1. Each slice is contrasted with the reference at the reference's class mix: a change of the mix alone changes nothing.
2. The reference's rows are split into halves, class by class, many times over, and the halves contrasted in the
   same way. What all slices show of a metric when nothing has changed is its null: slices share it because
   statistics are in units of their noise, and because one slice alone knows too little of rare rows (the idea of a
   pooled null: Tusher, Tibshirani and Chu 2001; Storey and Tibshirani 2003).
3. Where the reference is several nights, each is contrasted with the others. If nights differ by more than halves
   do, the null is widened by as much.
4. Where the candidate is another training of the model, "nights" are trainings, and the change must also be larger than
   one more training would show (`trainings`): trainings differ by far more than halves do, and not alike in all slices.
5. p-values over all slices and metrics go through Benjamini and Hochberg's procedure. A change is a drift if it is
   significant, and its effect exceeds its threshold and what the reference does to itself.

Pictures that come again, in several nights or within one, make two nights more alike than two halves that share no
picture; the null is then too wide, never too narrow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.core.cpus import usable_cpus
from transforms.core.drift.contrast import (
    CELLS,
    SCALARS,
    TOPICS,
    Known,
    Measured,
    Rows,
    cell_statistics,
    class_matched_weights,
    halves,
    known,
    measure,
    shared_classes,
)
from transforms.core.drift.distance import jensen_shannon, ndcg, population_stability_index, total_variation
from transforms.core.drift.mean_error import standard_errors
from transforms.core.drift.slice_audit import (
    DRIFT,
    FINE,
    GONE,
    NEW,
    TOO_FEW,
    CellAudit,
    GridAudit,
    MetricAudit,
    SignedAudit,
    SliceAudit,
)
from transforms.core.drift.thresholds import Thresholds
from transforms.core.drift.trainings import LEAST_TRAININGS, moderated_p_values
from transforms.core.stable_hash import stable_digest
from transforms.core.statistics.slices import Slice
from transforms.core.vocabulary import VECTORS

_SELF_QUANTILE = 0.95
_NIGHTS_QUANTILE = 0.9
_LEAST_NIGHTS = 3
_THREADS = 4
_LEAST_EFFECT = 1e-9  # whose logarithm is finite


@dataclass(frozen=True)
class Pair:
    """A slice of both sides.

    Attributes:
        key: the slice.
        reference: rows to compare, of all reference nights.
        candidate: rows to compare.
        reference_rows: how many rows the slice has in all.
        candidate_rows: the same.
    """

    key: Slice
    reference: Rows
    candidate: Rows
    reference_rows: int
    candidate_rows: int


def judge(pairs: Iterable[Pair], thresholds: Thresholds, trainings: bool = False) -> list[SliceAudit]:
    """Returns the judgement of each slice, in their order; holds the rows of a few at a time.

    Args:
        pairs: the slices.
        thresholds: what counts as a change.
        trainings: whether the reference's `nights` are trainings of a model, and the candidate is another one.
    """
    contrasts = list(_contrasts(pairs, thresholds))
    compared = [one for one in contrasts if isinstance(one, _Contrast)]
    null = _Null.of(compared, thresholds.metrics)
    p_values = [{name: null.p_value(name, found.statistic[0]) for name, found in one.found.items()} for one in compared]
    if trainings:
        _raise_to_trainings(p_values, compared)
    q_values = iter(control_false_discoveries([p for of_slice in p_values for p in of_slice.values()]))
    tested = iter([{name: (p, next(q_values)) for name, p in of_slice.items()} for of_slice in p_values])
    return [
        _audit(one, next(tested), null, thresholds, trainings) if isinstance(one, _Contrast) else one
        for one in contrasts
    ]


def control_false_discoveries(p_values: Sequence[float]) -> list[float]:
    """Returns Benjamini and Hochberg's q-values: rejecting those up to q, a share q of the rejected is false.

    They are those of `scipy.stats.false_discovery_control`, to the bit; importing that package would cost each
    comparison a second and 46 MiB.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(-p)
    ranks = np.arange(len(p), 0, -1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(p[order] * (len(p) / ranks))
    return np.minimum(q, 1).tolist()


Means = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Contrast:
    """What was measured of a slice, without its rows.

    Attributes:
        found: candidate against reference.
        splits: statistics of halves of the reference, float32 `[splits]`.
        nights: each night of the reference against the others.
        distances: of each metric, by the names that people know.
        means: of each scalar, (reference, candidate).
        vectors: mean vectors by the names in VECTORS, (reference, candidate), of those that both sides have.
        cells: the change of each cell, by the names in CELLS.
        errors: standard errors of `means` and `vectors`, by the same names.
    """

    pair: dict[str, Any]
    found: dict[str, Measured]
    splits: dict[str, np.ndarray]
    nights: list[dict[str, Measured]]
    distances: dict[str, dict[str, float]]
    means: dict[str, tuple[float, float]]
    vectors: dict[str, Means]
    cells: dict[str, Measured]
    errors: dict[str, Means]

    def self_effect(self, name: str) -> float:
        """Returns the effect that is rare between halves, at the size of this contrast, or the largest of a night."""
        effect, statistic = self.found[name].effect[0], self.found[name].statistic[0]
        usual = np.quantile(self.splits[name], _SELF_QUANTILE) * effect / statistic if statistic > 0 else 0.0
        return float(max([usual, *(night[name].effect[0] for night in self.nights if name in night)]))


def _contrasts(pairs: Iterable[Pair], thresholds: Thresholds) -> Iterator[_Contrast | SliceAudit]:
    """Yields what can be measured of each slice, in their order; as many at a time as there are processors."""
    waiting: deque[Future[_Contrast | SliceAudit]] = deque()
    count = min(_THREADS, usable_cpus())
    with ThreadPoolExecutor(count, "contrast") as threads:
        for pair in pairs:
            waiting.append(threads.submit(lambda one: _contrast(one, thresholds) or _uncompared(one), pair))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _contrast(pair: Pair, thresholds: Thresholds) -> _Contrast | None:
    """Returns what can be measured of a slice, or None where it has too few rows."""
    shared = shared_classes(pair.reference.classes, pair.candidate.classes, thresholds.min_class_rows)
    reference = pair.reference.take(np.isin(pair.reference.classes, shared))
    candidate = pair.candidate.take(np.isin(pair.candidate.classes, shared))
    if min(len(reference), len(candidate)) < thresholds.min_rows:
        return None
    rows = reference.join(candidate)
    weights = class_matched_weights(rows.classes, np.arange(len(rows)) >= len(reference))
    splits = _splits(reference, thresholds, _rng(pair.key, thresholds.seed))
    found = measure(rows, weights, splits)
    present = {name: part for name in (*VECTORS, *SCALARS) if (part := known(rows, weights, name))}
    means = {
        name: (part.weights.reference[0] @ part.values, part.weights.candidate[0] @ part.values)
        for name, part in present.items()
    }
    vectors = {name: means[name] for name in VECTORS if name in means}
    return _Contrast(
        pair=_description(pair) | {"compared_share": len(candidate) / len(pair.candidate)},
        found=found,
        splits={name: splits[name] for name in found},
        nights=_nights(reference, thresholds),
        distances={name: _distances(present.get(name), name, found[name].effect[0], vectors) for name in found},
        means={name: (float(means[name][0]), float(means[name][1])) for name in found if name in SCALARS},
        vectors=vectors,
        cells={name: cell_statistics(rows, weights, name) for name in CELLS if name in found},
        errors={name: standard_errors(part) for name, part in present.items()},
    )


def _splits(reference: Rows, thresholds: Thresholds, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the statistics of halves of the reference, of a bounded number of its rows, float32 `[splits]` each."""
    if len(reference) > thresholds.sample_rows:
        reference = reference.take(rng.choice(len(reference), thresholds.sample_rows, replace=False))
        reference = reference.take(np.isin(reference.classes, shared_classes(reference.classes, reference.classes, 2)))
    halved = halves(reference.classes, thresholds.splits, rng)
    found = measure(reference, halved, thresholds.metrics)
    return {name: measured.statistic.astype(np.float32) for name, measured in found.items()}


def _nights(reference: Rows, thresholds: Thresholds) -> list[dict[str, Measured]]:
    """Returns each night of the reference against the others, where these are enough to tell how nights differ."""
    nights = np.unique(reference.nights)
    if len(nights) < _LEAST_NIGHTS:
        return []
    measured = []
    for night in nights:
        this = reference.nights == night
        shared = shared_classes(reference.classes[~this], reference.classes[this], thresholds.min_class_rows)
        kept = np.isin(reference.classes, shared)
        if min((this & kept).sum(), (~this & kept).sum()) >= thresholds.min_rows:
            rows = reference.take(kept)
            measured.append(measure(rows, class_matched_weights(rows.classes, this[kept]), thresholds.metrics))
    return measured


@dataclass(frozen=True)
class _Null:
    """What each metric's statistic is when nothing has changed: sorted values by metric."""

    values: dict[str, np.ndarray]

    @classmethod
    def of(cls, contrasts: Sequence[_Contrast], metrics: Sequence[str]) -> _Null:
        values = {}
        for name in metrics:
            splits = [one.splits[name] for one in contrasts if name in one.splits]
            nights = [night[name].statistic[0] for one in contrasts for night in one.nights if name in night]
            if splits:
                pooled = np.sort(np.concatenate(splits))
                values[name] = pooled * _widening(pooled, nights)
        return cls(values)

    def p_value(self, name: str, statistic: float) -> float:
        """Returns the share of the null, and of what was found, that is at least `statistic`."""
        values = self.values[name]
        larger = len(values) - np.searchsorted(values, statistic, side="left")
        return float((larger + 1) / (len(values) + 1))


def _widening(splits: np.ndarray, nights: Sequence[float]) -> float:
    """Returns how much more nights differ than halves of all their rows do; at least 1."""
    usual = np.quantile(splits, _NIGHTS_QUANTILE)
    return max(1.0, float(np.quantile(nights, _NIGHTS_QUANTILE) / usual)) if len(nights) and usual > 0 else 1.0


def _raise_to_trainings(p_values: Sequence[dict[str, float]], compared: Sequence[_Contrast]) -> None:
    """Raises p-values to those of one more training having such an effect, 1 where there are too few to tell.

    Effects of trainings on each other multiply rather than add: their logarithms are compared, slice by slice, with
    a spread between trainings that slices inform together.
    """
    for name in {name for one in compared for name in one.found}:
        known: dict[int, list[tuple[int, float, np.ndarray]]] = {}
        for number, one in enumerate(compared):
            if name not in one.found:
                continue
            effects = [night[name].effect[0] for night in one.nights if name in night]
            if len(effects) < LEAST_TRAININGS:
                p_values[number][name] = 1.0
                continue
            logs = np.log(np.maximum([one.found[name].effect[0], *effects], _LEAST_EFFECT))
            errors = (logs[1:] - logs[1:].mean()) * len(effects) / (len(effects) - 1)
            known.setdefault(len(effects), []).append((number, logs[0] - logs[1:].mean(), errors))
        for drawn in known.values():
            found = np.array([effect for _, effect, _ in drawn])
            errors = np.stack([errors for *_, errors in drawn], axis=1)
            tails = moderated_p_values(found, errors, one_sided=True, together=name in SCALARS)
            for (number, *_), tail in zip(drawn, tails.tolist(), strict=True):
                p_values[number][name] = max(p_values[number][name], tail)


def _audit(
    one: _Contrast, tested: dict[str, tuple[float, float]], null: _Null, thresholds: Thresholds, trainings: bool
) -> SliceAudit:
    metrics = [_metric(one, name, *tested[name], thresholds) for name in tested]
    drifted = {metric.name for metric in metrics if metric.drift}
    grid = _grid(one, null, thresholds, drifted, trainings)
    return SliceAudit(**one.pair, state=DRIFT if drifted else FINE, metrics=metrics, grid=grid)


def _uncompared(pair: Pair) -> SliceAudit:
    state = NEW if not pair.reference_rows else GONE if not pair.candidate_rows else TOO_FEW
    return SliceAudit(**_description(pair), state=state, compared_share=0.0, metrics=[], grid=None)


def _description(pair: Pair) -> dict[str, Any]:
    return vars(pair.key) | {"reference_rows": pair.reference_rows, "candidate_rows": pair.candidate_rows}


def _metric(one: _Contrast, name: str, p_value: float, q_value: float, thresholds: Thresholds) -> MetricAudit:
    effect, self_effect = float(one.found[name].effect[0]), one.self_effect(name)
    least = thresholds.effects[name] or 0.0
    reference, candidate = one.means.get(name, (None, None))
    errors = [float(error[0]) for error in one.errors[name]] if name in one.means else [None, None]
    return MetricAudit(
        name=name,
        topic=TOPICS[name],
        drift=q_value <= thresholds.false_discovery_rate and effect > max(least, self_effect),
        effect=effect,
        threshold=least,
        self_effect=self_effect,
        p_value=p_value,
        q_value=q_value,
        distances=one.distances[name],
        reference=reference,
        candidate=candidate,
        reference_error=errors[0],
        candidate_error=errors[1],
    )


def _grid(
    one: _Contrast, null: _Null, thresholds: Thresholds, drifted: Collection[str], trainings: bool
) -> GridAudit | None:
    """Returns the mean grids and, where metrics `drifted`, the cells that changed: p-values hold for all at once.

    There are none if a side has only maps that are zero everywhere. Among `trainings`, a cell must have changed more
    than any cell does from one to the others.
    """
    if "grid" not in one.vectors:
        return None
    side = round(len(one.vectors["grid"][0]) ** 0.5)
    found: list[tuple[float, CellAudit]] = []
    for name, cells in one.cells.items() if drifted else ():
        means, errors, least = one.vectors[CELLS[name]], one.errors[CELLS[name]], thresholds.effects[name] or 0.0
        least = max(least, one.self_effect(name)) if trainings else least
        for cell in np.flatnonzero(np.abs(cells.effect[0]) > least).tolist():
            statistic = float(cells.statistic[0, cell])
            p_value = null.p_value(name, statistic)
            if p_value <= thresholds.false_discovery_rate:
                row, col = divmod(cell, side)
                before, after, *spread = (float(of_side[cell]) for of_side in (*means, *errors))
                audit = CellAudit(row, col, before, after, spread[0], spread[1], p_value, name == "signed_cells")
                found.append((statistic, audit))
    changed = [audit for _, audit in sorted(found, key=lambda item: -item[0])]
    signed = None
    if "signed_cells" in drifted:
        signed = SignedAudit(*_lists(one, "signed_grid"))
    sides = _lists(one, "grid")
    return GridAudit(side, sides[0], sides[1], sides[2], sides[3], changed, signed)


def _lists(one: _Contrast, name: str) -> list[list[float]]:
    """Returns the mean vectors of reference and candidate, and their standard errors."""
    return [numbers.tolist() for numbers in (*one.vectors[name], *one.errors[name])]


def _distances(present: Known | None, name: str, effect: float, vectors: Mapping[str, Means]) -> dict[str, float]:
    """Returns the distances that people know by name; `present` are the rows that have a scalar."""
    if name in SCALARS and present:
        psi = population_stability_index(present.values, present.weights.reference[0], present.weights.candidate[0])
        return {"wasserstein": float(effect), "psi": psi}
    if name == "signed_cells":
        return {}
    means = vectors["channel_share" if name == "channel_share" else "grid"]
    distances = {"jensen_shannon": jensen_shannon, "total_variation": total_variation, "ndcg": ndcg}
    return {distance: float(function(*means)) for distance, function in distances.items()}


def _rng(key: Slice, seed: int) -> np.random.Generator:
    """Returns a source of chance that depends on the slice and the seed, not on the other slices."""
    digest = stable_digest(f"{seed} {key.kind} {key.value}", 16)
    return np.random.Generator(np.random.Philox(int.from_bytes(digest, "big")))
