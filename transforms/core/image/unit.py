"""Arrays that people hand over → float32 in [0, 1], by the range of their type or the one they name."""

from __future__ import annotations

import numpy as np

from transforms.core.errors import UsageError
from transforms.core.image.bands import of_array
from transforms.core.image.decoding import DecodeError, Decoding

_HINT = "give value_range=(LOW, HIGH), the values that stand for black and white, or uint8"


def unit_values(
    array: np.ndarray, shape: tuple[int, ...], name: str, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Returns an array as float32 in [0, 1].

    >>> unit_values(np.full((1, 1, 1), 51, np.uint8), (1, 1, 1), "image 0").item()
    0.20000000298023224

    Args:
        array: booleans, integers or floats.
        shape: what it must have.
        name: of the array, for messages.
        value_range: the values that stand for 0 and 1; None takes 0 and 1 for floats, and for booleans and unsigned
            integers of 8 or 16 bits the range of the type.

    Raises:
        UsageError: it has another shape, values outside the range, or a type without a range.
    """
    if array.shape != shape:
        raise UsageError(f"{name} has shape {array.shape}; the model takes {shape}")
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise UsageError(f"{name} has values of type {array.dtype}, which are not numbers")
    floats = array.dtype.kind not in "biu"
    try:
        how = Decoding(value_range=value_range or ((0.0, 1.0) if floats else None))
        numbers, full = of_array(array.astype(np.float32) if floats else array).scaled(how)
    except DecodeError as error:
        if value_range:
            raise UsageError(f"{name}: {error}") from error
        found = f"outside [0, 1], from {array.min():g} to {array.max():g}" if floats else f"of type {array.dtype}"
        raise UsageError(f"{name} has values {found}: {_HINT}") from error
    return np.divide(numbers, np.float32(full), dtype=np.float32)
