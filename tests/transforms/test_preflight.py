"""Each suspicion is raised by a case made for it, and by no sound one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from transforms.core.explain.suspicion import LEAST, Predictions, suspicions
from transforms.preflight import Look, Subject, look

CLASSES = 4
COUNT = 48
FEEDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unit": lambda images: images,
    "signed": lambda images: images * 2 - 1,
    "byte": lambda images: images * 255,
}
SCALES = {"unit": (1.0, 0.0), "signed": (0.5, 0.5), "byte": (1 / 255, 0.0)}
"""What makes values in [0, 1] of what a model was made for."""


def pictures(color: bool = False) -> tuple[np.ndarray, list[int]]:
    """Returns pictures of four levels of gray, or of red and blue, in turn, and their classes."""
    generator = np.random.default_rng(1)
    classes = [number % CLASSES for number in range(COUNT)]
    levels = np.array(classes, np.float32)[:, None, None, None] / (CLASSES - 1)
    images = np.broadcast_to(levels, (COUNT, 4, 4, 3)).copy()
    if color:
        images[..., 1], images[..., 2] = 0.5, 1 - images[..., 0]
    return np.clip(images + generator.normal(0, 0.02, images.shape), 0, 1).astype(np.float32), classes


def subject(
    made_for: str = "unit", pixels: str = "unit", color: bool = False, task: str = "classes", **more
) -> Subject:
    """Returns a model of the level that was made for a range of pixels, and is fed another."""
    scale, offset = SCALES[made_for]

    def outputs(images: np.ndarray) -> np.ndarray:
        values = FEEDS[pixels](images) * scale + offset
        level = values[..., 0].mean((1, 2)) if color else values.mean((1, 2, 3))
        return -100 * (level[:, None] - np.arange(CLASSES) / (CLASSES - 1)) ** 2

    def probabilities(found: np.ndarray) -> np.ndarray:
        powers = np.exp(found - found.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    return Subject(outputs, probabilities, ("a", "b", "c", "d"), task, pixels, **more)


def seen(model: Subject, images: np.ndarray, labels: list[int | None]) -> Look:
    return look(model, images, model.outputs(images), labels, seconds=60)


def options(found: Look) -> list[str]:
    return [each.option for each in found.suspicions]


@pytest.mark.parametrize("made_for", FEEDS)
def test_a_sound_model_raises_none(made_for):
    images, labels = pictures()
    found = seen(subject(made_for, made_for), images, labels)
    assert (found.accuracy, found.labeled, found.suspicions) == (1.0, COUNT, ())
    assert found.tried == ()  # beyond doubt
    assert (found.top_share, found.pictures) == (1 / CLASSES, COUNT)
    assert seen(subject(made_for, made_for), images, [None] * COUNT).suspicions == ()


@pytest.mark.parametrize(("made_for", "pixels"), [("byte", "unit"), ("unit", "byte"), ("byte", "signed")])
def test_the_range_by_which_it_gets_more_right_is_named(made_for, pixels):
    images, labels = pictures()
    found = seen(subject(made_for, pixels), images, labels)
    assert options(found) == [f"--pixels {made_for}"]
    assert "100% right by" in found.suspicions[0].evidence


def test_without_labels_the_range_by_which_it_sees_more_than_one_class_is_named():
    images, _ = pictures()
    found = seen(subject("byte", "unit"), images, [None] * COUNT)
    assert options(found) == ["--pixels byte"]
    assert found.accuracy is None


def test_exchanged_colors_are_found():
    images, labels = pictures(color=True)
    (right,) = [seen(subject(color=True), images, labels)]
    wrong = seen(subject(color=True), images[..., ::-1], labels)
    assert right.suspicions == ()
    assert [each.problem for each in wrong.suspicions] == ["the model seems to expect blue, green, red"]


@pytest.mark.parametrize(("shift", "offset", "option"), [(1, 0, "-1"), (-1, 0, "1"), (-1, 2, "3")])
def test_labels_that_are_off_by_one_are_found(shift, offset, option):
    images, labels = pictures()
    found = seen(subject(offset=offset), images, [label + shift for label in labels])
    assert options(found) == [f"--label_offset {option}"]


def test_names_in_another_order_are_found():
    images, labels = pictures()
    found = seen(subject(), images, [[2, 3, 0, 1][label] for label in labels])
    assert options(found) == ["--class_names in the order of the outputs"]
    assert "100% of the labels follow from the predicted class, but only 0%" in found.suspicions[0].evidence


def test_a_wrong_range_that_confuses_classes_is_not_taken_for_names_in_another_order():
    """As with real models: fed another range, they take the pictures of a class alike, but for another one."""
    labels = [number % CLASSES for number in range(COUNT)]
    names = ("a", "b", "c", "d")

    def predictions(classes: list[int]) -> Predictions:
        return Predictions(np.array(classes), 1.0, labels, names)

    given = predictions([[2, 3, 0, 1][label] for label in labels])
    better = predictions([label if number % 3 else 0 for number, label in enumerate(labels)])
    constant = predictions([1] * COUNT)
    assert [each.option for each in suspicions(given, {"byte": better}, "unit")] == ["--pixels byte"]
    assert [each.option for each in suspicions(given, {"byte": constant}, "unit")] == [
        "--class_names in the order of the outputs"
    ]


def test_one_class_for_all_is_suspicious_unless_the_labels_say_so():
    images, labels = pictures()
    dull = np.full_like(images, 0.3)
    assert [each.problem for each in seen(subject(), dull, labels).suspicions] == [
        "the model predicts nearly always the same class"
    ]
    assert seen(subject(), dull, [None] * COUNT).suspicions
    alike = np.random.default_rng(0).uniform(0.2, 0.45, (COUNT, 1, 1, 1)) * np.ones_like(images)
    assert seen(subject(), alike, [None] * COUNT).suspicions == ()
    assert seen(subject(), dull, [1] * COUNT).suspicions == ()


def test_predictions_by_chance_are_found():
    images, labels = pictures()
    shuffled = np.random.default_rng(2).permutation(labels).tolist()
    found = seen(subject(), images, shuffled)
    assert [each.problem for each in found.suspicions] == ["predictions have hardly anything to do with the labels"]
    half = [label if number % 2 else other for number, (label, other) in enumerate(zip(labels, shuffled, strict=True))]
    assert seen(subject(), images, half).suspicions == ()


def test_too_few_pictures_and_other_tasks_are_not_judged():
    images, labels = pictures()
    few = slice(0, LEAST - 1)
    assert seen(subject("byte"), images[few], labels[few]).suspicions == ()
    assert seen(subject("byte", task="labels"), images, labels).reason
    assert seen(subject(), images[:0], []).reason


def test_no_other_input_is_tried_when_time_is_up():
    images, labels = pictures()
    model = subject("byte")
    found = look(model, images, model.outputs(images), labels, seconds=-1)
    assert found.tried == () and found.accuracy == 1 / CLASSES
