"""Integers in words: sums and products of rows by groups are those of Python's integers, of any size.

The theory: a whole number is cut into limbs of 22 bits, whose products and their sums fit into 64 bits; these are
shifted and added with carry. A float64 sum of the same numbers is not exact, which the last test shows.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.core.statistics import words

NUMBERS = st.one_of(st.integers(-(2**45), 2**45), st.integers(-(2**52), 2**52).map(lambda n: n << 60), st.just(0))
"""Whole numbers that float64 holds."""


def of_rows(values: np.ndarray) -> np.ndarray:
    """One group of all rows."""
    return values.sum(axis=0, keepdims=True)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**200), 2**200), min_size=1, max_size=5))
def test_integers_come_back_from_their_words(numbers):
    assert words.integers(words.words_of(numbers)) == numbers


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**200), 2**200), st.integers(-(2**200), 2**200)), min_size=1, max_size=4))
def test_sums_are_exact_and_take_the_fewest_words(pairs):
    ones, others = ([pair[side] for pair in pairs] for side in (0, 1))
    found = words.add_words(words.words_of(ones), words.words_of(others))
    wanted = [one + other for one, other in pairs]
    assert words.integers(found) == wanted
    np.testing.assert_array_equal(found, words.words_of(wanted))


@pytest.mark.parametrize("numbers", [[2**64 - 1], [2**128 - 1], [-1], [-(2**64)], [2**63, -(2**63)]])
def test_carries_run_through_all_words(numbers):
    for more in (1, -1, 2**64 - 1):
        found = words.add_words(words.words_of(numbers), words.words_of([more] * len(numbers)))
        assert words.integers(found) == [number + more for number in numbers]


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_sums_of_rows_squares_and_products_are_exact(pairs):
    ones, others = ([pair[side] for pair in pairs] for side in (0, 1))
    one, other = (words.limbs_of(np.array(column, np.float64)[:, None]) for column in (ones, others))
    assert words.integers(words.group_sums(one, of_rows)[0]) == [sum(ones)]
    assert words.integers(words.group_squares(one, of_rows)[0]) == [sum(number**2 for number in ones)]
    found = words.group_products(one, other, of_rows)[0]
    assert words.integers(found) == [sum(number * factor for number, factor in pairs)]


def test_as_many_rows_as_are_allowed_do_not_overflow():
    rows = words.MOST_ROWS
    for number in (2**45 - 1, -(2**45) + 1, 2**45 - 2**20, 2**67 - 2**30):
        limbs = words.limbs_of(np.full((rows, 1), float(number)))
        assert words.integers(words.group_squares(limbs, of_rows)[0]) == [rows * int(float(number)) ** 2]


def test_what_is_not_finite_has_no_sum():
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            words.units_of(np.array([value]))


def test_floats_would_not_do():
    numbers = np.array([2.0**60, 1.0, -(2.0**60)])
    assert numbers.sum() != 1
    assert words.integers(words.group_sums(words.limbs_of(numbers[:, None]), of_rows)[0]) == [1]
