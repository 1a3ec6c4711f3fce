"""Arrays as values in [0, 1]: by the type, or by the range that is named; nothing outside is taken."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

from transforms.core.errors import UsageError
from transforms.core.image import unit
from transforms.core.image.unit import unit_values

SHAPE = (1, 2, 1)


def array(*values: Any, dtype: Any) -> np.ndarray:
    return np.array(values, dtype).reshape(SHAPE)


def test_the_example() -> None:
    found = doctest.testmod(unit)
    assert (found.failed, found.attempted) == (0, 1)


@pytest.mark.parametrize(
    ("values", "dtype", "value_range", "wanted"),
    [
        ((0, 255), np.uint8, None, (0, 1)),
        ((0, 65535), np.uint16, None, (0, 1)),
        ((False, True), bool, None, (0, 1)),
        ((0.25, 1), np.float16, None, (0.25, 1)),
        ((0.25, 1), np.float64, None, (0.25, 1)),
        ((0, 51), np.uint8, (0, 51), (0, 1)),
        ((0, 51), np.int64, (0, 255), (0, 0.2)),
        ((-1, 0.5), np.float32, (-1, 1), (0, 0.75)),
        ((-32768, 32767), np.int16, (-32768, 32767), (0, 1)),
    ],
)
def test_values_become_those_of_their_range(values: Any, dtype: Any, value_range: Any, wanted: Any) -> None:
    found = unit_values(array(*values, dtype=dtype), SHAPE, "it", value_range)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "dtype", "value_range", "message"),
    [
        ((0, 255), np.float32, None, r"it has values outside \[0, 1\], from 0 to 255: give value_range=\(LOW, HIGH\)"),
        ((0, 1), np.int32, None, "it has values of type int32: give value_range"),
        ((-0.1, 1), np.float64, None, r"it has values outside \[0, 1\], from -0.1 to 1"),
        ((0, np.nan), np.float32, (0, 1), "it: values from nan to nan are not all within value_range 0,1"),
        ((0, 256), np.float32, (0, 255), "it: values from 0 to 256 are not all within value_range 0,255"),
        ((0, 1j), np.complex64, None, "it has values of type complex64, which are not numbers"),
        (("a", "b"), "U1", (0, 1), "it has values of type <U1, which are not numbers"),
    ],
)
def test_what_has_no_range_or_is_outside_is_refused(values: Any, dtype: Any, value_range: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        unit_values(array(*values, dtype=dtype), SHAPE, "it", value_range)
