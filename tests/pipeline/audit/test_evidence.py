"""The tails of an audit.json are checked before anything is computed from them: a night with others is passed over."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.audit.evidence import read_evidence
from transforms.core.errors import UsageError

GOOD: dict[str, Any] = {
    "levels": [4.0, 6.0],
    "places": ["1,1", "1,2", "gini"],
    "slices": [
        {
            "kind": "label",
            "value": "7",
            "name": "horse",
            "rows": 100,
            "reference_rows": 300,
            "reference_pictures": 150,
            "counts": [[0, 1, 1, 5, 2], [2, -1, 0, 1, 0]],
        }
    ],
}


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    tails = copy.deepcopy(GOOD)
    holder: Any = tails
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return {"tails": tails}


def test_counts_stand_where_they_belong_and_pictures_that_come_again_count_once() -> None:
    evidence = read_evidence({"tails": GOOD})
    assert evidence.night.counts.shape == (1, 6, 2)
    assert evidence.night.counts[0, 0].tolist() == [0, 5] and evidence.night.counts[0, 5].tolist() == [1, 0]
    assert evidence.references.counts[0, 0].tolist() == [0, 1] and evidence.references.rows.tolist() == [150]


def test_slices_without_rows_are_left_out() -> None:
    assert read_evidence(changed(("slices", 0, "rows"), 0) | {}).slices == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("slices", 0, "counts", 0, 3), 10**30),
        (("slices", 0, "counts", 0, 3), 101),
        (("slices", 0, "counts", 0, 3), -5),
        (("slices", 0, "counts", 0, 3), "7"),
        (("slices", 0, "counts", 0, 3), True),
        (("slices", 0, "counts", 0, 4), 301),
        (("slices", 0, "counts", 0, 0), -1),
        (("slices", 0, "counts", 0, 0), 3),
        (("slices", 0, "counts", 0, 0), 0.5),
        (("slices", 0, "counts", 0, 1), 2),
        (("slices", 0, "counts", 0, 2), 2),
        (("slices", 0, "counts", 0), [1, 2]),
        (("slices", 0, "counts"), {}),
        (("slices", 0, "rows"), -5),
        (("slices", 0, "rows"), 10**30),
        (("slices", 0, "reference_pictures"), float("nan")),
        (("slices", 0, "reference_pictures"), 1e308),
        (("slices", 0, "reference_pictures"), 0),
        (("slices", 0, "value"), [1]),
        (("slices", 0, "name"), None),
        (("slices",), [GOOD["slices"][0]] * 2),
        (("slices",), [None]),
        (("places",), [[1]]),
        (("places",), ["1,1", "1,1", "gini"]),
        (("levels",), [6.0, 4.0]),
        (("levels",), [4.0, float("inf")]),
    ],
)
def test_damaged_tails_are_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(UsageError, match="damaged"):
        read_evidence(changed(path, value))
