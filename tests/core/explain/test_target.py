"""Which classes an image is explained for."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.explain.label import LabelError
from transforms.core.explain.target import Targets, ranked

OUTPUTS = np.array([0.1, 0.5, 0.2, 0.5], np.float32)


@pytest.mark.parametrize(
    ("text", "label", "chosen"),
    [("top1", None, (1,)), ("top3", None, (1, 3, 2)), ("label", 2, (2,)), ("class:0", 3, (0,))],
)
def test_choice(text, label, chosen):
    assert Targets.parse(text).choose(OUTPUTS, label) == chosen


@pytest.mark.parametrize(
    "text", ["", "top", "top0", "top01", "topK", "class", "class:", "class:-1", "class:x", "labels", "TOP1"]
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


def test_ties_go_to_the_lower_class():
    assert ranked(np.zeros(4)).tolist() == [0, 1, 2, 3]
