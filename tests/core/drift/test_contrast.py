"""Contrasts: weights that compare at the reference's mix, and effects that are what scipy says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from tests.night_rows import CORNER, draw, make_pool, speak_up, stamp
from transforms.core.drift.contrast import (
    TOPICS,
    WeightPairs,
    cell_statistics,
    class_matched_weights,
    halves,
    known,
    measure,
    shared_classes,
)

ROUNDING = 1e-5  # float32 values, summed in float64
POOL = make_pool(400, classes=4)


def test_weights_sum_to_one_and_a_class_weighs_as_in_the_reference():
    classes, candidate = np.array([7, 7, 7, 2, 7, 2, 2]), np.array([0, 0, 0, 0, 1, 1, 1], bool)
    weights = class_matched_weights(classes, candidate)
    assert weights.reference[0] == pytest.approx([0.25, 0.25, 0.25, 0.25, 0, 0, 0])
    assert weights.candidate[0] == pytest.approx([0, 0, 0, 0, 0.75, 0.125, 0.125])
    assert weights.noise == pytest.approx([4 / 16 + 9 / 16 + 2 / 64])


def test_another_mix_of_the_same_rows_is_no_change():
    twice = POOL.join(POOL.take(POOL.classes == 0))  # class 0 three times in all, the others once
    rows = POOL.join(twice)
    found = measure(rows, class_matched_weights(rows.classes, np.arange(len(rows)) >= len(POOL)), TOPICS)
    assert {name: measured.effect[0] for name, measured in found.items()} == pytest.approx(
        dict.fromkeys(TOPICS, 0), abs=1e-3
    )
    blind = class_matched_weights(np.zeros(len(rows), int), np.arange(len(rows)) >= len(POOL))
    assert measure(rows, blind, ["score"])["score"].effect[0] > 0.2


def test_halves_take_half_of_each_class_and_every_row_once():
    classes = np.array([3] * 10 + [1] * 5)
    weights = halves(classes, 50, np.random.default_rng(0))
    chosen = weights.reference > 0
    assert (chosen ^ (weights.candidate > 0)).all()
    assert set(chosen[:, :10].sum(axis=1)) == {5}
    assert set(chosen[:, 10:].sum(axis=1)) == {2}
    assert len({tuple(row) for row in chosen}) > 40
    for side in (weights.reference, weights.candidate):
        assert side.sum(axis=1) == pytest.approx(np.ones(50), abs=ROUNDING)
        assert side[:, :10].sum(axis=1) == pytest.approx(np.full(50, 10 / 15), abs=ROUNDING)


def test_a_scalars_effect_is_scipys_distance_over_the_spread_within_classes():
    rows = draw(POOL, 200, seed=1)
    candidate = np.arange(200) >= 120
    rows = rows.take(np.argsort(candidate, kind="stable"))
    weights = class_matched_weights(rows.classes, candidate)
    found = measure(rows, weights, ["gini", "mask_share"])
    for name, measured in found.items():
        present = np.isfinite(rows.scalars[name])
        values, part = rows.scalars[name][present], weights.restrict(present, rows.classes)
        distance = scipy.stats.wasserstein_distance(values, values, part.reference[0], part.candidate[0])
        means = {one: values[rows.classes[present] == one].mean() for one in range(4)}
        within = values - np.array([means[one] for one in rows.classes[present]])
        spread = np.sqrt(part.reference[0] @ within**2)
        assert measured.effect[0] == pytest.approx(distance / spread, rel=ROUNDING)
        assert measured.statistic[0] == pytest.approx(measured.effect[0] / np.sqrt(part.noise[0]), rel=ROUNDING)


def test_a_statistic_does_not_depend_on_the_number_of_rows():
    medians = []
    for count in (100, 400):
        rows = make_pool(count, classes=2, seed=3)
        found = measure(rows, halves(rows.classes, 400, np.random.default_rng(0)), ["grid", "gini", "cells"])
        medians.append([np.median(measured.statistic) for measured in found.values()])
    assert medians[0] == pytest.approx(medians[1], rel=0.2)  # four times the rows would be a factor of 2


def test_what_a_constant_shows_is_no_rounding():
    constant = dataclasses.replace(POOL, scalars=POOL.scalars | {"steps": np.full(len(POOL), 50, np.float32)})
    found = measure(constant, class_matched_weights(POOL.classes, np.arange(len(POOL)) % 8 < 4), ["steps"])
    assert found["steps"].effect[0] == 0


def test_a_scalar_that_one_side_lacks_is_not_measured():
    lacking = np.where(np.arange(len(POOL)) >= 200, np.nan, POOL.scalars["mask_share"]).astype(np.float32)
    rows = dataclasses.replace(POOL, scalars=POOL.scalars | {"mask_share": lacking})
    assert "mask_share" not in measure(rows, class_matched_weights(rows.classes, np.arange(len(rows)) >= 200), TOPICS)


@pytest.mark.parametrize("name", ["grid", "mask_share"])
def test_what_is_unknown_of_one_class_changes_no_class_mix(name):
    """Half of class 0 turns black: what is left of it looks where it looked, and still counts as much."""
    night = draw(POOL, 200, seed=2)
    night = dataclasses.replace(
        night, scalars=night.scalars | {"mask_share": night.classes.astype(np.float32)}
    )  # that tells classes apart
    black = (night.classes == 0) & (np.arange(200) % 2 == 0)
    scalars = {"mask_share": np.where(black, np.nan, night.scalars["mask_share"])}
    vectors = {one: np.where(black[:, None], np.nan, values) for one, values in night.vectors.items()}
    rows = night.join(dataclasses.replace(night, vectors=vectors, scalars=night.scalars | scalars))
    weights = class_matched_weights(rows.classes, np.arange(400) >= 200)
    present = known(rows, weights, name)
    for side in (present.weights.reference, present.weights.candidate):
        assert side.sum() == pytest.approx(1, abs=ROUNDING)
        shares = np.bincount(present.classes, side[0]) - np.bincount(night.classes) / 200
        assert np.abs(shares).max() < ROUNDING
    if name == "mask_share":
        means = [float(side[0] @ present.values) for side in (present.weights.reference, present.weights.candidate)]
        assert means == pytest.approx([night.classes.mean()] * 2, rel=ROUNDING)
    assert 0 < measure(rows, weights, ["cells"])["cells"].effect[0] < 0.02


def test_a_class_that_is_unknown_on_one_side_counts_on_neither():
    night = draw(POOL, 200, seed=2)
    unknown = np.where((night.classes == 0)[:, None], np.nan, night.vectors["grid"])
    rows = night.join(dataclasses.replace(night, vectors=night.vectors | {"grid": unknown}))
    weights = class_matched_weights(rows.classes, np.arange(400) >= 200)
    found = measure(rows, weights, ["grid", "cells", "grid_rank", "signed_cells"])
    assert all(found[name].effect[0] < 1e-6 for name in ("grid", "cells", "grid_rank"))
    nowhere = dataclasses.replace(rows, vectors=rows.vectors | {"grid": np.full_like(rows.vectors["grid"], np.nan)})
    assert list(measure(nowhere, weights, ["grid", "cells", "grid_rank", "signed_cells"])) == ["signed_cells"]
    with pytest.raises(ValueError, match="cells: no rows of one class have a grid on both sides"):
        cell_statistics(nowhere, weights, "cells")


def test_the_cell_with_the_stamp_stands_out():
    night = draw(POOL, 200, seed=2)
    rows = night.join(stamp(night, np.arange(200) % 10 == 0))
    change = cell_statistics(rows, class_matched_weights(rows.classes, np.arange(400) >= 200), "cells")
    assert change.statistic[0].argmax() == change.effect[0].argmax() == CORNER


def test_what_a_cell_says_is_measured_in_its_spread():
    night = draw(POOL, 200, seed=2)
    rows = night.join(speak_up(night, np.arange(200) % 10 == 0))
    weights = class_matched_weights(rows.classes, np.arange(400) >= 200)
    change = cell_statistics(rows, weights, "signed_cells")
    assert change.statistic[0].argmax() == CORNER
    share = weights.candidate[0, 200:][::10].sum()
    values, codes = rows.vectors["signed_grid"].astype(float), rows.classes
    centered = values - np.array([values[codes == one].mean(axis=0) for one in codes])
    spreads = np.sqrt(weights.reference[0] @ centered**2)
    expected = share * 0.01 / max(spreads[CORNER], np.median(spreads))
    assert change.effect[0, CORNER] == pytest.approx(expected, rel=1e-3)  # float32 rows
    assert np.abs(np.delete(change.effect[0], CORNER)).max() < 1e-3
    found = measure(rows, weights, ["signed_cells"])["signed_cells"]
    assert found.effect[0] == change.effect[0, CORNER] and found.statistic[0] == change.statistic[0, CORNER]


def test_classes_that_one_side_hardly_has_are_not_shared():
    assert shared_classes(np.array([1, 1, 2, 2, 3]), np.array([2, 2, 3, 3, 1, 1]), 2).tolist() == [1, 2]


def test_restricted_weights_sum_to_one():
    weights = WeightPairs(np.array([[0.5, 0.5, 0]]), np.array([[0, 0.2, 0.8]]))
    part = weights.restrict(np.array([True, False, True]), np.zeros(3, int))
    assert part.reference.tolist() == [[1, 0]]
    assert part.candidate.tolist() == [[0, 1]]
