"""Places of a grid in words."""

from __future__ import annotations

import pytest

from pipeline.names import place_name

FRAME = [(row, col) for row in range(8) for col in range(8) if {row, col} & {0, 7}]


@pytest.mark.parametrize(
    ("cells", "side", "name"),
    [
        ([(7, 0)], 8, "bottom left corner"),
        ([(0, 6), (0, 7), (1, 6), (1, 7)], 8, "top right corner"),
        ([(3, 7)], 8, "right edge"),
        ([(3, 3), (3, 4), (4, 3), (4, 4)], 8, "center"),
        ([(0, 3)], 8, "top edge"),
        (FRAME, 8, "frame"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], 2, "frame"),
        ([], 8, "different places"),
        ([(0, 0)], 1, "center"),
    ],
)
def test_a_place_has_a_name(cells, side, name):
    assert place_name(cells, side) == name
