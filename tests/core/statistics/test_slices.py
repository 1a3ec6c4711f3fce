"""Slices hold the rows that belong to them, and which are kept depends on the rows alone."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from support.random_rows import make_rows, merge_slices
from transforms.core.statistics.importance import fold_slices, summarize_rows
from transforms.core.statistics.slices import (
    SLICE_COLUMNS,
    Slice,
    Slicer,
    is_overflow,
    kept_slices,
    overflow,
)

PLAIN = {
    "label": None,
    "label_name": None,
    "predicted": 7,
    "predicted_name": "cat",
    "target": 7,
    "target_name": "cat",
    "target_rank": 0,
    "shard": "gs://nights/2026-11-21/north-00001-of-00016.tfrecord",
    "fields": (("camera", "3"), ("site", "")),
}
SHARD = ("shard", "north-*-of-*.tfrecord", "north-*-of-*.tfrecord")


def slices(*slice_by: str, **row) -> set[tuple[str, str, str]]:
    values = ((PLAIN | row)[name] for name in SLICE_COLUMNS)
    return {(key.kind, key.value, key.name) for key in Slicer(slice_by)(*values)}


def test_a_row_without_a_label_is_neither_labelled_nor_wrong():
    assert slices() == {("all", "", ""), ("predicted", "7", "cat"), SHARD}


def test_a_row_that_explains_another_class_is_not_among_the_predicted():
    found = slices(target=3, target_name="dog", target_rank=2, label=3, label_name="dog")
    confused = {("wrong", "", ""), ("confusion", "3>7", "dog → cat")}
    assert found == {("all", "", ""), ("target", "3", "dog"), ("label", "3", "dog"), SHARD} | confused


def test_a_right_prediction_is_no_confusion():
    assert {kind for kind, *_ in slices(label=7, label_name="cat")} == {"all", "predicted", "label", "shard"}


def test_a_label_that_is_no_class_has_a_slice_but_is_not_wrong():
    assert slices(label_name="unicorn") == slices() | {("label", "unicorn", "unicorn")}


def test_fields_make_slices_where_they_are_asked_for_and_there():
    asked = slices("camera", "site", "week") - slices()
    assert asked == {("field:camera", "3", "3"), ("field:site", "", "")}


def test_shards_that_differ_in_numbers_only_are_one_group():
    assert slices(shard="/in/2026-11-22/north-00002-of-00016.tfrecord") == slices()
    assert slices(shard="/in/2026-11-22/south-00002-of-00016.tfrecord") != slices()


def test_the_largest_of_each_kind_are_kept_and_the_least_where_they_tie():
    counts = {Slice("a", "x"): 1, Slice("a", "y"): 3, Slice("a", "w"): 1, Slice("a", "z"): 1, Slice("b", "q"): 1}
    assert kept_slices(counts, 2) == {Slice("a", "y"), Slice("a", "w"), Slice("b", "q")}
    assert kept_slices(counts, 9) == counts.keys()


def test_what_is_counted_together_is_told_from_slices_that_look_alike():
    assert is_overflow(overflow(Slice("predicted", "7", "cat")))
    for key in (Slice("all"), Slice("wrong"), Slice("field:site", "", ""), Slice("field:site", "other", "other")):
        assert not is_overflow(key)


@given(most=st.integers(1, 6), cuts=st.lists(st.integers(0, 60), max_size=4), order=st.permutations(range(60)))
def test_the_overflow_holds_all_that_is_not_kept_whatever_the_order(most, cuts, order):
    rows, slicer = make_rows(60), Slicer(("camera",))
    whole = summarize_rows(rows, slicer)
    kept = kept_slices({key: value.count for key, value in whole.items()}, most)
    folded = fold_slices(whole.items(), kept)
    for kind in {key.kind for key in whole}:
        found = [key for key in folded if key.kind == kind]
        assert len(found) <= most + 1
        assert sum(folded[key].count for key in found) == sum(whole[key].count for key in whole if key.kind == kind)
        assert (overflow(Slice(kind)) in folded) == (len({key for key in whole if key.kind == kind}) > most)

    edges = sorted({0, 60, *cuts})
    shuffled = {
        name: [column[row] for row in order] if isinstance(column, list) else column[list(order)]
        for name, column in rows.items()
    }
    parts = [
        summarize_rows({name: column[low:high] for name, column in shuffled.items()}, slicer)
        for low, high in itertools.pairwise(edges)
    ]
    merged = merge_slices(parts)
    assert kept_slices({key: value.count for key, value in merged.items()}, most) == kept
    assert merge_slices(fold_slices(part.items(), kept) for part in parts) == folded


def classes_of(*columns: Any) -> set[tuple[str, str]]:
    """Returns kind and value of the slices of a row, given its columns up to `target_rank`, but the shard's."""
    found = Slicer()(*columns, "a.tar", ())
    return {(key.kind, key.value) for key in found} - {("all", ""), ("shard", "a.tar")}


def test_any_number_of_labels():
    names = {(0, 2): ("cat", "cow"), (1,): ("dog",), (): ()}
    right = classes_of((0, 2), names[0, 2], (0, 2), names[0, 2], 2, "cow", 0)
    assert right == {("target", "2"), ("label", "0"), ("label", "2")}
    wrong = classes_of((0, 2), names[0, 2], (1,), names[1,], 1, "dog", 0)
    assert wrong == {("target", "1"), ("label", "0"), ("label", "2"), ("wrong", "")}
    assert classes_of((), (), (), (), 1, "dog", 0) == {("target", "1")}
    assert classes_of((), (), (1,), names[1,], 1, "dog", 0) == {("target", "1"), ("wrong", "")}
    assert classes_of(None, None, (1,), names[1,], 1, "dog", 0) == {("target", "1")}


def test_what_is_not_ranked_is_in_no_slice_of_predictions():
    assert classes_of(None, None, 0, "price", 0, "price", None) == {("target", "0")}
    assert classes_of(None, None, None, None, 0, None, None) == set()
