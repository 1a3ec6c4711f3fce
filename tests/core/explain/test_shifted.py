"""Maps of few shifted steps: unbiased over pictures, the same for the same picture, without an error estimate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.content import shift_of
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.classifier import Classifier
from transforms.core.record import Explanation, Image

STEPS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth"))


def images(count: int) -> list[Image]:
    return [Image(f"s#{i}", "s", i, png(picture)) for i, picture in enumerate(pictures(count))]


def explanations(model: Classifier, given: list[Image], batch_size: int = 8, **options) -> list[Explanation]:
    return list(Attributor(model, Settings(**options), batch_size).attribute(given))


def test_nodes_are_shifted_by_the_pictures_content_and_the_baselines_number(model):
    (explained,) = explanations(model, images(1), rule="shifted", steps=STEPS, targets="top2")
    shift = shift_of(explained.content, 0)
    for attribution in explained.attributions:
        np.testing.assert_allclose(attribution.path[:, 0], (np.arange(STEPS) + shift) / STEPS, atol=1e-6)
        assert attribution.steps == STEPS
        assert attribution.error_estimate is attribution.converged is None
    apart = [explanations(model, images(1), rule="shifted", steps=1, baseline=one)[0] for one in ("black", "white")]
    (both,) = explanations(model, images(1), rule="shifted", steps=1, baseline="black white")
    assert shift_of(explained.content, 1) != shift
    assert not np.allclose(both.attributions[0].values, sum(one.attributions[0].values for one in apart) / 2, atol=1e-4)


def test_the_same_picture_has_the_same_map_whatever_its_id_and_batch(model):
    (first, *_), renamed = images(3), images(1)[0]
    renamed = dataclasses.replace(renamed, id="elsewhere#7", shard="elsewhere", index=7)
    alone = explanations(model, [renamed], 5, rule="shifted", steps=STEPS)[0]
    among = explanations(model, [first, *images(3)[1:]], rule="shifted", steps=STEPS)[0]
    np.testing.assert_allclose(alone.attributions[0].values, among.attributions[0].values, atol=1e-6)
    np.testing.assert_array_equal(alone.attributions[0].path[:, 0], among.attributions[0].path[:, 0])


def test_the_mean_of_cells_is_that_of_exact_maps_and_that_of_fixed_nodes_is_not(model):
    """Of signed sums, over 300 pictures, within four standard errors; the fixed rule is off by far more."""
    given = images(300)
    sums = {
        name: np.array(
            [
                [each.attributions[0].values[:16].sum(), each.attributions[0].values[16:].sum()]
                for each in explanations(model, given, 64, **options)
            ],
            np.float64,
        )
        for name, options in {
            "exact": {"rule": "midpoint", "steps": 64},
            "shifted": {"rule": "shifted", "steps": 1},
            "left": {"rule": "left", "steps": 2},
        }.items()
    }
    for name, unbiased in (("shifted", True), ("left", False)):
        errors = sums[name] - sums["exact"]
        standard_error = errors.std(axis=0, ddof=1) / np.sqrt(len(given))
        assert (np.abs(errors.mean(axis=0)) < 4 * standard_error).all() == unbiased
    assert (np.abs(sums["shifted"] - sums["exact"]) > 1e-4).mean() > 0.9  # single maps are off


def test_arrays_without_encoded_bytes_are_shifted_by_their_pixels(model):
    arrays = np.random.default_rng(1).random((2, 32, 32, 3), np.float32)
    first, second = Attributor(model, Settings(rule="shifted", steps=1), 8).explain(arrays)
    assert first.attributions[0].path[0, 0] != second.attributions[0].path[0, 0]


def test_steps_and_tolerance_that_are_of_another_rule_are_refused():
    assert Settings(rule="shifted", steps=1).path_rule().start(0.25).steps == 1
    with pytest.raises(UsageError, match="steps: 1 is for rule shifted; allowed is a number from 2, for rule midpoint"):
        Settings(rule="midpoint", steps=1)
    with pytest.raises(
        UsageError, match="max_steps: 99 is for rule adaptive and for reference maps; rule shifted takes steps"
    ):
        Settings(rule="shifted", max_steps=99)
    with pytest.raises(UsageError, match=r"tolerance: 0\.1 .*rule shifted"):
        Settings(rule="shifted", tolerance=0.1)
