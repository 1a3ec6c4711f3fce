"""Everything that is looked for in a run's rows by class, as groups of one form, the strongest evidence first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.core.findings.clusters import THRESHOLD, Cluster, find_clusters
from transforms.core.findings.rests import Rest, find_rests
from transforms.core.findings.tails import Tail, find_tails

LIMIT = -2.0
"""Highest logarithm of the probability that one of three searches finds something where nothing is: 3 % together."""

MOST_GROUPS = 20

_KNOWN = 0.5
"""Share of a cluster's pictures that are in another group of the class already, if it is not told again."""


@dataclass(frozen=True)
class Group:
    """Pictures of a class whose attribution lies elsewhere than that of the others.

    Attributes:
        way: how it was found: `tail` (some pictures are extreme in one place), `cluster` (some differ a little in many
            cells) or `class` (most of a class rest on a place that no other class rests on).
        number: of the class.
        cells: numbers of the cells of the place, row by row; empty if it differs from picture to picture.
        sign: 1 if the place speaks for the class more than usual, −1 if less.
        threshold: robust z that each picture exceeds.
        usual: how many pictures would be usual.
        log10_p: logarithm of the probability of such a group by chance anywhere in the run, 0 at most.
        members: positions in the class's rows, the most extreme first.
        z: of any rows of the class, float `[rows]`, given their signed cells: members are those above the threshold.
    """

    way: str
    number: int
    cells: tuple[int, ...]
    sign: int
    threshold: float
    usual: float
    log10_p: float
    members: np.ndarray
    z: Callable[[np.ndarray], np.ndarray]


def find_groups(classes: Sequence[np.ndarray]) -> list[Group]:
    """Returns what stands out in the rows of one run, the strongest evidence first.

    Args:
        classes: signed cells of the pictures of each class, float `[rows, cells]` of a square grid; NaN in all cells of
            a map that is zero everywhere. Classes of fewer than LEAST_ROWS pictures are left out.
    """
    rests = find_rests(classes, LIMIT)
    taken = {(rest.number, cell) for rest in rests for cell in rest.place.cells}
    tails = find_tails(classes, LIMIT, MOST_GROUPS)
    # those of a class without what the others share are no second group
    groups = [_group("tail", tail) for tail in tails if not taken & {(tail.number, cell) for cell in tail.place.cells}]
    groups += [_group("class", rest) for rest in rests]
    clusters = [_cluster(found) for found in find_clusters(classes, LIMIT)]
    clusters = [one for one in clusters if not taken & {(one.number, cell) for cell in one.cells}]
    groups += [cluster for cluster in clusters if not _is_known(cluster, groups)]
    return sorted(groups, key=lambda group: (group.log10_p, -len(group.members)))[:MOST_GROUPS]


def _is_known(cluster: Group, groups: Sequence[Group]) -> bool:
    members = [group.members for group in groups if group.number == cluster.number]
    known = np.concatenate([np.zeros(0, np.int64), *members])
    return bool(np.isin(cluster.members, known).mean() >= _KNOWN)


def _cluster(found: Cluster) -> Group:
    return Group(
        way="cluster",
        number=found.number,
        cells=found.cells,
        sign=found.sign,
        threshold=THRESHOLD,
        usual=found.usual,
        log10_p=found.log10_p,
        members=found.members,
        z=found.axis.scores,
    )


def _group(way: str, found: Tail | Rest) -> Group:
    return Group(
        way=way,
        number=found.number,
        cells=found.place.cells,
        sign=found.sign,
        threshold=found.threshold,
        usual=found.usual,
        log10_p=found.log10_p,
        members=found.members,
        z=lambda signed: found.ruler.scores(signed)[:, found.column],
    )
