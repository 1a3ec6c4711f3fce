"""Clusters: found where many cells move a little together, none where rows are heavy-tailed or hardly moved."""

from __future__ import annotations

import numpy as np
import pytest

from tests.core.findings.test_groups import make_classes
from transforms.core.findings.clusters import THRESHOLD, find_clusters
from transforms.core.findings.groups import find_groups
from transforms.core.findings.robust import strangeness

LIMIT = -2.0
ROWS, COLS = np.divmod(np.arange(64), 8)
FRAME = np.flatnonzero((np.minimum(ROWS, COLS) == 0) | (np.maximum(ROWS, COLS) == 7))


def plant_frame(classes: list[np.ndarray], number: int, count: int, by: float) -> np.ndarray:
    """Adds `by` to all cells of the frame of some pictures of a class; returns which."""
    chosen = np.random.default_rng(7).choice(len(classes[number]), count, replace=False)
    classes[number][np.ix_(chosen, FRAME)] += by
    return np.sort(chosen)


def test_without_clusters_nothing_is_found():
    assert sum(len(find_clusters(make_classes(seed), LIMIT)) for seed in range(5)) == 0


@pytest.mark.parametrize(("count", "by"), [(30, 1.2), (60, 1.2), (60, -1.2)])
def test_a_frame_is_found_with_class_place_and_pictures(count, by):
    classes = make_classes(0)
    chosen = plant_frame(classes, 3, count, by)
    # no single cell tells: the pictures would be hard to point at by their most extreme one
    extreme = strangeness(classes[3])
    assert np.median(extreme[chosen]) < np.quantile(np.delete(extreme, chosen), 0.9)
    (cluster,) = find_clusters(classes, LIMIT)
    assert (cluster.number, cluster.sign) == (3, np.sign(by))
    assert set(cluster.cells) <= set(FRAME.tolist())
    assert len(cluster.cells) > len(FRAME) / 2
    both = len(np.intersect1d(cluster.members, chosen))
    assert both >= 0.8 * count
    assert both >= 0.9 * len(cluster.members)
    z = cluster.axis.scores(classes[3])
    assert set(np.flatnonzero(z >= THRESHOLD)) == set(cluster.members)
    assert z[cluster.members[0]] == z.max()


def test_what_moves_too_little_is_not_found():
    classes = make_classes(1)
    plant_frame(classes, 3, 30, 0.2)
    assert find_clusters(classes, LIMIT) == []


def test_what_half_of_the_pictures_share_is_no_cluster():
    classes = make_classes(2)
    plant_frame(classes, 3, 180, 1.2)
    assert find_clusters(classes, LIMIT) == []


def test_a_cluster_is_a_group_of_its_own():
    classes = make_classes(3)
    rng = np.random.default_rng(7)
    chosen = rng.choice(300, 60, replace=False)
    classes[5][chosen] += rng.choice([-0.8, 0.8], 64)  # no place has more of it than another
    (group,) = find_groups(classes)
    assert (group.way, group.number, group.threshold) == ("cluster", 5, THRESHOLD)
    assert len(np.intersect1d(group.members, chosen)) >= 48
    assert (group.z(classes[5])[group.members] >= group.threshold).all()


def test_what_is_a_tail_already_is_not_told_again():
    classes = make_classes(4)
    classes[2][:40, 56] += 12
    assert [cluster.number for cluster in find_clusters(classes, LIMIT)] == [2]
    assert [group.way for group in find_groups(classes)] == ["tail"]


def test_maps_of_zeros_and_small_or_few_classes_are_passed_over():
    classes = make_classes(5)
    chosen = plant_frame(classes, 3, 60, 1.2)
    classes[3] = np.insert(classes[3], 0, np.nan, axis=0)
    classes[0] = classes[0][:20]
    (cluster,) = find_clusters(classes, LIMIT)
    assert len(np.intersect1d(cluster.members - 1, chosen)) >= 48
    assert np.isnan(cluster.axis.scores(classes[3])[0])
    assert find_clusters(classes[2:6], LIMIT) == []
    assert find_clusters([rows[:, :9] for rows in classes], LIMIT) == []
    assert find_clusters([], LIMIT) == []
