"""What stored labels say: names before indices, one class, several, or a number; and never a guess."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core.explain.label import LabelError, Labels
from transforms.core.record import Image

NAMES = ("cat", "dog", "7", "crane")
CLASSES = Labels(NAMES)
SEVERAL = Labels(NAMES, "labels")
VALUES = Labels(("value",), "values")

SCALARS = st.one_of(st.integers(), st.floats(), st.text(max_size=8))
STORED = st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=6).map(tuple))


@pytest.mark.parametrize(
    ("label", "index"),
    [
        *((2, 2), ("dog", 1), ("7", 2), ("0", 0), ("3", 3), (3.0, 3), ("+1", 1)),
        *((None, None), ("", None), ((), None), (-1, None), ("-1", None), (-1.0, None)),
        *(((0, 0, 1, 0), 2), ((0.0, 1.0, 0.0, 0.0), 1), ((3,), 3), (("dog",), 1)),
    ],
)
def test_one_class_is_a_name_first_an_index_else_or_a_one_hot_vector(label, index):
    assert CLASSES.resolve(label) == index
    assert Labels(NAMES, "binary").resolve(label) == index


@pytest.mark.parametrize(
    "label",
    [
        *(4, 7, "4", "horse", "٣", "1" * 5000, "x" * 10_000, 0.5, math.nan, math.inf, "1.0"),
        *((1, 2), (0, 1, 1, 0), (0, 0, 0, 0), (0.1, 0.9, 0.0, 0.0), (0, 1, 0), ("cat", "dog"), (1,) * 70_000),
    ],
)
def test_a_label_that_is_no_class_is_named_shortly(label):
    with pytest.raises(LabelError, match=r"^label ") as error:
        CLASSES.resolve(label)
    assert len(str(error.value)) < 200


def test_names_are_compared_in_composed_form():
    composed, split = unicodedata.normalize("NFC", "Löwe"), unicodedata.normalize("NFD", "Löwe")
    assert composed != split
    assert Labels((composed,)).resolve(split) == Labels((split,)).resolve(composed) == 0


def test_a_name_that_stands_for_several_classes_is_unusable_and_their_numbers_are_not():
    labels = Labels(("crane", "cat", "crane"))
    with pytest.raises(LabelError, match="label 'crane' stands for classes 0 and 2"):
        labels.resolve("crane")
    assert [labels.resolve(label) for label in (0, "2", "cat")] == [0, 2, 1]


@pytest.mark.parametrize(("label", "index"), [(1, 0), ("1", 0), (4.0, 3), ("cat", 0), ((1, 0, 0, 0), 0), ("7", 2)])
def test_an_offset_is_added_to_numbers_only(label, index):
    assert Labels(NAMES, offset=-1).resolve(label) == index


@pytest.mark.parametrize("label", [0, "5", 5])
def test_a_number_is_checked_after_the_offset(label):
    with pytest.raises(LabelError, match=r"with label_offset (-1|4), is not from 0 to 3"):
        Labels(NAMES, offset=-1).resolve(label)


@pytest.mark.parametrize(
    ("own", "label", "index"),
    [
        (NAMES, 1, 1),
        (("tench", "goldfish"), 1, 1),  # no name is shared: numbers are indices
        (("cat", "hound"), 1, 1),  # what is shared stands where it should
        (("dog", "cat"), 0, 1),
        (("dog", "cat"), (1,), 0),
        (("crane", "dog", "cat", "7"), 3, 2),
        (("dog", "cat"), "cat", 0),
        (("dog", "cat"), -1, None),
    ],
)
def test_numbers_go_by_the_data_sets_names_where_its_order_is_another(own, label, index):
    assert CLASSES.resolve(label, own) == index


@pytest.mark.parametrize(
    ("label", "why"), [(1, "label 1 is 'horse', not one of the 4 class names"), (3, "label 3 is not from 0 to 2")]
)
def test_a_class_of_the_data_set_that_the_model_lacks_is_unusable(label, why):
    with pytest.raises(LabelError, match=why):
        CLASSES.resolve(label, ("dog", "horse", "cat"))


def test_with_the_right_offset_the_orders_agree():
    assert Labels(("background", "cat", "horse"), offset=1).resolve(1, ("cat", "hound")) == 2
    with pytest.raises(LabelError, match="'hound', not one of"):
        Labels(("background", "cat", "horse")).resolve(1, ("cat", "hound"))


@pytest.mark.parametrize(
    ("label", "indices"),
    [
        *((2, (2,)), ("dog", (1,)), ("3", (3,)), (("dog", 0), (0, 1)), ((3, 1, 3), (1, 3)), ((2,), (2,))),
        *(((0, 1, 0, 1), (1, 3)), ((0.0, 0.0, 0.0, 0.0), ()), ((), ()), (None, None), ("", None), (-1, None)),
    ],
)
def test_several_classes_are_a_list_or_a_vector(label, indices):
    assert SEVERAL.resolve(label) == indices


def test_a_list_of_indices_into_the_data_sets_names_is_no_vector():
    assert SEVERAL.resolve((0, 1, 0, 1), ("dog", "cat")) == (0, 1)


@pytest.mark.parametrize("label", ["cat,dog", (4,), ("cat", -1), ("cat", ""), (0.5,), 4, "horse", (0, 1, 0, 2, 9)])
def test_a_list_with_what_is_no_class_is_unusable(label):
    with pytest.raises(LabelError, match=r"^label "):
        SEVERAL.resolve(label)


@pytest.mark.parametrize(
    ("label", "value"),
    [(3, 3.0), (-2, -2.0), (0.25, 0.25), ("1e-3", 0.001), ((4,), 4.0), (None, None), ("", None), ((), None)],
)
def test_values_are_numbers(label, value):
    assert VALUES.resolve(label) == value


@pytest.mark.parametrize("label", [math.nan, math.inf, "nan", "1_0", "tall", (1, 2), 10**400])
def test_what_is_no_finite_number_is_no_value(label):
    with pytest.raises(LabelError, match=r"is not a (finite )?number"):
        VALUES.resolve(label)


def test_dense_outputs_have_no_labels():
    assert Labels(NAMES, "dense").resolve("horse") is None
    assert Labels(NAMES, "dense").resolve_image(Image("a", "s", 0, b"", label_problem="damaged")) is None


def test_an_images_label_comes_with_what_the_data_set_says_of_it():
    assert CLASSES.resolve_image(Image("a", "s", 0, b"", 1, label_names=("dog", "cat"))) == 0
    with pytest.raises(LabelError, match="damaged"):
        CLASSES.resolve_image(Image("a", "s", 0, b"", label_problem="damaged"))


@given(STORED, st.sampled_from(["classes", "labels", "values", "dense"]), st.sampled_from([(), ("dog", "cat")]))
def test_any_label_is_in_range_or_refused(label, task, own):
    try:
        found = Labels(NAMES, task).resolve(label, own)
    except LabelError as error:
        assert len(str(error)) < 200
        return
    indices = found if isinstance(found, tuple) else () if found is None or task == "values" else (found,)
    assert all(0 <= index < len(NAMES) for index in indices)
