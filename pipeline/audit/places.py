"""Places of the tails in words: `8,1` of a grid of 8 × 8 → bottom left corner."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.names import metric_name, place_name
from transforms.core.drift.places import ANYWHERE

_CELL = re.compile(r"(\d+),(\d+)")
_TOGETHER = {"frame": "the outermost cells", ANYWHERE: "a place of their own"}


def place_text(place: str, sign: int, places: Sequence[str]) -> str:
    """Returns where a place is, and on which side of the usual.

    Args:
        place: its name.
        sign: 1 for above the usual, -1 for below.
        places: all names, from which the size of the grid follows.

    >>> cells = [f"{row},{col}" for row in range(1, 9) for col in range(1, 9)]
    >>> place_text("8,1", 1, cells), place_text("4,5", -1, cells)
    ('bottom left corner', 'center (row 4, column 5), against the class')
    >>> place_text("border_share", 1, cells), place_text("frame", -1, cells)
    ('share near the border, higher', 'the outermost cells, against the class')
    """
    if place in _TOGETHER:
        return _with_side(_TOGETHER[place], sign)
    cell = _CELL.fullmatch(place)
    if not cell:
        name = metric_name(place)
        return f"{name[0].lower()}{name[1:]}, {'higher' if sign > 0 else 'lower'}"
    side = max(int(number) for other in places if (found := _CELL.fullmatch(other)) for number in found.groups())
    row, col = map(int, cell.groups())
    words, at_corner = place_name([(row - 1, col - 1)], side), side > 1 and {row, col} <= {1, side}
    return _with_side(words if at_corner else f"{words} (row {row}, column {col})", sign)


def _with_side(where: str, sign: int) -> str:
    return where if sign > 0 else f"{where}, against the class"
