"""Targets that are given with arrays."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.explain.given import given_targets

NAMES = ("cat", "dog", "cow", "hen")


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        *((2, (2,)), (np.int64(3), (3,)), (2.0, (2,)), ("dog", (1,)), (b"dog", (1,)), (np.array("hen"), (3,))),
        *(([0, 0, 1, 0], (2,)), (np.float32([0, 1, 0, 0]), (1,))),
        *(([1, 0, 1, 0], (0, 2)), ([True, False, False, True], (0, 3)), ([2, 0], (2, 0)), (["cow", "cat"], (2, 0))),
        *(([3, 2, 1, 0], (3, 2, 1, 0)), ([2, 2], (2,)), (["cat", 3], (0, 3))),
    ],
)
def test_indices_names_and_rows(given, chosen):
    assert given_targets(given, NAMES) == chosen


@pytest.mark.parametrize("given", [4, -1, 1.5, "horse", [], [0, 0, 0, 0], [0, 9], [[1], [2]], None, "1", np.nan])
def test_what_is_no_class_is_refused(given):
    with pytest.raises(ValueError, match="target"):
        given_targets(given, NAMES)


def test_a_row_of_probabilities_is_not_guessed_at():
    with pytest.raises(ValueError, match=r"target 0\.9"):
        given_targets([0.9, 0.2, 0.8, 0.1], NAMES)


def test_a_name_of_several_classes_and_a_model_without_classes_are_refused():
    with pytest.raises(ValueError, match="stands for classes 0, 1"):
        given_targets("cat", ("cat", "cat"))
    with pytest.raises(ValueError, match="has no classes"):
        given_targets(0, ())
