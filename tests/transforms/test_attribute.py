"""The stages that hold the model: someone's own pipeline, and the counters of what was done."""

from __future__ import annotations

from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms import attribute, worker
from transforms.attribute import AttributeImages
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation, Failure, Image
from transforms.worker import AttributorSpec

SETTINGS = Settings(rule="midpoint", steps=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


def test_images_of_someones_own_pipeline(model):
    images = [Image(f"i{number}", "", number, png(picture)) for number, picture in enumerate(pictures(20))]
    images.append(Image("bad", "", 20, b"bad"))

    def check(outcomes: list[Explanation | Failure]) -> None:
        explained = {outcome.image.id: outcome for outcome in outcomes if isinstance(outcome, Explanation)}
        failed = [outcome.image_id for outcome in outcomes if isinstance(outcome, Failure)]
        assert (sorted(explained), failed) == (sorted(f"i{number}" for number in range(20)), ["bad"])
        direct = worker.attributor(AttributorSpec(model, settings=SETTINGS)).attributor.attribute(images[:20])
        for wanted in direct:
            found = explained[wanted.image.id].attributions[0].values
            # the same steps, in batches shared with other images: float32 rounding
            np.testing.assert_allclose(found, wanted.attributions[0].values, atol=1e-6)

    pipeline = beam.Pipeline(runner="FnApiRunner")
    assert_that(pipeline | beam.Create(images) | AttributeImages(model, settings=SETTINGS), check)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {m.key.metric.name: m.committed for m in result.metrics().query()["counters"]}
    assert counters["images_attributed"] == 20
    assert counters["images_failed"] == 1
    assert counters["gradient_evaluations"] == counters["num_inferences"] == 20 * 6
    distributions = {m.key.metric.name: m.committed for m in result.metrics().query()["distributions"]}
    assert distributions["inference_request_batch_size"].sum == 20 * 6
    assert distributions["inference_batch_latency_micro_secs"].min > 0
    assert distributions["load_model_latency_milli_secs"].count >= 1
    assert distributions["model_byte_size"].max > 1000


def test_a_part_says_how_its_steps_ran(model):
    made = Attributor(classifier.load(model), SETTINGS, 3)
    engine = attribute._engine(made)
    assert (engine["batch"], engine["in_flight"]) == (3, made.in_flight)
    assert engine["passes"]["cut_stem"] == ""
    assert engine["passes"]["pointwise_gradients"].startswith("the model has no 1x1 convolution")


def test_settings_are_checked_when_made():
    with pytest.raises(ValueError, match="rule: 'romberg'"):
        Settings(rule="romberg")


def test_a_picture_is_a_baseline_of_someones_own_pipeline_too(model, tmp_path):
    (tmp_path / "grey.png").write_bytes(png(np.full([9, 9, 3], 128, np.uint8)))
    names = ["a", "b", "c", "d", "e"]
    stage = AttributeImages(
        model, ModelOptions(class_names=names), replace(SETTINGS, baseline=f"black image:{tmp_path}/grey.png")
    )
    images = [Image(f"i{number}", "", number, png(picture)) for number, picture in enumerate(pictures(2))]
    same = replace(SETTINGS, baseline="black color:128,128,128")
    wanted = list(Attributor(classifier.load(model, ModelOptions(class_names=names)), same, 4).attribute(images))

    def check(outcomes: list[Explanation]) -> None:
        for found, expected in zip(sorted(outcomes, key=lambda each: each.image.id), wanted, strict=True):
            assert [each.name for each in found.predictions] == [each.name for each in expected.predictions]
            assert {each.name for each in found.predictions} == set(names)
            np.testing.assert_allclose(found.attributions[0].values, expected.attributions[0].values, atol=1e-6)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(images) | stage, check)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"baseline": "image:/none/such.png"}, {}, "baseline: /none/such.png: "),
        ({}, {"class_names": "/none/names.txt"}, "class_names: /none/names.txt: "),
        ({"channels": "sum"}, {}, "channels: 'sum' is for a stored run alone"),
        ({"dtype": "int8"}, {}, "dtype: 'int8' is for a stored run alone"),
        ({"grid": 16}, {}, "grid: 16 is for a stored run alone"),
    ],
)
def test_what_can_not_be_honored_is_refused_before_the_pipeline_runs(model, settings, options, message):
    stage = AttributeImages(model, ModelOptions(**options), Settings(**settings))
    with pytest.raises(ValueError, match=message):
        beam.Pipeline(runner="FnApiRunner") | beam.Create([]) | stage


@pytest.mark.parametrize("size", [-1, 4097, True, 2.5])
def test_a_batch_size_that_can_not_be_is_refused(model, size):
    with pytest.raises(ValueError, match=f"batch_size: {size} is not 0, for the fastest, or a number from 1 to 4096"):
        worker.resolve(model, batch_size=size)


def test_a_model_in_memory_is_not_sent_to_workers():
    with pytest.raises(ValueError, match="model: function cannot be sent to workers; expected a path or URI"):
        worker.resolve(lambda images: images)


def test_the_model_is_loaded_once_per_process(model, monkeypatch):
    spec = AttributorSpec(model, settings=SETTINGS, batch_size=4)
    first = worker.attributor(spec)
    assert worker.attributor(AttributorSpec(model, settings=SETTINGS, batch_size=4)) is first


def test_another_model_behind_the_same_path_is_refused(model):
    with pytest.raises(ValueError, match="at launch"):
        worker.attributor(AttributorSpec(model, settings=SETTINGS, model_digest="0" * 64))
