"""Robust units: a place's median and spread, and how far a picture lies from its class."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.findings.robust import Place, Robust, places_of, strangeness, sums


def test_places_are_cells_blocks_and_the_frame():
    places = places_of(8)
    assert [sum(place.size == size for place in places) for size in ("cell", "block", "frame")] == [64, 49, 1]
    assert len(places[-1].cells) == 28
    assert Place((0, 1, 8, 9), "block") in places


def test_the_value_of_a_place_is_the_sum_of_its_cells():
    signed = np.arange(16.0)[None]
    values = dict(zip(places_of(4), sums(signed, places_of(4))[0], strict=True))
    assert values[Place((5, 6, 9, 10), "block")] == 30
    assert values[Place((5,), "cell")] == 5
    assert next(value for place, value in values.items() if place.size == "frame") == 120 - 30


def test_a_spread_is_that_of_a_normal_distribution_and_outliers_do_not_move_it():
    values = np.random.default_rng(0).normal(3, 2, (100_000, 1))
    values[:1000] = 1e6
    robust = Robust.of(values, ["cell"])
    assert robust.center[0] == pytest.approx(3, abs=0.05)  # 1 % of outliers move a median by 0.025 spreads
    assert robust.spread[0] == pytest.approx(2, rel=0.05)


def test_a_place_without_spread_counts_like_the_median_place_of_its_size():
    values = np.random.default_rng(0).normal(0, 1, (1000, 5))
    values[:, 0] = 0
    values[:, 4] *= 10
    robust = Robust.of(values, ["cell"] * 4 + ["frame"])
    assert robust.spread[0] == pytest.approx(1, rel=0.1)  # of 1,000 rows
    assert robust.spread[4] == pytest.approx(10, rel=0.1)


def test_rows_that_are_all_alike_are_not_strange():
    assert strangeness(np.ones((10, 4))).tolist() == [0] * 10


def test_strangeness_points_at_the_picture_that_differs_and_passes_over_maps_of_zeros():
    signed = np.random.default_rng(0).normal(0, 1, (200, 16))
    signed[17, 3] = 12
    signed[18] = np.nan
    found = strangeness(signed)
    assert np.isnan(found[18])
    assert np.nanargmax(found) == 17
    assert np.isnan(strangeness(np.full((3, 4), np.nan))).all()
