"""What people have at hand becomes the image that the model sees, with the right label and target, or is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.pipeline.job import png
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.image.decode import decode
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.given import Given

NAMES = ("cat", "dog", "cow")
SIDE = 4


@pytest.fixture(scope="module")
def model() -> classifier.Classifier:
    options = ModelOptions(input_size=f"{SIDE}x{SIDE}", class_names=NAMES)
    return classifier.load(lambda images: 9 * images[:, 0, 0] - 3, options)


def arrays(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def pixels(model: classifier.Classifier, images: Any, **how: Any) -> np.ndarray:
    return np.stack([each.pixels.array for each in Given(model, Settings(), **how).decoded(images)])


def test_arrays_in_every_form_are_the_same_pictures(model: classifier.Classifier) -> None:
    images = arrays()
    wanted = images.astype(np.float32) / 255
    floats, large = images / 255, images.astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    forms: list[Any] = [images, list(images), tf.constant(images), floats, dataset, dataset.batch(2), images.tolist()]
    for form in forms[:-1]:
        np.testing.assert_allclose(pixels(model, form), wanted, atol=1e-7)
    for form in (large, images.astype(np.int64), images, forms[-1]):
        np.testing.assert_allclose(pixels(model, form, value_range=(0, 255)), wanted, atol=1e-7)
    np.testing.assert_allclose(pixels(model, images.astype(np.uint16) * 257), wanted, atol=1e-7)
    np.testing.assert_array_equal(pixels(model, images > 127), (images > 127).astype(np.float32))
    np.testing.assert_array_equal(pixels(model, floats[0]), pixels(model, floats)[:1])
    np.testing.assert_allclose(pixels(model, floats * 2 - 1, value_range=(-1, 1)), wanted, atol=1e-6)


def test_files_and_bytes_are_decoded_and_resized_as_in_the_job(model: classifier.Classifier, tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    (tmp_path / "cat.png").write_bytes(png(picture))
    for form in (tmp_path / "cat.png", str(tmp_path / "cat.png"), png(picture), [png(picture)]):
        for resize in ("pad", "stretch"):
            (found,) = Given(model, Settings(resize=resize)).decoded(form)
            wanted = decode(png(picture), (SIDE, SIDE), Settings(resize=resize).decoding(3))
            np.testing.assert_array_equal(found.pixels.array, wanted.array)
            assert (found.pixels.height, found.pixels.width) == (7, 9)
            assert found.image.id == ("0" if isinstance(form, bytes | list) else str(tmp_path / "cat.png"))


def test_gray_images_may_lack_the_axis_of_channels(model: classifier.Classifier) -> None:
    gray = dataclasses.replace(model, input_shape=(SIDE, SIDE, 1))
    images = arrays()[..., :1]
    for form in (images[..., 0], list(images[..., 0]), images):
        np.testing.assert_array_equal(pixels(gray, form), images / np.float32(255))
    for one in (images[0, ..., 0], images[0]):
        np.testing.assert_array_equal(pixels(gray, one), images[:1] / np.float32(255))
    with pytest.raises(UsageError, match=r"images: shape \(4, 4\): expected an array \[n, 4, 4, 3\]"):
        pixels(model, images[0, ..., 0])


@pytest.mark.parametrize("option", ["labels", "targets"])
@pytest.mark.parametrize(
    "classes",
    [
        [2, 0, 1],
        ["cow", "cat", "dog"],
        [b"cow", b"cat", b"dog"],
        np.array([2, 0, 1]),
        np.array([[2.0], [0.0], [1.0]]),
        np.eye(3)[[2, 0, 1]],
        tf.constant(["cow", "cat", "dog"]),
        np.array(["cow", "cat", "dog"]),
    ],
)
def test_classes_in_every_form_are_indices(model: classifier.Classifier, option: str, classes: Any) -> None:
    found = Given(model, Settings()).decoded(arrays(), **{option: classes})
    assert [each.label if option == "labels" else each.targets[0] for each in found] == [2, 0, 1]
    assert all(each.targets == () if option == "labels" else each.label is None for each in found)


def test_one_target_is_for_all_and_a_label_may_be_missing(model: classifier.Classifier) -> None:
    for target in ("dog", 1, np.int64(1)):
        found = Given(model, Settings()).decoded(arrays(), [None, 0, None], target)
        assert [(each.label, each.targets) for each in found] == [(None, (1,)), (0, (1,)), (None, (1,))]
    for label in ("dog", 1, [1], ["dog"], np.array([0, 1, 0])):
        assert Given(model, Settings()).decoded(arrays()[0], label)[0].label == 1


def test_a_name_of_several_classes_is_refused(model: classifier.Classifier) -> None:
    doubled = Given(dataclasses.replace(model, names=("cat", "dog", "cat")), Settings())
    assert doubled.decoded(arrays(), targets=["dog", 2, 0])[1].targets == (2,)
    for option in ("labels", "targets"):
        with pytest.raises(UsageError, match=f"{option}: image 1: .*cat"):
            doubled.decoded(arrays(), **{option: ["dog", "cat", "dog"]})


def test_labels_are_what_the_task_and_the_offset_make_of_them(model: classifier.Classifier) -> None:
    shifted = Given(dataclasses.replace(model, label_offset=-1), Settings())
    found = shifted.decoded(arrays(), [3, "cat", 1], [2, 2, 0])
    assert [(each.label, each.targets) for each in found] == [(2, (2,)), (0, (2,)), (0, (0,))]
    several = Given(dataclasses.replace(model, task="labels"), Settings())
    found = several.decoded(arrays(), [["cow", "cat"], [0, 1, 1], []], "dog")
    assert [each.label for each in found] == [(0, 2), (1, 2), ()]
    assert {each.targets for each in found} == {(1,)}
    found = several.decoded(arrays(), targets=[["cow", 0], [0, 1, 0], 2])
    assert [each.targets for each in found] == [(0, 2), (1,), (2,)]
    numbers = Given(dataclasses.replace(model, task="values"), Settings())
    assert [each.label for each in numbers.decoded(arrays(), np.array([0.5, -1, 2]))] == [0.5, -1, 2]


def test_a_dataset_brings_its_labels(model: classifier.Classifier) -> None:
    for labels in ([2, 0, 1], np.eye(3)[[2, 0, 1]]):
        dataset = tf.data.Dataset.from_tensor_slices((arrays(), labels))
        for form in (dataset, dataset.batch(2)):
            found = Given(model, Settings()).decoded(form, targets=[0, 1, 2])
            assert [(each.label, each.targets) for each in found] == [(2, (0,)), (0, (1,)), (1, (2,))]
            assert [each.image.id for each in found] == ["0", "1", "2"]


PAIRS = tf.data.Dataset.from_tensor_slices((arrays(), [0, 1, 2]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": ["cat", "dgo", "cow"]}, r"labels: image 1: 'dgo' is not one .*; did you mean 'dog'\?"),
        ({"targets": "catt"}, r"targets: image 0: 'catt' is not one of the 3 class names; did you mean 'cat'\?"),
        ({"targets": [0, 1, 3]}, "targets: image 2: 3 is not from 0 to 2"),
        ({"targets": [0, 1, -1]}, "targets: image 2: -1 is not from 0 to 2"),
        ({"targets": [0, 1]}, "targets: 2 targets for 3 images"),
        ({"labels": [0, 1]}, "labels: 2 labels for 3 images"),
        ({"labels": "cat"}, "labels: 'cat' is not a class for each image"),
        ({"labels": [[0, 1, 1]] * 3}, "labels: image 0: .* is neither one class nor one-hot over 3 classes"),
        ({"targets": np.full((3, 3), 0.3)}, "targets: image 0: .* is neither one class nor one-hot over 3"),
        ({"targets": np.eye(4)[:3]}, "targets: image 0: .* is neither one class nor one-hot"),
        ({"labels": [0.5, 1, 2]}, "labels: image 0: 0.5 is not a whole number"),
        ({"labels": [float("nan"), 1, 2]}, "labels: image 0: nan is not a whole number"),
        ({"images": arrays().astype(np.float32)}, r"image 0 has values outside \[0, 1\], from .*: give value_range=\("),
        ({"images": np.full((1, 4, 4, 3), np.nan)}, r"image 0 has values outside \[0, 1\]"),
        ({"images": arrays().astype(np.int64)}, "image 0 has values of type int64: give value_range="),
        ({"images": arrays()[:, :2]}, r"image 0 has shape \(2, 4, 3\); the model takes \(4, 4, 3\)"),
        ({"images": [arrays()[0], arrays()[0, :2]]}, r"image 1 has shape \(2, 4, 3\)"),
        ({"images": "nowhere.png"}, "images: nowhere.png: "),
        ({"images": [b"broken"]}, "images: 0: not an image of the formats"),
        ({"images": iter(arrays())}, r"images: type \w+: expected an array \[n, 4, 4, 3\], files"),
        ({"images": np.full((1, 4, 4, 3), "x")}, "image 0 has values of type <U1, which are not numbers"),
        ({"images": PAIRS, "labels": [0, 1, 2]}, "labels: a dataset brings its own"),
        ({"images": PAIRS.map(lambda *pair: (*pair, 1.0))}, "images: the dataset's elements are not images, or"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model: classifier.Classifier, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Given(model, Settings()).decoded(given.pop("images", arrays()), **given)


@pytest.mark.parametrize(
    ("value_range", "settings", "message"),
    [
        ((0, 100), "", r"image 0: values from 6 to 255 are not all within value_range 0,100"),
        ((1, 0), "", "value_range: '1.0,0.0' is not LOW,HIGH"),
        ((0, 255, 1), "", "value_range: '0.0,255.0,1.0' is not LOW,HIGH"),
        ("0,255", "", "value_range: '0,255' is not .LOW, HIGH., two numbers"),
        (255, "", "value_range: 255 is not .LOW, HIGH., two numbers"),
        ((0, 255), "0,1", "value_range: '0.0,255.0' is not that of the settings, '0,1'"),
    ],
)
def test_a_range_that_is_none_is_refused(
    model: classifier.Classifier, value_range: Any, settings: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Given(model, Settings(value_range=settings), value_range).decoded(arrays())
    found = Given(model, Settings(value_range="0,255"), (0, 255)).decoded(arrays())
    np.testing.assert_allclose(found[0].pixels.array, arrays()[0] / 255, atol=1e-7)
