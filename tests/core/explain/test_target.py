"""Which classes an image is explained for."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.errors import UsageError
from transforms.core.explain.label import LabelError
from transforms.core.explain.target import NoTargetError, Targets, ranked

OUTPUTS = np.array([0.1, 0.5, 0.2, 0.5], np.float32)


@pytest.mark.parametrize(
    ("text", "label", "chosen"),
    [("top1", None, (1,)), ("top3", None, (1, 3, 2)), ("label", 2, (2,)), ("class:0", 3, (0,))],
)
def test_choice(text, label, chosen):
    assert Targets.parse(text).choose(OUTPUTS, label) == chosen


@pytest.mark.parametrize(
    "text",
    [
        *("", "top", "top0", "top01", "topK", "class", "class:", "class:-1", "class:x", "TOP1", "None"),
        *("above", "above:", "above:1", "above:1.5", "above:-0.5", "above:x", "above:nan", "above:5e-1"),
    ],
)
def test_other_texts_are_refused_by_name(text):
    with pytest.raises(ValueError, match="is not one of top1, topK"):
        Targets.parse(text)


def test_a_target_the_model_lacks_is_refused():
    Targets.parse("class:3").check(4)
    with pytest.raises(ValueError, match="4 classes, 0 to 3"):
        Targets.parse("class:4").check(4)
    Targets.parse("top4").check(4)
    with pytest.raises(ValueError, match="4 classes"):
        Targets.parse("top5").check(4)


def test_a_missing_label_is_an_error_only_where_it_is_asked_for():
    with pytest.raises(LabelError, match="no label"):
        Targets.parse("label").choose(OUTPUTS, None)
    assert Targets.parse("label").needs_label
    assert not Targets.parse("class:0").needs_label


@pytest.mark.parametrize(
    ("text", "label", "chosen"),
    [
        *(("labels", (0, 2, 3), (3, 2, 0)), ("labels", 2, (2,)), ("above:0.15", None, (1, 3, 2)), ("none", None, (0,))),
        *(("above:.2", None, (1, 3)), ("above:0", (), (1, 3, 2, 0))),
    ],
)
def test_several_targets_come_highest_first(text, label, chosen):
    assert Targets.parse(text).choose(OUTPUTS, label) == chosen


def test_probabilities_decide_what_is_above():
    probabilities = np.array([0.9, 0.2, 0.8, 0.1], np.float32)
    assert Targets.parse("above:0.5").choose(OUTPUTS, None, probabilities) == (2, 0)


@pytest.mark.parametrize(("text", "label"), [("labels", ()), ("above:0.5", (1,))])
def test_an_image_may_have_no_target(text, label):
    with pytest.raises(NoTargetError, match=r"no true label|probability above 0\.5"):
        Targets.parse(text).choose(OUTPUTS, label)


ALL = ("top1", "top2", "label", "labels", "class:0", "above:0.5", "none")


@pytest.mark.parametrize(
    ("task", "classes", "by_class", "allowed"),
    [
        ("classes", 3, True, ALL[:-1]),
        ("binary", 2, True, ALL[:-1]),
        ("labels", 3, True, ("top1", "top2", "labels", "class:0", "above:0.5")),
        ("values", 1, True, ("top1", "class:0")),
        ("values", 2, True, ("class:0",)),
        ("dense", 0, False, ("none",)),
        ("classes", 3, False, ("none",)),
    ],
)
def test_each_task_has_its_targets(task, classes, by_class, allowed):
    for text in ALL:
        if text in allowed:
            Targets.parse(text).check(classes, task, by_class)
            continue
        with pytest.raises(UsageError, match=r"^targets: "):
            Targets.parse(text).check(classes, task, by_class)


def test_ties_go_to_the_lower_class():
    assert ranked(np.zeros(4)).tolist() == [0, 1, 2, 3]
