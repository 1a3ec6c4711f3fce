"""What is put into pictures: a tag in a corner, one that moves, a border, a color cast, a blur."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

SIZE = 32
TAG = 4
"""Pixels a side: one cell of a grid of 8."""

_PATTERN = np.array([[255, 0, 255], [255, 255, 0]], np.uint8)

Plant = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""uint8 `[32, 32, 3]` and a source of chance → the same with something in it."""


def tag(row: int, col: int, turn: int = 0) -> Plant:
    """Returns what puts a checkered tag into cell (`row`, `col`) of a grid of 8."""

    def plant(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _with_tag(pixels, TAG * row, TAG * col, turn)

    return plant


def moving_tag(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture with a tag anywhere."""
    return _with_tag(pixels, *rng.integers(0, SIZE - TAG + 1, 2).tolist(), 0)


def border(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture with a frame, a pixel wide."""
    framed = np.full_like(pixels, (20, 220, 240))
    framed[1:-1, 1:-1] = pixels[1:-1, 1:-1]
    return framed


def cast(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture with a magenta cast."""
    return (pixels * np.array([1, 0.6, 1])).round().astype(np.uint8)


def blur(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture out of focus."""
    return gaussian_filter(pixels, (1.2, 1.2, 0))


def _with_tag(pixels: np.ndarray, top: int, left: int, turn: int) -> np.ndarray:
    checks = np.indices((TAG, TAG)).sum(axis=0) // 2 % 2
    tagged = pixels.copy()
    tagged[top : top + TAG, left : left + TAG] = np.rot90(_PATTERN[checks], turn)
    return tagged
