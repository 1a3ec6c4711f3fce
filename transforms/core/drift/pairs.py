"""Has the model changed, or the pictures? Pictures that come again are compared with themselves, one by one.

The same picture under another training of a model differs in every cell: any retraining is significant. What counts is
whether it differs more than trainings do. So, in each slice of the pictures that both sides explain for the same class:

1. The difference of each picture is taken from the mean of the trainings among the references that have it.
2. Signs of the differences are flipped at random, whole pictures at a time; the statistic is the largest change over
   cells and numbers in units of its standard error, so that p-values hold for all of them simultaneously (Nichols and
   Holmes 2002). A cell's spread counts as no less than the median cell's.
3. Each training is compared with the others in the same way. What they move is the floor, and the change must be
   larger than that of one more such training would be (`trainings`).
4. A few pictures that rest on a place disappear in the mean of a class. So it is also counted how many moved far in a
   signed cell, in units of what trainings move pictures there.
5. With fewer than three trainings it is unknown how much these differ, and a change of another model is no alarm.
   The same model must repeat its maps up to rounding: nothing else is needed to judge it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.drift.contrast import ATTENTION, CELLS, TOPICS
from transforms.core.drift.pair_contrast import Paired, PairedContrast, Tails, measure_pairs
from transforms.core.drift.thresholds import Thresholds
from transforms.core.drift.trainings import count_p_values, moderated_p_values

NEITHER, DATA, MODEL, BOTH = "neither", "data", "model", "both"

ROUNDING = 2e-3
"""Share of a map that rounding moves at most: other batches and compilers moved 0.9e-3 of the L1 norm."""

SAME_SHARE, OTHER_SHARE = 0.9, 0.1
"""Share of the pictures that come again from which they are the same, and up to which they are others."""

_CLEAR = 2.0
"""By how much a count of pictures that moved far must exceed the largest of a training in any cell of the slice."""

_OTHERS = 0.5
"""Share of the pictures from which their maps by the same model are so many others that their ids must be of others."""

TAILS = "signed_tails"
"""Metric: how many pictures moved far in one signed cell."""


@dataclass(frozen=True)
class Again:
    """How many pictures of a run come again from its references.

    Attributes:
        images: pictures of the run.
        pictures: of these, how many are in a reference, too.
        changed_predictions: of these, how many are explained for another class than in the latest such reference.
        same_model: whether a reference was made by the same model.
        trainings: different models among the references.
        by_content: whether all pictures were matched by their content, none by its id.
    """

    images: int
    pictures: int
    changed_predictions: int
    same_model: bool
    trainings: int
    by_content: bool


@dataclass(frozen=True)
class PairedMetric:
    """A metric of a slice; the fields are those of audit.json."""

    name: str
    topic: str
    drift: bool
    effect: float
    threshold: float
    floor: float | None
    p_value: float


@dataclass(frozen=True)
class PairedCell:
    """A cell whose value changed in the same pictures; the fields are those of audit.json."""

    row: int
    col: int
    reference: float
    candidate: float
    p_value: float
    signed: bool


@dataclass(frozen=True)
class PairedTail:
    """A cell in which more pictures moved far than trainings move; the fields are those of audit.json.

    Attributes:
        row: of the cell.
        col: of the cell.
        pictures: how many moved far.
        usual: the most that one of the trainings moved, in terms of as many pictures.
        speaks_for: whether the cell now says more for the class in most of them.
        p_value: corrected for all cells and slices.
    """

    row: int
    col: int
    pictures: int
    usual: float
    speaks_for: bool
    p_value: float


@dataclass(frozen=True)
class PairedSlice:
    """The judgement of a slice; the fields are those of audit.json."""

    kind: str
    value: str
    name: str
    pictures: int
    moved: float
    metrics: list[PairedMetric]
    cells: list[PairedCell]
    tails: list[PairedTail]


@dataclass(frozen=True)
class PairsAudit:
    """What the pictures that come again say; the fields are those of audit.json."""

    case: str
    matched_by: str
    images: int
    pictures: int
    share: float
    changed_predictions: int
    same_model: bool
    trainings: int
    paired: int
    moved: float | None
    most_moved: float
    usual: list[float] | None
    moved_pictures: int | None
    slices: list[PairedSlice]


def name_case(again: Again) -> str:
    """Returns which of model and data changed: `neither`, `data`, `model` or `both`."""
    other_pictures = again.pictures < SAME_SHARE * again.images
    if again.same_model:
        return DATA if other_pictures else NEITHER
    return BOTH if other_pictures else MODEL


def judge_pairs(again: Again, paired: Paired, thresholds: Thresholds) -> PairsAudit:
    """Returns the judgement of the pictures that come again.

    Args:
        again: how many there are.
        paired: their rows; of the `max_slices` largest slices, those with `min_rows` are judged.
        thresholds: what counts as a change.
    """
    keys = sorted(paired.slices, key=lambda key: (-len(paired.slices[key]), key))[: thresholds.max_slices]
    large = (key for key in keys if len(paired.slices[key]) >= thresholds.min_rows)
    contrasts = (measure_pairs(key, paired.slices[key], paired, thresholds) for key in large)
    found = [one for one in contrasts if one is not None]
    whole = next((one for one in found if one.key.kind == "all"), None)
    moved_pictures = _beyond_rounding(paired) if again.same_model and paired.trainings else None
    if not again.by_content and moved_pictures and moved_pictures > _OTHERS * len(paired.candidate):
        judged = _judge_slices(found, thresholds, again.same_model, can_tell=False)  # the ids are of other pictures
    else:
        judged = _judge_slices(found, thresholds, again.same_model)
    return PairsAudit(
        case=name_case(again),
        matched_by="content" if again.by_content else "id",
        images=again.images,
        pictures=again.pictures,
        share=again.pictures / max(1, again.images),
        changed_predictions=again.changed_predictions,
        same_model=again.same_model,
        trainings=again.trainings,
        paired=whole.pictures if whole else 0,
        moved=whole.moved if whole else None,
        most_moved=whole.most_moved if whole else 0.0,
        usual=whole.usual if whole else None,
        moved_pictures=moved_pictures,
        slices=judged,
    )


def _beyond_rounding(paired: Paired) -> int:
    """Returns how many pictures' maps the same model did not repeat, at the accuracy of their integrals."""
    here, there = paired.candidate, paired.trainings[0]
    moved = np.abs(here.vectors["grid"] - there.vectors["grid"]).sum(axis=1)
    errors = np.nan_to_num(here.scalars["error_estimate"]) + np.nan_to_num(there.scalars["error_estimate"])
    allowed = ROUNDING + np.where(here.scalars["steps"] == there.scalars["steps"], 0, errors)
    return int((moved > allowed).sum())


