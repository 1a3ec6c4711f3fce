"""Stored maps come back as exact as their type allows, at any magnitude."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.maps.quantize import quantize, reduce_channels, restore

RNG = np.random.default_rng(3)
# Like an attribution map: signs mixed, magnitudes over several decades.
MAP = (RNG.laplace(size=(64, 64, 3)) * np.exp(RNG.normal(0, 1.5, size=(64, 64, 1))) * 1e-4).astype(np.float32)


def relative_l1(restored: np.ndarray, values: np.ndarray) -> float:
    return float(np.abs(restored.astype(np.float64) - values).sum() / np.abs(values, dtype=np.float64).sum())


def round_trip(values: np.ndarray, dtype: str) -> np.ndarray:
    stored = quantize(values, dtype)
    assert stored.values.dtype == dtype
    assert stored.values.shape == values.shape
    return restore(stored.values, stored.scale)


def test_float32_is_kept_as_it_is():
    np.testing.assert_array_equal(round_trip(MAP, "float32"), MAP)
    assert quantize(MAP, "float32").scale is None


def test_float16_of_an_ordinary_map_needs_no_scale():
    assert 2.0**-9 < np.abs(MAP).max() < 1
    assert quantize(MAP, "float16").scale == 1
    assert relative_l1(round_trip(MAP, "float16"), MAP) < 1e-3  # measured 1.7e-4: 11 bits, fewer below 2**-14


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**-30, 2.0**60])
def test_float16_keeps_maps_that_its_range_does_not_hold(unit):
    values = (MAP.astype(np.float64) * unit).astype(np.float32)
    with np.errstate(over="ignore"):
        unscaled = values.astype(np.float16)
    assert not unscaled.any() or np.isinf(unscaled).any()
    assert relative_l1(round_trip(values, "float16"), values) < 2.0**-11  # half a step of 11 bits

    fraction, _ = np.frexp(quantize(values, "float16").scale)
    assert fraction == 0.5  # a power of two


def test_int8_is_companded():
    error = relative_l1(round_trip(MAP, "int8"), MAP)
    linear = np.rint(MAP / np.abs(MAP).max() * 127) / 127 * np.abs(MAP).max()
    assert error < 0.025  # 1.9 % measured on real maps
    assert relative_l1(linear, MAP) > 3 * error


def test_int8_restores_peak_sign_and_zero():
    values = np.array([-2.0, 0.0, 2.0, 1e-9], np.float32)
    np.testing.assert_array_equal(round_trip(values, "int8"), [-2, 0, 2, 0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_a_map_of_zeros_comes_back(dtype):
    np.testing.assert_array_equal(round_trip(np.zeros((2, 2, 3), np.float32), dtype), np.zeros((2, 2, 3)))


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="dtype: 'int4' is not one of float16, float32, int8"):
        quantize(MAP, "int4")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("sum", [-2, 0]),
        ("abs_sum", [8, 4]),
        ("mean", [-2 / 3, 0]),
        ("max", [2, 2]),
        ("min", [-5, -2]),
        ("all", [[1, 2, -5], [2, -2, 0]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_channels_are_reduced_as_named(channels, expected):  # max is signed: -5 is not taken for its magnitude
    values = np.array([[[1, 2, -5], [2, -2, 0]]], np.float32)
    reduced = reduce_channels(values, channels)
    assert reduced.dtype == np.float32
    np.testing.assert_array_equal(reduced, np.array([expected], np.float32))


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match="channels: 'median' is not one of all, sum, abs_sum, mean, max"):
        reduce_channels(MAP, "median")
