"""The same pictures compared one by one: a harmless training is none of a shortcut, and too few trainings say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.audit.thresholds import load_thresholds
from tests.night_rows import CORNER, SIDE, draw, make_pool, retrain, speak_up
from transforms.core.drift.contrast import Rows
from transforms.core.drift.pair_contrast import Paired
from transforms.core.drift.pairs import BOTH, DATA, MODEL, NEITHER, TAILS, Again, PairsAudit, judge_pairs, name_case
from transforms.core.statistics.slices import Slice

THRESHOLDS = load_thresholds()
PICTURES = draw(make_pool(1200, classes=4), 600, seed=1)
CLASS = 2
TRAININGS = [retrain(PICTURES, seed) for seed in range(5)]


def again(trainings: int, same_model: bool = False) -> Again:
    return Again(600, 600, 0, same_model, trainings, True)


def judged(candidate: Rows, trainings: Sequence[Rows], same_model: bool = False) -> PairsAudit:
    slices = {Slice("all"): np.arange(600)}
    slices |= {Slice("label", str(one)): np.flatnonzero(PICTURES.classes == one) for one in range(4)}
    return judge_pairs(again(len(trainings), same_model), Paired(slices, candidate, trainings), THRESHOLDS)


def drifted(audit: PairsAudit) -> dict[str, set[str]]:
    found = {one.value: {metric.name for metric in one.metrics if metric.drift} for one in audit.slices}
    return {value: names for value, names in found.items() if names}


def shortcut(rows: Rows, share: float, by: float = 0.01) -> Rows:
    mine = np.flatnonzero(rows.classes == CLASS)
    return speak_up(rows, mine[: round(share * len(mine))], by)


@pytest.mark.parametrize(
    ("pictures", "same_model", "case"),
    [(600, True, NEITHER), (0, True, DATA), (300, True, DATA), (540, False, MODEL), (0, False, BOTH)],
)
def test_the_four_cases_are_told_apart(pictures, same_model, case):
    assert name_case(dataclasses.replace(again(1, same_model), pictures=pictures)) == case


@pytest.mark.parametrize("seed", range(10, 16))
def test_a_sixth_harmless_training_is_no_drift_though_it_differs_everywhere(seed):
    audit = judged(retrain(PICTURES, seed), TRAININGS)
    assert drifted(audit) == {}
    low, high = audit.usual
    assert 0.8 * low < audit.moved < 1.2 * high  # trainings of the same kind
    assert audit.moved > 0.1
    assert 0 < audit.most_moved < 0.02


@pytest.mark.parametrize("share", [0.03, 0.05, 0.1])
def test_a_shortcut_of_few_pictures_is_found_and_where_by_those_that_moved_far(share):
    audit = judged(shortcut(retrain(PICTURES, 10), share), TRAININGS)
    found = drifted(audit)
    assert TAILS in found[str(CLASS)]
    assert set(found) <= {str(CLASS), ""}
    (of_class,) = (one for one in audit.slices if one.value == str(CLASS))
    (tail,) = of_class.tails
    assert (tail.row, tail.col, tail.speaks_for) == (0, SIDE - 1, True)
    assert tail.pictures == round(share * (PICTURES.classes == CLASS).sum())
    assert tail.usual == 0


def test_a_shift_of_a_whole_class_is_found_in_its_mean():
    audit = judged(shortcut(retrain(PICTURES, 10), 1, 0.002), TRAININGS)
    assert "signed_cells" in drifted(audit)[str(CLASS)]
    (of_class,) = (one for one in audit.slices if one.value == str(CLASS))
    assert [(cell.row, cell.col) for cell in of_class.cells] == [divmod(CORNER, SIDE)]
    assert of_class.cells[0].candidate - of_class.cells[0].reference == pytest.approx(0.002, abs=0.0005)


@pytest.mark.parametrize("trainings", [1, 2])
def test_fewer_than_three_trainings_cannot_tell(trainings):
    audit = judged(shortcut(retrain(PICTURES, 10), 1), TRAININGS[:trainings])
    assert drifted(audit) == {}
    assert all(metric.floor is None for one in audit.slices for metric in one.metrics)
    assert (audit.usual is None) == (trainings == 1)
    assert audit.moved > 0.1


def test_the_same_model_repeats_its_maps_or_something_else_changed():
    audit = judged(PICTURES, [PICTURES], same_model=True)
    assert (audit.moved, audit.most_moved, audit.moved_pictures) == (0, 0, 0)
    assert drifted(audit) == {}
    rounded = dataclasses.replace(
        PICTURES, vectors=PICTURES.vectors | {"grid": PICTURES.vectors["grid"] * np.float32(1.0005)}
    )
    assert judged(rounded, [PICTURES], same_model=True).moved_pictures == 0
    other = judged(retrain(PICTURES, 3), [PICTURES], same_model=True)
    assert other.moved_pictures == 600
    shifted = judged(shortcut(PICTURES, 1), [PICTURES], same_model=True)
    assert "signed_cells" in drifted(shifted)[str(CLASS)]


def test_other_pictures_of_the_same_ids_are_no_change_of_the_model():
    slices = {Slice("label", str(CLASS)): np.flatnonzero(PICTURES.classes == CLASS)}
    moved = shortcut(retrain(PICTURES, 3), 1)
    by_id = dataclasses.replace(again(1, same_model=True), by_content=False)
    assert drifted(judge_pairs(by_id, Paired(slices, moved, [PICTURES]), THRESHOLDS)) == {}
    assert drifted(judge_pairs(by_id, Paired(slices, shortcut(PICTURES, 1), [PICTURES]), THRESHOLDS)) != {}
    by_content = dataclasses.replace(by_id, by_content=True)
    assert drifted(judge_pairs(by_content, Paired(slices, moved, [PICTURES]), THRESHOLDS)) != {}


def test_other_numbers_of_steps_may_move_a_map_by_the_error_of_both():
    error = np.full(600, 0.13, np.float32)
    one, other = (
        dataclasses.replace(
            retrain(PICTURES, 3) if steps else PICTURES,
            scalars=PICTURES.scalars | {"error_estimate": error, "steps": np.full(600, steps, np.float32)},
        )
        for steps in (0, 8)
    )
    moved = np.abs(one.vectors["grid"] - other.vectors["grid"]).sum(axis=1)
    beyond = (moved > 0.26 + 2e-3).sum()
    assert 0 < beyond < 600
    assert judged(one, [other], same_model=True).moved_pictures == beyond


def test_pictures_that_a_training_lacks_are_left_out_of_it():
    lacking = TRAININGS[0]
    gone = np.arange(600) % 3 == 0
    vectors = {name: np.where(gone[:, None], np.nan, values) for name, values in lacking.vectors.items()}
    scalars = {name: np.where(gone, np.nan, values) for name, values in lacking.scalars.items()}
    lacking = dataclasses.replace(lacking, vectors=vectors, scalars=scalars)
    assert drifted(judged(retrain(PICTURES, 10), [lacking, *TRAININGS[1:]])) == {}
    assert str(CLASS) in drifted(judged(shortcut(retrain(PICTURES, 10), 0.05), [lacking, *TRAININGS[1:]]))


def test_without_pictures_that_come_again_only_the_case_is_told():
    audit = judge_pairs(Again(50, 0, 0, False, 1, True), Paired({}, PICTURES, []), THRESHOLDS)
    assert (audit.case, audit.share, audit.slices, audit.moved, audit.moved_pictures) == (BOTH, 0, [], None, None)