def _judge_slices(
    found: Sequence[PairedContrast], thresholds: Thresholds, same_model: bool, can_tell: bool = True
) -> list[PairedSlice]:
    counted = [one.tails for one in found if one.tails]
    pooled = np.sort(np.concatenate([np.zeros(0), *(one.flipped for one in found)]))
    between = _between(found)
    tails = iter(_tail_p_values(counted) if counted else [])
    judged = []
    for one, training in zip(found, between, strict=True):
        p_values = (len(pooled) - np.searchsorted(pooled, one.statistic, side="left") + 1) / (len(pooled) + 1)
        p_values = np.minimum(1, p_values * len(found))
        if not same_model:
            p_values = np.maximum(p_values, np.minimum(1, training * len(found)))
        floor = np.abs(one.others).max(axis=0) if len(one.others) else None
        judgement = _judge_slice(one, p_values, floor, can_tell and (same_model or floor is not None), thresholds)
        if one.tails is not None:
            judgement = _with_tails(judgement, one.tails, np.minimum(1, next(tails) * len(found)), thresholds)
        judged.append(judgement)
    return judged


def _with_tails(judged: PairedSlice, tails: Tails, p_values: np.ndarray, thresholds: Thresholds) -> PairedSlice:
    """Returns the judgement of a slice with that of the pictures that moved far."""
    share = tails.counts / max(1, tails.pictures)
    floor = (tails.usual / np.maximum(tails.exposure, 1)[:, None]).max(axis=0)
    drifted = (p_values <= thresholds.false_discovery_rate) & (share > _CLEAR * floor.max())
    order = np.lexsort((-share, p_values, ~drifted))
    most, side = order[0], round(len(share) ** 0.5)
    metric = PairedMetric(
        TAILS, ATTENTION, bool(drifted.any()), float(share[most]), 0.0, float(floor.max()), float(p_values[most])
    )
    found = [
        PairedTail(
            cell // side,
            cell % side,
            int(tails.counts[cell]),
            float(floor[cell] * tails.pictures),
            bool(tails.balance[cell] > 0),
            float(p_values[cell]),
        )
        for cell in order[drifted[order]].tolist()
    ]
    return dataclasses.replace(judged, metrics=[*judged.metrics, metric], tails=found)


