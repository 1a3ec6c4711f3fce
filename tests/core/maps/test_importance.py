"""A map's summary against answers by hand, a brute-force count of cells, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.maps.importance import MaskImportance, summarize_map, summarize_mask

RNG = np.random.default_rng(7)
FLOAT32 = 2e-7  # two roundings to float32 of shares of at most 1


def brute_force_grid(values: np.ndarray, grid: int) -> np.ndarray:
    height, width, _ = values.shape
    cells = np.zeros((grid, grid))
    for row in range(height):
        for col in range(width):
            cells[row * grid // height, col * grid // width] += np.abs(values[row, col]).sum()
    return cells / cells.sum()


@pytest.mark.parametrize("shape", [(16, 24, 3), (13, 9, 3), (5, 3, 3), (1, 3, 1)])
@pytest.mark.parametrize("grid", [1, 8, 16])
def test_grid_equals_a_brute_force_count_also_where_cells_are_empty(shape, grid):
    values = RNG.normal(size=shape).astype(np.float32)
    importance = summarize_map(values, grid)
    assert importance.grid.dtype == np.float32
    np.testing.assert_allclose(importance.grid, brute_force_grid(values, grid), atol=FLOAT32)
    assert importance.grid.sum(dtype=np.float64) == pytest.approx(1, abs=grid * grid * FLOAT32)


def test_signed_grid_sums_to_the_signed_share_and_positive_share_splits_it():
    values = RNG.normal(0.3, 1, size=(12, 12, 3)).astype(np.float32)
    importance = summarize_map(values, 4)
    signed_share = values.sum(dtype=np.float64) / np.abs(values).sum(dtype=np.float64)
    assert importance.signed_grid.sum(dtype=np.float64) == pytest.approx(signed_share, abs=16 * FLOAT32)
    assert 2 * importance.positive_share - 1 == pytest.approx(signed_share, abs=FLOAT32)
    assert (np.abs(importance.signed_grid) <= importance.grid + FLOAT32).all()


def test_one_pixel_has_all():
    values = np.zeros((10, 20, 3), np.float32)
    values[2, 15] = [0.5, -0.25, 0.25]
    importance = summarize_map(values, 2)
    np.testing.assert_array_equal(importance.grid, [[0, 1], [0, 0]])
    np.testing.assert_array_equal(importance.signed_grid, [[0, 0.5], [0, 0]])
    np.testing.assert_array_equal(importance.channel_share, [0.5, 0.25, 0.25])
    assert importance.positive_share == 0.75
    assert importance.gini == pytest.approx(1 - 1 / 200, abs=FLOAT32)
    assert importance.entropy == 0
    assert (importance.center_row, importance.center_col) == pytest.approx((0.25, 0.775), abs=FLOAT32)
    assert importance.border_share == 0


def test_zero_is_never_minus_zero():
    values = np.zeros((4, 4, 1))
    values[1, 2], values[3, 3] = 1, -1e-60  # whose share rounds to −0
    one_pixel = summarize_map(np.abs(values))
    assert one_pixel.entropy == 0
    for importance in (one_pixel, summarize_map(values, 4), summarize_map(-np.abs(values), 4)):
        for name, value in vars(importance).items():
            assert not np.signbit(np.asarray(value)[np.asarray(value) == 0]).any(), name


def test_a_uniform_map_is_spread_evenly():
    importance = summarize_map(np.full((10, 20, 3), -2e-6, np.float32), border=0.1)
    assert importance.gini == pytest.approx(0, abs=FLOAT32)
    assert importance.entropy == pytest.approx(1, abs=FLOAT32)
    assert (importance.center_row, importance.center_col) == pytest.approx((0.5, 0.5), abs=FLOAT32)
    assert importance.border_share == pytest.approx(1 - 0.8 * 0.8, abs=FLOAT32)
    assert importance.positive_share == 0


def test_gini_of_two_to_one_by_hand():
    values = np.array([1.0, 2.0], np.float32).reshape(1, 2, 1)
    assert summarize_map(values).gini == pytest.approx(1 / 6, abs=FLOAT32)


def test_shares_do_not_depend_on_the_unit_of_the_score_and_cells_are_in_it():
    values = RNG.normal(size=(16, 16, 3)).astype(np.float32)
    small, large = summarize_map(values * np.float32(2.0**-60)), summarize_map(values * np.float32(2.0**60))
    for name, value in vars(small).items():
        unit = 2.0**120 if name == "cells" else 1
        np.testing.assert_array_equal(value * unit, vars(large)[name], err_msg=name)


@pytest.mark.parametrize("shape", [(16, 24, 3), (13, 9, 3), (5, 3, 1)])
def test_cells_sum_to_the_map_and_are_its_signed_share_times_its_norm(shape):
    values = RNG.normal(size=shape).astype(np.float32) * 1000
    importance, norm = summarize_map(values, 8), np.abs(values).sum(dtype=np.float64)
    assert importance.cells.dtype == np.float32
    np.testing.assert_allclose(importance.cells, importance.signed_grid * norm, atol=norm * FLOAT32)
    assert importance.cells.sum(dtype=np.float64) == pytest.approx(values.sum(dtype=np.float64), abs=norm * FLOAT32)


def test_sums_beyond_float32_are_unknown_and_shares_are_not():
    importance = summarize_map(np.full((4, 4, 3), 1e38, np.float32), 2)
    assert importance.cells is None
    np.testing.assert_array_equal(importance.signed_grid, np.full((2, 2), 0.25))


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_of_a_map_of_zeros_only_the_sums_are_known(zero):
    known = dict(vars(summarize_map(np.full((4, 4, 3), zero, np.float32), 2)))
    np.testing.assert_array_equal(known.pop("cells"), np.zeros((2, 2)))
    assert set(known.values()) == {None}


def test_of_the_faintest_map_everything_is_known():
    values = np.zeros((4, 4, 3), np.float32)
    values[1, 2, 0] = np.float32(1e-45)
    importance = summarize_map(values)
    assert None not in [value if np.isscalar(value) else 0 for value in vars(importance).values()]
    assert (importance.center_row, importance.center_col) == (0.375, 0.625)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    values = np.ones((4, 4, 3), np.float32)
    values[1, 2, 0] = bad
    with pytest.raises(ValueError, match="not finite"):
        summarize_map(values)


def test_a_map_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"height, width, channels.*\(4, 4\)"):
        summarize_map(np.ones((4, 4), np.float32))


def test_the_share_inside_a_mask_and_the_pointing_game_by_hand():
    values = np.zeros((2, 2, 3))
    values[0, 0], values[1, 1], values[0, 1] = [1, -1, 0], [0, 3, 0], [0, 0, -1]
    left, right = np.array([[1, 0], [1, 0]], bool), np.array([[0, 1], [0, 1]], bool)
    assert summarize_mask(values, left) == MaskImportance(pytest.approx(2 / 6), 0)
    assert summarize_mask(values, right) == MaskImportance(pytest.approx(4 / 6), 1)
    assert summarize_mask(values, left | right) == MaskImportance(1, 1)


def test_without_a_mask_or_a_map_nothing_is_known_of_it():
    values = np.ones((2, 2, 3))
    assert summarize_mask(values, None) == MaskImportance(None, None)
    assert summarize_mask(values, np.zeros((2, 2), bool)) == MaskImportance(None, None)
    assert summarize_mask(0 * values, np.ones((2, 2), bool)) == MaskImportance(None, None)
