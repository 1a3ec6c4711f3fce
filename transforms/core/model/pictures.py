"""Fixed pictures, on which a model is tried before it sees anyone's images: the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FIXED = 32
"""How many `fixed_pictures` there are."""

_WAVES = 12
_FLAT = (0.0, 1.0, 0.5)
_NATURAL = 6
_DARK = np.float32(0.3)
_NOISE = 4


def natural_pictures(shape: Sequence[int], count: int) -> np.ndarray:
    """Returns pictures `[count, *shape]` in [0, 1] whose spectrum falls off as that of photographs does.

    Args:
        shape: (height, width, channels).
        count: how many.
    """
    rows, columns = np.mgrid[: shape[0], : shape[1]] / max(shape[:2])
    generator = np.random.default_rng(0)
    pictures = np.zeros((count, *shape))
    for wave in range(1, _WAVES + 1):
        angle, phase = generator.uniform(0, 2 * np.pi, (2, count, 1, 1, shape[2]))
        along = np.cos(angle) * rows[..., None] + np.sin(angle) * columns[..., None]
        pictures += np.sin(2 * np.pi * wave * along + phase) / wave
    low, high = (bound(pictures, axis=(1, 2, 3), keepdims=True) for bound in (np.min, np.max))
    return ((pictures - low) / (high - low)).astype(np.float32)


def fixed_pictures(shape: Sequence[int]) -> np.ndarray:
    """Returns `FIXED` different pictures, float32 `[n, *shape]` in [0, 1]: natural ones first, then extremes.

    Args:
        shape: (height, width, channels).
    """
    generator = np.random.default_rng(1)
    natural = natural_pictures(shape, _NATURAL)
    variants = [natural, 1 - natural, natural[:, ::-1, ::-1], natural * _DARK]
    flat = [np.full(shape, value, np.float32) for value in _FLAT]
    noise = [generator.random(shape, np.float32) for _ in range(_NOISE)]
    contrast = np.round(generator.random(shape, np.float32))
    return np.concatenate([*variants, np.stack([*flat, *noise, contrast])])
