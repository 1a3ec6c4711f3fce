"""The notebook's door: the same maps as the job's and the Beam transform's, and nothing ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that

from tests.pipeline.job import png, run
from tests.saved_models import smooth
from transforms.attribute import AttributeImages
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation, Image
from transforms.core.vocabulary import SCORES
from transforms.notebook import Attributor, explain
from transforms.store.run import Run

STEPS = 8
"""As many as make a batch: so the steps of a path share a batch with no other, however images come."""

RULE = {"rule": "midpoint", "steps": STEPS}
NAMES = "ant\nbee\ncat\ndog\nemu\n"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, class names, two pictures and that of a baseline."""
    folder = tmp_path_factory.mktemp("scene")
    smooth(folder / "model")
    (folder / "names.txt").write_text(NAMES)
    (folder / "images").mkdir()
    for index, picture in enumerate(pictures(2)):
        (folder / "images" / f"{index}.png").write_bytes(png(picture))
    (folder / "baseline.png").write_bytes(png(pictures(1, seed=5)[0]))
    return folder


def pictures(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("score", SCORES)
def test_every_door_makes_the_same_maps_bit_for_bit(scene: Path, tmp_path: Path, score: str) -> None:
    model = {"score": score, "pixels": "signed", "class_names": str(scene / "names.txt")}
    how = {**RULE, "baseline": f"black image:{scene}/baseline.png", "targets": "top2"}
    options, settings = ModelOptions(**model), Settings(**how)

    opened = Attributor.open(scene / "model", model=options, settings=settings, batch_size=STEPS)
    explained = opened.explain(pictures(2))
    wanted = [[attribution.values for attribution in each.attributions] for each in explained]
    names = {prediction.name for each in explained for prediction in each.predictions}
    assert names == set(NAMES.split())
    assert np.abs(wanted).max() > 1e-4
    assert np.abs(np.subtract(*wanted[0])).max() > 1e-4

    flags = {**model, **how, "dtype": "float32", "batch_size": STEPS}
    assert run(tmp_path / "run", input=scene / "images", model=scene / "model", **flags) == 0
    stored = Run.open(str(tmp_path / "run"))
    for table in stored.rows(["image_id", "target_rank", "attribution", "scale", "target_name"]):
        for row, values in zip(table.to_pylist(), stored.maps(table), strict=True):
            image = int(Path(row["image_id"].rpartition("#")[2] or row["image_id"]).stem)
            np.testing.assert_array_equal(values, wanted[image][row["target_rank"]])
            assert row["target_name"] in names

    images = [Image(str(index), "", index, png(picture)) for index, picture in enumerate(pictures(2))]

    def check(outcomes: list[Explanation]) -> None:
        assert len(outcomes) == 2
        for found in outcomes:
            for one, other in zip(found.attributions, wanted[found.image.index], strict=True):
                np.testing.assert_array_equal(one.values, other)
            assert {prediction.name for prediction in found.predictions} == names

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        stage = AttributeImages(str(scene / "model"), options, settings, STEPS)
        assert_that(pipeline | beam.Create(images) | stage, check)


def test_one_call_explains_what_an_attributor_does(scene: Path) -> None:
    settings = Settings(**RULE)
    (wanted,) = Attributor.open(str(scene / "model"), settings=settings).explain(pictures(1), [3])
    (found,) = explain(str(scene / "model"), pictures(1), [3], settings=settings)
    assert found.attributions[0].target == 3
    np.testing.assert_array_equal(found.attributions[0].values, wanted.attributions[0].values)
    (other,) = explain(scene / "model", pictures(1), [3], options=ModelOptions(pixels="byte"), settings=settings)
    assert np.abs(other.attributions[0].values - wanted.attributions[0].values).max() > 1e-4


def test_a_model_in_memory_makes_the_maps_of_its_files(scene: Path) -> None:
    loaded = tf.saved_model.load(str(scene / "model"))
    settings = Settings(**RULE)
    for source in (loaded, loaded.signatures["serving_default"], lambda images: loaded(images)):
        options = ModelOptions(input_size="32x32", class_names=NAMES.split())
        (found,) = Attributor.open(source, model=options, settings=settings, batch_size=STEPS).explain(pictures(1))
        (wanted,) = Attributor.open(scene / "model", settings=settings, batch_size=STEPS).explain(pictures(1))
        np.testing.assert_array_equal(found.attributions[0].values, wanted.attributions[0].values)
        assert found.predictions[0].name in NAMES.split()


def test_a_keras_model_in_memory_is_explained() -> None:
    import keras

    images = keras.Input((4, 4, 3))
    model = keras.Model(images, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(images)))
    (found,) = explain(model, np.full((1, 4, 4, 3), 0.5), settings=Settings(steps=64, rule="gauss_legendre"))
    (attribution,) = found.attributions
    assert abs(attribution.convergence_delta) < 1e-5  # float32
    assert attribution.score == pytest.approx(model(np.full((1, 4, 4, 3), 0.5)).numpy().max(), abs=1e-6)


def test_pictures_in_memory_stand_for_those_at_their_uris(scene: Path) -> None:
    settings = Settings(baseline="image:nowhere.png", **RULE)
    named = Settings(baseline=f"image:{scene}/baseline.png", **RULE)
    (wanted,) = Attributor.open(scene / "model", settings=named, batch_size=STEPS).explain(pictures(1))
    for picture in (pictures(1, seed=5)[0], (scene / "baseline.png").read_bytes()):
        opened = Attributor.open(scene / "model", settings=settings, batch_size=STEPS, baseline_images=[picture])
        (found,) = opened.explain(pictures(1))
        np.testing.assert_array_equal(found.attributions[0].values, wanted.attributions[0].values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": Settings(channels="sum")}, "channels: 'sum' is for a stored run alone"),
        ({"settings": Settings(baseline="image:nowhere.png")}, r"baseline: nowhere.png: "),
        ({"model": ModelOptions(class_names="nowhere.txt")}, r"class_names: nowhere.txt: "),
        ({"model": ModelOptions(class_names=["one"])}, r"class_names: 1 class names for a model with 5 outputs"),
        ({"model": ModelOptions(input_size="8x8")}, r"input_size=8x8: the model takes 32x32 only"),
        ({"model": ModelOptions(output_name="none")}, r"output_name='none': the model has"),
        ({"model": ModelOptions(signature="none")}, r"signature='none': no such image function"),
        ({"settings": Settings(targets="class:5")}, r"targets: the model has 5 classes"),
        ({"batch_size": -1}, r"batch_size: -1 is not 0, for the fastest, or a number from 1 to 4096"),
    ],
)
def test_what_can_not_be_honored_is_refused(scene: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attributor.open(scene / "model", **options)