def _judge_slice(
    one: PairedContrast, p_values: np.ndarray, floor: np.ndarray | None, can_tell: bool, thresholds: Thresholds
) -> PairedSlice:
    metrics, cells = [], []
    for name, part in one.columns.items():
        least = thresholds.effects[name] or 0.0
        effect, p_value = np.abs(one.effect[part]), p_values[part]
        above = effect > np.maximum(least, 0 if floor is None else floor[part])
        drifted = above & (p_value <= thresholds.false_discovery_rate) & can_tell
        order = np.lexsort((-effect, p_value, ~drifted))
        most = order[0]
        if not np.isfinite(effect[most]):
            continue
        least_floor = None if floor is None else float(floor[part][most])
        drift = bool(drifted.any())
        metric = PairedMetric(name, TOPICS[name], drift, float(effect[most]), least, least_floor, float(p_value[most]))
        metrics.append(metric)
        if name in CELLS and drift:
            side = round((part.stop - part.start) ** 0.5)
            before, after = one.means[:, part]
            for cell in order[drifted[order]].tolist():
                row, col = divmod(cell, side)
                values = float(before[cell]), float(after[cell]), float(p_value[cell])
                cells.append(PairedCell(row, col, *values, name == "signed_cells"))
    return PairedSlice(**vars(one.key), pictures=one.pictures, moved=one.moved, metrics=metrics, cells=cells, tails=[])


def _between(found: Sequence[PairedContrast]) -> list[np.ndarray]:
    """Returns p-values of each slice's numbers if the candidate were one more training, corrected for their number.

    They are 1 where there are too few trainings to tell.
    """
    p_values = [np.ones(len(one.effect)) for one in found]
    for metric in dict.fromkeys(
        name for one in found for name in one.columns
    ):  # whose numbers vary alike in cells and slices
        chosen = [one.numbers_of(metric) for one in found]
        sizes = np.cumsum([len(numbers) for numbers in chosen])
        if not sum(len(numbers) for numbers in chosen):
            continue
        effects = np.concatenate([(one.effect / one.unit)[own] for one, own in zip(found, chosen, strict=True)])
        errors = np.concatenate(
            [(one.others / one.unit)[:, own] for one, own in zip(found, chosen, strict=True)], axis=1
        )
        tails = np.split(moderated_p_values(effects, errors, together=metric not in CELLS), sizes[:-1])
        for values, own, tail in zip(p_values, chosen, tails, strict=True):
            values[own] = np.minimum(1, tail * len(values))
    return p_values


def _tail_p_values(every: Sequence[Tails]) -> list[np.ndarray]:
    """Returns p-values of how many pictures of each slice moved far in each signed cell, corrected for their number."""
    shape = every[0].usual.shape[0], every[0].counts.size
    counts = np.concatenate([one.counts for one in every])
    usual = np.concatenate([one.usual for one in every], axis=1)
    pictures = np.repeat([one.pictures for one in every], shape[1])
    exposure = np.concatenate([np.repeat(one.exposure[:, None], shape[1], axis=1) for one in every], axis=1)
    p_values = count_p_values(counts, np.maximum(pictures, 1), usual, np.maximum(exposure, 1))
    return [np.minimum(1, part * shape[1]) for part in np.split(p_values, len(every))]
