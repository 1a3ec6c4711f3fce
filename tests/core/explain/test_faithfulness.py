"""Insertion and deletion against a plain loop in the way of Xplique; which images are chosen; what they cost.

The theory: a curve's value after k fractions is the probability of a picture in which the k·n/fractions pixels of the
highest signed attribution, summed over the channels, are exchanged; its area is the mean of the trapezoids.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.saved_models import smooth
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.faithfulness import FRACTIONS, is_chosen, measure
from transforms.core.explain.settings import Settings
from transforms.core.image.baseline import parse_baselines
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.record import Faithfulness

FIXED = {"rule": "midpoint", "steps": 6}
RNG = np.random.default_rng(5)


def plain_auc(values, start, end, probability, fractions) -> float:
    """Returns the area under the curve from `start` to `end`, one picture at a time."""
    height, width, _ = values.shape
    ranking = [(-values[row, col].sum(dtype=np.float64), row, col) for row in range(height) for col in range(width)]
    order = [(row, col) for _, row, col in sorted(ranking)]
    scores = []
    for fraction in range(fractions + 1):
        picture = start.copy()
        for row, col in order[: len(order) * fraction // fractions]:
            picture[row, col] = end[row, col]
        scores.append(float(probability(picture[None])[0]))
    return sum((left + right) / 2 for left, right in itertools.pairwise(scores)) / fractions


def squash(pictures: np.ndarray) -> np.ndarray:
    """Returns a number in (0, 1) to which every pixel counts differently."""
    weights = np.cos(np.arange(pictures[0].size)).reshape(pictures[0].shape)
    return 1 / (1 + np.exp(-(pictures * weights).sum(axis=(1, 2, 3))))


@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 5, 3), (2, 3, 3)])
@pytest.mark.parametrize(("fractions", "batch"), [(1, 4), (4, 3), (16, 100)])
def test_areas_equal_a_plain_loop(shape, fractions, batch):
    values, image, baseline = RNG.normal(size=shape), RNG.random(shape), RNG.random(shape)
    found = measure(values, image, baseline, squash, batch, fractions)
    # sums of a few float64
    assert found.insertion_auc == pytest.approx(plain_auc(values, baseline, image, squash, fractions), rel=1e-12)
    assert found.deletion_auc == pytest.approx(plain_auc(values, image, baseline, squash, fractions), rel=1e-12)


def test_a_map_that_is_right_inserts_high_and_deletes_low_and_its_negative_the_other_way():
    image, baseline = np.ones((8, 8, 3)), np.zeros((8, 8, 3))
    values = np.cos(np.arange(image.size)).reshape(image.shape)
    right, wrong = measure(values, image, baseline, squash, 8), measure(-values, image, baseline, squash, 8)
    assert right.insertion_auc > 0.9 > 0.1 > right.deletion_auc
    assert wrong.insertion_auc < 0.1 < 0.9 < wrong.deletion_auc


def test_each_picture_is_asked_for_once_and_in_batches():
    asked = []

    def probability(pictures: np.ndarray) -> np.ndarray:
        asked.append(len(pictures))
        return squash(pictures)

    measure(RNG.normal(size=(8, 8, 3)), np.ones((8, 8, 3)), np.zeros((8, 8, 3)), probability, 24)
    assert asked == [24, 24, 2 * FRACTIONS - 48]


def test_a_map_of_zeros_ranks_nothing():
    nothing = np.zeros((4, 4, 3))
    assert measure(nothing, nothing, nothing, squash, 8) == Faithfulness()


def test_the_choice_is_of_its_share_and_grows_with_it():
    ids = [f"shard-{number % 7}#{number}" for number in range(20_000)]
    chosen = {share: {one for one in ids if is_chosen(one, share)} for share in (0, 0.01, 0.3, 1)}
    assert chosen[0] == set()
    assert chosen[1] == set(ids)
    assert chosen[0.01] < chosen[0.3]
    for share in (0.01, 0.3):  # within four standard deviations of a binomial
        assert len(chosen[share]) == pytest.approx(share * len(ids), abs=4 * (len(ids) * share * (1 - share)) ** 0.5)


def test_the_choice_is_the_same_on_every_machine():
    assert [number for number in range(400) if is_chosen(f"a.tar#{number}", 0.01)] == [98, 144, 153, 168, 281, 357, 390]
    assert is_chosen("\udcff", 1.0)  # a file name that is no UTF-8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth"), ModelOptions(score="logit"))


@pytest.mark.parametrize("baseline", ["black", "blur:3 white", "uniform:2"])
def test_explanations_hold_the_areas_of_their_own_map_by_probability_whatever_the_score(model, baseline):
    settings = Settings(baseline=baseline, targets="top2", faithfulness=1, **FIXED)
    images = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    for index, explanation in enumerate(Attributor(model, settings, 8).explain(images)):
        start = parse_baselines(baseline)[0].make(images[index], str(index))[0]
        for attribution in explanation.attributions:

            def probability(pictures: np.ndarray, target: int = attribution.target) -> np.ndarray:
                return np.asarray(model.to_probabilities(model.outputs(pictures.astype(np.float32))))[:, target]

            ends = images[index], start, probability, FRACTIONS
            found = attribution.faithfulness
            # float32 rounding of the model in other batches
            assert found.deletion_auc == pytest.approx(plain_auc(attribution.values, *ends), abs=1e-5)
            ends = start, images[index], probability, FRACTIONS
            assert found.insertion_auc == pytest.approx(plain_auc(attribution.values, *ends), abs=1e-5)
            assert 0 < found.deletion_auc < 1


def test_images_that_are_not_chosen_have_none_and_steps_count_gradients_alone(model):
    images = np.random.default_rng(2).random((3, 32, 32, 3), np.float32)
    told = {}
    for share in (0, 1):
        attributor = Attributor(model, Settings(faithfulness=share, **FIXED), 8)
        found = attributor.explain(images)
        decoded = (attributor._decoded(index, image, None) for index, image in enumerate(images))
        told[share] = []
        list(attributor._explain(decoded, lambda steps, seconds, share=share: told[share].append(steps)))
        assert [one.attributions[0].faithfulness.insertion_auc is not None for one in found] == [share == 1] * 3
    assert sum(told[0]) == sum(told[1]) == 3 * FIXED["steps"]
