"""Shifts follow from a picture's content and the baseline's number alone, and are spread evenly."""

from __future__ import annotations

import numpy as np

from transforms.core.explain.content import FIRST_MAP, SECOND_MAP, shift_of

CONTENTS = [f"{number:032x}" for number in range(4000)]


def test_shifts_are_spread_evenly_and_independent_of_each_other():
    first, second = (np.array([shift_of(each, 0, draw) for each in CONTENTS]) for draw in (FIRST_MAP, SECOND_MAP))
    other = np.array([shift_of(each, 1) for each in CONTENTS])
    for shifts in (first, second, other):
        assert (shifts >= 0).all()
        assert (shifts < 1).all()
        counts = np.histogram(shifts, 10, (0, 1))[0]
        assert np.abs(counts - 400).max() < 80  # four standard deviations of a count
    for one, two in ((first, second), (first, other)):
        assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(len(CONTENTS))


def test_the_shift_of_a_picture_is_the_same_everywhere():
    """As the hash gives it on any machine: runs of earlier versions have these nodes."""
    assert shift_of("0" * 32, 0) == 0.8300937879117454
    assert shift_of("0" * 32, 1, SECOND_MAP) == 0.5331660570784209
