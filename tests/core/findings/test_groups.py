"""Groups: found with class, place and pictures where they are planted, none where rows are merely heavy-tailed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from transforms.core.findings.groups import find_groups

CORNER = 56


def make_classes(seed: int, classes: int = 8, rows: int = 300) -> list[np.ndarray]:
    """Returns rows of a 8 × 8 grid, heavier-tailed in the middle, each class at a place of its own."""
    rng = np.random.default_rng(seed)
    axis = np.arange(8) - 3.5
    middle = np.exp(-(axis[:, None] ** 2 + axis**2) / 12).ravel()
    found = []
    for number in range(classes):
        center = np.random.default_rng(1000 + number).normal(0, 0.3, 64) * middle
        scale = rng.lognormal(0, 0.3, (rows, 1)) * (0.3 + middle)
        found.append(center + scale * rng.standard_t(6, (rows, 64)))
    return found


def plant(classes: Sequence[np.ndarray], number: int, count: int, cell: int | None, by: float = 8.0) -> np.ndarray:
    """Puts `by` into one cell of `count` pictures of a class, another for each if none is given; returns which."""
    rng = np.random.default_rng(7)
    chosen = rng.choice(len(classes[number]), count, replace=False)
    cells = rng.integers(0, 64, count) if cell is None else cell
    classes[number][chosen, cells] += by
    return np.sort(chosen)


def test_without_groups_nothing_is_found():
    assert sum(len(find_groups(make_classes(seed))) for seed in range(10)) == 0


@pytest.mark.parametrize("count", [6, 30, 100])
def test_a_group_is_found_with_class_place_and_pictures(count):
    classes = make_classes(0)
    chosen = plant(classes, 3, count, CORNER)
    (group,) = find_groups(classes)
    assert (group.way, group.number, group.cells, group.sign) == ("tail", 3, (CORNER,), 1)
    assert len(np.intersect1d(group.members, chosen)) >= 0.8 * count
    assert len(np.intersect1d(group.members, chosen)) >= 0.8 * len(group.members)
    assert group.usual < 0.1 * count
    assert (group.z(classes[3])[group.members] >= group.threshold).all()
    assert group.z(classes[3])[group.members[0]] == group.z(classes[3]).max()


def test_what_speaks_against_the_class_is_found():
    classes = make_classes(1)
    plant(classes, 2, 20, CORNER, by=-8)
    (group,) = find_groups(classes)
    assert (group.number, group.cells, group.sign) == (2, (CORNER,), -1)


def test_two_groups_do_not_hide_each_other():
    classes = make_classes(2)
    plant(classes, 2, 30, CORNER)
    plant(classes, 5, 30, 7)
    assert {(group.number, group.cells) for group in find_groups(classes)} == {(2, (CORNER,)), (5, (7,))}


def test_a_group_whose_place_differs_is_found():
    classes = make_classes(3)
    chosen = plant(classes, 4, 40, None, by=12)
    (group,) = find_groups(classes)
    assert (group.number, group.cells) == (4, ())
    assert len(np.intersect1d(group.members, chosen)) >= 20


@pytest.mark.parametrize("share", [0.7, 1.0])
def test_a_class_that_rests_on_a_place_of_its_own_is_found(share):
    classes = make_classes(4)
    plant(classes, 1, round(share * 300), CORNER)
    (group,) = find_groups(classes)
    assert (group.way, group.number, group.cells, group.sign) == ("class", 1, (CORNER,), 1)
    assert len(group.members) == pytest.approx(share * 300, rel=0.1)


def test_what_all_classes_share_is_no_finding():
    classes = make_classes(5)
    for number in range(len(classes)):
        plant(classes, number, 300, CORNER)
    assert find_groups(classes) == []


def test_small_classes_and_maps_of_zeros_are_passed_over():
    classes = make_classes(6)
    classes[0] = classes[0][:20]
    plant(classes, 0, 5, CORNER, by=100)
    classes[1] = np.full((50, 64), np.nan)
    classes[2][::2] = np.nan
    assert find_groups(classes) == []
    assert find_groups([]) == []
    assert find_groups([np.zeros((100, 1)), np.zeros((100, 1)), np.zeros((100, 1))]) == []
