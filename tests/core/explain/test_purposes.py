"""Second and reference maps: of which pictures, the same as a run of their own makes, in the same batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.content import REFERENCE, SECOND, SECOND_MAP, is_chosen, shift_of
from transforms.core.explain.purposes import Purposes
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.classifier import Classifier
from transforms.core.record import Explanation, Image

CONTENTS = [f"{number:032x}" for number in range(5000)]
TWO_TARGETS = {"targets": "top2", "baseline": "black white"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth"))


def images(count: int, label: int | None = None) -> list[Image]:
    return [Image(f"s#{i}", "s", i, png(picture), label) for i, picture in enumerate(pictures(count))]


def explained(model: Classifier, given: list[Image], shares=(), **options) -> list[Explanation]:
    return list(Attributor(model, Settings(**options), 16, reference_shares=shares).attribute(given))


@pytest.mark.parametrize("purpose", [SECOND, REFERENCE])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_a_share_of_the_pictures_is_chosen_and_all_of_them_by_a_larger_share(purpose, share):
    chosen = [is_chosen(content, purpose, share) for content in CONTENTS]
    assert abs(np.mean(chosen) - share) <= 4 * np.sqrt(share * (1 - share) / len(CONTENTS))
    more = [is_chosen(content, purpose, min(1, 2 * share)) for content in CONTENTS]
    assert all(larger for smaller, larger in zip(chosen, more, strict=True) if smaller)


def test_who_is_chosen_for_one_purpose_is_as_likely_as_others_for_the_other():
    second, reference = ([is_chosen(each, purpose, 0.3) for each in CONTENTS] for purpose in (SECOND, REFERENCE))
    assert abs(np.mean(np.array(reference)[second]) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / sum(second))


def test_a_reference_map_is_that_of_the_adaptive_rule(model):
    accurate = explained(model, images(4), **TWO_TARGETS)
    few = explained(model, images(4), rule="shifted", steps=2, reference_share=1.0, second_share=0.0, **TWO_TARGETS)
    for one, other in zip(accurate, few, strict=True):
        assert not other.reference_extra
        for expected, found in zip(one.attributions, other.attributions, strict=True):
            reference = found.reference
            np.testing.assert_allclose(reference.values, expected.values, atol=1e-5)
            assert reference.error_estimate == pytest.approx(expected.error_estimate, rel=1e-3)
            assert (reference.converged, reference.steps) == (expected.converged, expected.steps)
            assert found.steps == 4  # of both baselines
            assert found.second is found.error_estimate is None
            assert len(found.path) == 0  # of baselines whose nodes are not the same


def test_the_maps_own_values_do_not_depend_on_further_maps(model):
    alone = explained(model, images(4), rule="shifted", steps=2, second_share=0.0)
    among = explained(model, images(4), rule="shifted", steps=2, second_share=1.0, reference_share=1.0)
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_allclose(one.attributions[0].values, other.attributions[0].values, atol=1e-6)
        np.testing.assert_array_equal(one.attributions[0].path[:, 0], other.attributions[0].path[:, 0])


def test_a_second_map_is_that_of_the_second_shift(model):
    (found,) = explained(model, images(1), rule="shifted", steps=1, second_share=1.0)
    first, second = found.attributions[0].values, found.attributions[0].second
    shift = shift_of(found.content, 0, SECOND_MAP)
    assert abs(shift - shift_of(found.content, 0)) > 0.05
    assert not np.allclose(first, second, atol=1e-3)
    # One step at a time, the mean over shifts is the integral: so each map is the gradient at its shift.
    accurate = explained(model, images(1), rule="midpoint", steps=400)[0].attributions[0].path
    slope = np.interp(shift, accurate[:, 0], accurate[:, 2])
    assert second.sum() == pytest.approx(slope, abs=0.02 * float(np.abs(accurate[:, 2]).max()))


def test_every_step_is_told_of_and_none_is_taken_for_those_who_are_not_chosen(model):
    steps = []
    given = images(6)
    options = {"rule": "shifted", "steps": 2, "second_share": 0.5, "reference_share": 0.4}
    found = list(Attributor(model, Settings(**options), 16).attribute(given, lambda count, _: steps.append(count)))
    seconds = sum(each.attributions[0].second is not None for each in found)
    references = [each.attributions[0].reference for each in found if each.attributions[0].reference is not None]
    assert 0 < seconds < 6
    assert 0 < len(references) < 6
    assert sum(steps) == 2 * 6 + 2 * seconds + sum(reference.steps for reference in references)


def test_small_classes_have_a_share_of_their_own(model):
    purposes = Purposes.of(Settings(rule="shifted", reference_share=0.1), [(3, 1.0), (4, 0.5)])
    labels = {None: 0.1, 1: 0.1, 3: 1.0, 4: 0.5, (): 0.1, (1, 4): 0.5, (3, 4): 1.0}
    assert {label: purposes.share_of(label) for label in labels} == labels
    assert purposes.share_of(3.0) == 0.1  # a number, and no class
    given = [*images(3, label=3), *(dataclasses.replace(image, id=f"{image.id}-") for image in images(3, label=1))]
    found = explained(model, given, [(3, 1.0), (1, 0.0)], rule="shifted", steps=1, reference_share=1e-9)
    assert [each.attributions[0].reference is not None for each in found] == [True] * 3 + [False] * 3
    assert [each.reference_extra for each in found] == [True] * 3 + [False] * 3


def test_without_reference_maps_no_class_has_any():
    assert Purposes.of(Settings(rule="shifted"), [(3, 1.0)]).share_of(3) == 0
    with pytest.raises(ValueError, match="reference_shares: 2 of class 3 is not a number from 0 to 1"):
        Purposes.of(Settings(rule="shifted", reference_share=0.1), [(3, 2)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "adaptive", "reference_share": 0.1}, "reference_share: 0.1 has no effect: the maps of rule adaptive"),
        ({"rule": "midpoint", "second_share": 0.1}, "second_share: 0.1 is for rule shifted; the rule is midpoint"),
        ({"rule": "shifted", "max_steps": 99}, "max_steps: 99 is for rule adaptive and for reference maps"),
        ({"rule": "shifted", "reference_share": 0.1, "max_steps": 8}, "max_steps must be at least 9"),
        ({"rule": "shifted", "reference_share": 1.5}, "reference_share: 1.5 is not a number from 0 to 1"),
        ({"rule": "shifted", "second_share": -0.1}, "second_share: -0.1 is not a number from 0 to 1"),
    ],
)
def test_what_has_no_effect_or_is_no_share_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Settings(**options)


def test_options_of_the_adaptive_rule_are_those_of_reference_maps():
    assert Settings(rule="shifted", reference_share=0.1, tolerance=0.2, max_steps=99).reference_rule() is not None
    assert Settings(rule="shifted").reference_rule() is None
