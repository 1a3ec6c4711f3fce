"""The notebook's door: the same maps as the job's and the Beam transform's, and nothing ignored."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that

from tests.pipeline.job import png, run
from tests.saved_models import smooth
from transforms import notebook
from transforms.attribute import AttributeImages
from transforms.core.errors import UsageError
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
    (wanted,) = Attributor.open(str(scene / "model"), settings=settings).explain(pictures(1), targets=[3])
    (found,) = explain(str(scene / "model"), pictures(1), targets=[3], settings=settings)
    assert found.attributions[0].target == 3
    np.testing.assert_array_equal(found.attributions[0].values, wanted.attributions[0].values)
    (other,) = explain(
        scene / "model", pictures(1), targets=[3], options=ModelOptions(pixels="byte"), settings=settings
    )
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


def test_labels_are_kept_and_explained_if_the_settings_say_so(scene: Path) -> None:
    names, labels = NAMES.split(), ["emu", "ant"]
    found = explain(scene / "model", pictures(2), labels, class_names=names, settings=Settings(**RULE))
    assert [each.label for each in found] == [4, 0]
    assert [each.attributions[0].rank for each in found] == [0, 0]
    chosen = Settings(targets="label", **RULE)
    assert explain(scene / "model", pictures(2), labels, class_names=names, settings=chosen).names == labels
    with pytest.raises(UsageError, match=r"image 1: the image has no label, and targets is 'label'"):
        explain(scene / "model", pictures(2), ["emu", None], class_names=scene / "names.txt", settings=chosen)


def test_class_names_are_given_once(scene: Path) -> None:
    with pytest.raises(UsageError, match=r"class_names: given twice"):
        explain(scene / "model", pictures(1), class_names=["a"], options=ModelOptions(class_names=["b"]))


def test_files_make_the_maps_of_the_job(scene: Path) -> None:
    opened = Attributor.open(scene / "model", settings=Settings(**RULE), batch_size=STEPS)
    files = [scene / "images" / "0.png", (scene / "images" / "1.png").read_bytes()]
    np.testing.assert_array_equal(opened.explain(files).maps, opened.explain(pictures(2)).maps)
    floats = pictures(2).astype(np.float32)
    np.testing.assert_array_equal(opened.explain(floats, value_range=(0, 255)).maps, opened.explain(pictures(2)).maps)


def test_an_image_that_fails_is_named() -> None:
    def unsure(images: tf.Tensor) -> tf.Tensor:
        return tf.math.log(images[:, 0, 0] - 0.1)  # NaN below

    images = np.full((3, 4, 4, 3), 0.5)
    images[1] = 0.05
    options = ModelOptions(input_size="4x4", outputs="logits")
    settings = Settings(baseline="white", **RULE)
    with pytest.raises(ValueError, match="image 1: the model's outputs are not finite"):
        explain(unsure, images, options=options, settings=settings)
    assert len(explain(unsure, images[::2], options=options, settings=settings)) == 2


def test_no_target_is_taken_where_there_are_no_classes() -> None:
    options = ModelOptions(input_size="4x4", score="tests.transforms.test_notebook:total")
    settings = Settings(targets="none", **RULE)
    found = explain(lambda images: 9 * images, np.ones((1, 4, 4, 3)), options=options, settings=settings)
    assert (found.names, found.targets.tolist(), found.scores.tolist()) == ([""], [None], [9 * 48])
    assert "432" in found._repr_html_()
    with pytest.raises(UsageError, match="targets: what is explained has no classes"):
        explain(lambda images: 9 * images, np.ones((1, 4, 4, 3)), targets=1, options=options, settings=settings)


def total(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(outputs, [1, 2, 3])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "progress", "stream", "shown"),
    [
        (0.0, True, Terminal, True),
        (0.0, False, Terminal, False),
        (0.0, True, io.StringIO, False),
        (60.0, True, Terminal, False),
    ],
)
def test_progress_is_shown_to_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, seconds: float, progress: bool, stream: type[io.StringIO], shown: bool
) -> None:
    monkeypatch.setattr(notebook, "PROGRESS_SECONDS", seconds)
    monkeypatch.setattr(sys, "stderr", stream())
    with notebook._bar(3, progress) as bar:
        for _ in range(3):
            bar.update()
    assert ("3/3" in sys.stderr.getvalue()) == shown  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def xception() -> keras.Model:
    """A model like Keras' example's, Xception: it takes pixels in [-1, 1], and has separable convolutions."""
    keras.utils.set_random_seed(3)
    large = keras.initializers.RandomNormal(stddev=0.4)
    images = keras.layers.Input((12, 12, 3))
    x = keras.layers.Conv2D(6, 3, activation="softplus", kernel_initializer=large)(images)
    x = keras.layers.SeparableConv2D(8, 3, depthwise_initializer=large, pointwise_initializer=large)(x)
    x = keras.layers.Activation("softplus")(keras.layers.BatchNormalization()(x))
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(4, "softmax", kernel_initializer=large)(x))


def trapezoid(gradients: list[np.ndarray]) -> np.ndarray:
    """Returns the mean of gradients along a path as both tutorials compute it."""
    each = np.stack(gradients)
    return ((each[:-1] + each[1:]) / 2).mean(axis=0)


def gradient(model: keras.Model, image: np.ndarray, target: int) -> np.ndarray:
    tensor = tf.constant(image[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        score = model(tensor)[:, target]
    return tape.gradient(score, tensor).numpy()[0]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).sum() / np.abs(expected).sum())


def test_the_numbers_of_tensorflows_tutorial(xception: keras.Model) -> None:
    """`integrated_gradients(baseline, image, target, m_steps=50)`: 51 points; the model takes [0, 1]."""
    image = pictures(1)[0, :12, :12] / 255
    expected = image * trapezoid([gradient(xception, alpha * image, 2) for alpha in np.linspace(0, 1, 51)])
    settings = Settings(rule="trapezoid", steps=51)
    found = explain(xception, image, targets=2, settings=settings)
    assert distance(found.maps[0], expected) < 1e-5  # float32
    assert distance(np.abs(found.maps[0]).sum(-1), np.abs(expected).sum(-1)) < 1e-5
    few = explain(xception, image, targets=2, settings=Settings(rule="trapezoid", steps=6))
    assert distance(few.maps[0], expected) > 1e-4


def test_the_numbers_of_keras_example(xception: keras.Model) -> None:
    """`get_integrated_gradients(img_input, top_pred_idx, num_steps=50)`, whose gradients are at preprocessed pixels."""
    image = pictures(1)[0, :12, :12].astype(np.float32)
    target = int(np.argmax(xception(image[None] / 127.5 - 1)))
    path = [(step / 50) * image / 127.5 - 1 for step in range(51)]
    theirs = image * trapezoid([gradient(xception, each, target) for each in path])
    settings = Settings(rule="trapezoid", steps=51)
    found = explain(xception, image.astype(np.uint8), options=ModelOptions(pixels="signed"), settings=settings)
    assert found.targets.tolist() == [target]
    assert distance(found.maps[0], theirs / 127.5) < 1e-5
    assert distance(found.maps[0], theirs) > 0.9
    change = found[0].attributions[0].score - found[0].attributions[0].baseline_score
    assert found.maps[0].sum() == pytest.approx(change, abs=1e-3)  # ours adds up, theirs does not
    assert abs(theirs.sum() - change) > 10 * abs(change)


def test_the_numbers_of_xplique(xception: keras.Model) -> None:
    """`IntegratedGradients(model, steps=50)(images, labels)`: 50 points, one-hot targets, the mean over channels."""
    images, one_hot = np.stack(pictures(2)[:, :12, :12]) / 255, np.eye(4)[[3, 1]]
    points = np.linspace(0, 1, 50)
    expected = [
        (image * trapezoid([gradient(xception, alpha * image, target) for alpha in points])).mean(axis=-1)
        for image, target in zip(images, (3, 1), strict=True)
    ]
    settings = Settings(rule="trapezoid", steps=50)
    found = explain(xception, images, targets=one_hot, settings=settings).maps.mean(axis=-1)
    assert max(map(distance, found, expected)) < 1e-5


def test_the_numbers_of_captum(xception: keras.Model) -> None:
    """`IntegratedGradients(model).attribute(inputs, baselines=0, target=1, n_steps=20)`: the rule of Gauss-Legendre."""
    image = pictures(1)[0, :12, :12] / 255
    nodes, weights = np.polynomial.legendre.leggauss(20)
    each = [gradient(xception, (node + 1) / 2 * image, 1) for node in nodes]
    expected = image * np.tensordot(weights / 2, np.stack(each), 1)
    found = explain(xception, image, targets=1, settings=Settings(rule="gauss_legendre", steps=20))
    assert distance(found.maps[0], expected) < 1e-5
    assert found.deltas[0] == pytest.approx(
        expected.sum() - np.diff(xception(np.stack([image * 0, image]))[:, 1])[0], abs=1e-5
    )
