"""Drift: no alarm where nothing has changed, an alarm with its place where something has.

The benchmark `benchmarks/nights.py` counts alarms over many nights of real attributions; here a few synthetic nights
hold the properties.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from pipeline.audit.thresholds import load_thresholds
from tests.night_rows import CORNER, SIDE, draw, make_pool, pairs, retrain, speak_up, stamp
from transforms.core.drift.contrast import ATTENTION, CONVERGENCE, SCALARS, SCORE, TOPICS, Rows
from transforms.core.drift.judge import Pair, control_false_discoveries, judge
from transforms.core.drift.slice_audit import SliceAudit
from transforms.core.statistics.slices import Slice

THRESHOLDS = load_thresholds()
POOL = make_pool(1600)
REFERENCE = draw(POOL, 512, seed=1)
CLASS = 3


def blackened(rows: Rows, chosen: np.ndarray) -> Rows:
    """Returns the rows with maps of the `chosen` ones that are zero everywhere, of which nothing is known."""
    names = [name for name, topic in TOPICS.items() if topic == ATTENTION and name in SCALARS]
    scalars = {name: np.where(chosen, np.nan, rows.scalars[name]).astype(np.float32) for name in names}
    vectors = {name: np.where(chosen[:, None], np.nan, values) for name, values in rows.vectors.items()}
    return dataclasses.replace(rows, vectors=vectors, scalars=rows.scalars | scalars)


def test_maps_that_are_zero_everywhere_raise_no_alarm():
    night = draw(POOL, 512, seed=3)
    chosen = (night.classes == CLASS) & (np.arange(512) % 2 == 0)
    assert drifted(judge(pairs(blackened(night, chosen), REFERENCE), THRESHOLDS)) == {}


@pytest.mark.parametrize("side", [0, 1])
def test_a_slice_of_which_no_map_is_known_has_no_grid(side):
    nights = [draw(POOL, 512, seed=3), REFERENCE]
    nights[side] = blackened(nights[side], nights[side].classes == CLASS)
    audits = {f"{one.kind} {one.value}".strip(): one for one in judge(pairs(*nights), THRESHOLDS)}
    black = audits.pop(f"label {CLASS}")
    assert black.grid is None
    assert {metric.topic for metric in black.metrics} == {SCORE, CONVERGENCE}
    assert all(one.grid is not None and one.state == "fine" for one in audits.values())


def drifted(audits: list[SliceAudit]) -> dict[str, SliceAudit]:
    return {f"{one.kind} {one.value}".strip(): one for one in audits if one.state == "drift"}


def stamped(seed: int, share: float = 0.1) -> tuple:
    night = draw(POOL, 512, seed=seed)
    mine = np.flatnonzero(night.classes == CLASS)
    chosen = np.random.default_rng(seed).choice(mine, round(share * len(mine)), replace=False)
    return stamp(night, np.isin(np.arange(512), chosen), seed)


@pytest.mark.parametrize("seed", range(2, 7))
def test_a_night_of_the_same_pictures_raises_no_alarm(seed):
    assert drifted(judge(pairs(draw(POOL, 512, seed=seed), REFERENCE), THRESHOLDS)) == {}


@pytest.mark.parametrize("seed", range(2, 7))
def test_a_stamp_on_a_tenth_of_a_class_is_found_and_where(seed):
    found = drifted(judge(pairs(stamped(seed), REFERENCE), THRESHOLDS))
    assert list(found) == [f"label {CLASS}"]
    grid = found[f"label {CLASS}"].grid
    assert [(cell.row, cell.col) for cell in grid.changed] == [(0, SIDE - 1)]
    assert grid.changed[0].candidate == grid.candidate[CORNER] > grid.changed[0].reference == grid.reference[CORNER]
    assert grid.signed is None


@pytest.mark.parametrize("seed", range(2, 5))
def test_what_speaks_for_a_tenth_of_a_class_is_found_and_where(seed):
    night = draw(POOL, 512, seed=seed)
    mine = np.flatnonzero(night.classes == CLASS)
    chosen = np.random.default_rng(seed).choice(mine, round(0.1 * len(mine)), replace=False)
    found = drifted(judge(pairs(speak_up(night, chosen), REFERENCE), THRESHOLDS))
    assert list(found) == [f"label {CLASS}"]
    assert [metric.name for metric in found[f"label {CLASS}"].metrics if metric.drift] == ["signed_cells"]
    grid = found[f"label {CLASS}"].grid
    (cell,) = grid.changed
    assert (cell.reference, cell.candidate) == (grid.signed.reference[CORNER], grid.signed.candidate[CORNER])
    assert (cell.row, cell.col, cell.signed) == (0, SIDE - 1, True)
    assert cell.candidate - cell.reference == pytest.approx(0.001, rel=0.5)  # a tenth of 0.01


def test_signed_grids_are_told_where_a_cell_s_share_changed_too():
    night = stamped(2)
    found = drifted(judge(pairs(speak_up(night, night.classes == CLASS), REFERENCE), THRESHOLDS))
    grid = found[f"label {CLASS}"].grid
    changed = [(cell.row, cell.col, cell.signed) for cell in grid.changed]
    assert sorted(changed) == [(0, SIDE - 1, False), (0, SIDE - 1, True)]
    assert grid.signed.candidate[CORNER] > grid.signed.reference[CORNER]


def test_effects_and_significance_are_both_needed():
    night = stamped(2)
    deaf = dataclasses.replace(THRESHOLDS, effects=dict.fromkeys(THRESHOLDS.effects, 9.0))
    assert drifted(judge(pairs(night, REFERENCE), deaf)) == {}
    keen = dataclasses.replace(THRESHOLDS, effects=dict.fromkeys(THRESHOLDS.effects, 0.0))
    assert drifted(judge(pairs(draw(POOL, 512, seed=2), REFERENCE), keen)) == {}
    strict = dataclasses.replace(THRESHOLDS, false_discovery_rate=0.0)
    assert drifted(judge(pairs(night, REFERENCE), strict)) == {}


def test_a_change_of_the_class_mix_alone_is_no_drift():
    night = POOL.take(np.random.default_rng(5).permutation(np.flatnonzero(POOL.classes < 4))[:512])
    assert drifted(judge(pairs(night, REFERENCE), THRESHOLDS)) == {}
    blind = [
        dataclasses.replace(
            pair, **{side: _without_classes(getattr(pair, side)) for side in ("reference", "candidate")}
        )
        for pair in pairs(night, REFERENCE)
    ]
    assert "all" in drifted(judge(blind, THRESHOLDS))


def _without_classes(rows):
    return dataclasses.replace(rows, classes=np.zeros(len(rows), int))


def test_a_change_of_a_scalar_is_found_in_its_slice_and_in_all():
    night = draw(POOL, 512, seed=4)
    scores = night.scalars["score"] + np.where(night.classes == CLASS, 1.5, 0).astype(np.float32)
    found = drifted(
        judge(pairs(dataclasses.replace(night, scalars=night.scalars | {"score": scores}), REFERENCE), THRESHOLDS)
    )
    assert f"label {CLASS}" in found
    metrics = [metric for metric in found[f"label {CLASS}"].metrics if metric.drift]
    assert [metric.name for metric in metrics] == ["score"]
    assert metrics[0].topic == "score"
    assert metrics[0].candidate - metrics[0].reference == pytest.approx(1.5, abs=0.5)  # two means of 64 of sigma 1
    assert found[f"label {CLASS}"].grid.changed == []


def test_few_rows_say_so_and_new_and_gone_slices_too():
    night = draw(POOL, 512, seed=2)
    keys = [Slice("label", text) for text in ("few", "new", "gone")]
    sizes = [(29, 512), (0, 512), (512, 0)]
    audits = judge(
        [
            Pair(key, REFERENCE.take(np.arange(there)), night.take(np.arange(here)), there, here)
            for key, (there, here) in zip(keys, sizes, strict=True)
        ],
        THRESHOLDS,
    )
    assert [one.state for one in audits] == ["too few", "new", "gone"]
    assert all(one.metrics == [] and one.grid is None for one in audits)


def test_what_cannot_be_compared_within_a_slice_is_told():
    night = draw(POOL, 512, seed=2)
    night = night.take((night.classes != CLASS) | (np.cumsum(night.classes == CLASS) <= 3))
    (one, *_) = judge(pairs(night, REFERENCE), THRESHOLDS)
    assert one.compared_share == pytest.approx(1 - 3 / len(night))


def test_nights_that_differ_among_themselves_make_a_difference_ordinary():
    def shifted(seed: int, night: int, shift: float):
        rows = draw(POOL, 512, seed=seed, night=night)
        gini = (rows.scalars["gini"] + shift).astype(np.float32)
        return dataclasses.replace(rows, scalars=rows.scalars | {"gini": gini})

    spread = float(np.std(POOL.scalars["gini"]))
    shifts = [-1.0, 1.0, -0.8, 0.8, 0.0]
    candidate = shifted(77, 0, 0.7 * spread)
    restless = [shifted(seed, seed, shift * spread) for seed, shift in enumerate(shifts)]
    quiet = [shifted(seed, seed, 0.0) for seed in range(5)]
    assert drifted(judge(pairs(candidate, *restless), THRESHOLDS)) == {}
    assert "all" in drifted(judge(pairs(candidate, *quiet), THRESHOLDS))


def test_the_order_of_slices_does_not_matter():
    forward = pairs(stamped(3), REFERENCE)
    assert judge(forward, THRESHOLDS) == judge(forward[::-1], THRESHOLDS)[::-1]


def test_false_discoveries_are_controlled_as_scipy_does():
    rng = np.random.default_rng(0)
    for count in (1, 7, 200):
        p_values = rng.uniform(size=count) ** 3
        expected = scipy.stats.false_discovery_control(p_values)
        assert control_false_discoveries(p_values.tolist()) == expected.tolist()
    assert control_false_discoveries([]) == []


def test_a_p_value_at_the_rate_that_all_share_is_significant():
    for count in range(1, 200):
        assert set(control_false_discoveries([0.01] * count)) == {0.01}
    assert min(control_false_discoveries([0.01, 1.0])) > 0.01


def trained(seed: int) -> Rows:
    """Returns the night of one of the trainings, of pictures of its own."""
    return draw(retrain(POOL, seed), 512, seed, night=seed)


def test_one_more_training_is_no_drift_though_trainings_differ_by_more_than_halves():
    trainings = [trained(seed) for seed in range(5)]
    assert drifted(judge(pairs(trained(7), *trainings), THRESHOLDS, trainings=True)) == {}
    candidate = trained(8)
    found = drifted(judge(pairs(speak_up(candidate, candidate.classes == CLASS), *trainings), THRESHOLDS, True))
    assert f"label {CLASS}" in found
    assert [(cell.row, cell.col) for cell in found[f"label {CLASS}"].grid.changed] == [divmod(CORNER, SIDE)]


def test_two_trainings_are_too_few_to_judge_a_third():
    candidate = speak_up(trained(7), np.ones(512, bool))
    assert drifted(judge(pairs(candidate, trained(0), trained(1)), THRESHOLDS, trainings=True)) == {}
    assert drifted(judge(pairs(candidate, trained(0), trained(1)), THRESHOLDS)) != {}
