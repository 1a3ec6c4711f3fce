"""Images in, explanations out, in order; and the notebook's door."""

from __future__ import annotations

import gc
import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.image.arrays import to_npy
from transforms.core.model import classifier
from transforms.core.path.integrate import Integral
from transforms.core.record import Explanation, Failure, Image

FIXED = {"rule": "midpoint", "steps": 12}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier.load(smooth(tmp_path_factory.mktemp("model") / "smooth"))


@pytest.fixture(scope="module")
def attributor(model):
    return Attributor(model, Settings(**FIXED), batch_size=8)


def images(count: int) -> list[Image]:
    return [Image(f"s#{i}", "s", i, png(picture)) for i, picture in enumerate(pictures(count))]


def arrays(count: int) -> np.ndarray:
    return np.random.default_rng(1).random((count, 32, 32, 3), np.float32)


def test_outcomes_come_in_order_whatever_fails(attributor):
    broken = Image("s#b", "s", 99, b"broken")
    lost = Failure("s#l", "s", 98, "read", "ShardError", "cut")
    given = [broken, *images(10), lost, broken, *images(9), lost]
    outcomes = list(attributor.attribute(given))
    ids = [outcome.image.id if isinstance(outcome, Explanation) else outcome.image_id for outcome in outcomes]
    assert ids == [item.id if isinstance(item, Image) else item.image_id for item in given]
    assert [type(outcome) for outcome in outcomes].count(Failure) == 4
    assert outcomes[11] is not None and outcomes[11].message == "cut"


def test_arrays_take_the_settings_range_and_transparent_pixels_their_color(model):
    array = np.linspace(-2, 6, 32 * 32 * 3).reshape(32, 32, 3).astype(np.float32)
    clear = io.BytesIO()
    PIL.Image.new("RGBA", (32, 32), (1, 2, 3, 0)).save(clear, "PNG")
    given = [Image("s#0", "s", 0, to_npy(array)), Image("s#1", "s", 1, clear.getvalue())]
    chosen = Attributor(model, Settings(value_range="-2,6", alpha_color="0,51,255", **FIXED), batch_size=8)
    first, second = chosen.attribute(given)
    np.testing.assert_allclose(first.pixels.array, (array + 2) / 8, atol=1e-6)
    np.testing.assert_allclose(second.pixels.array[5, 5], [0, 0.2, 1], atol=1e-6)
    refused, black = Attributor(model, Settings(**FIXED), batch_size=8).attribute(given)
    assert refused.stage == "decode" and "set value_range LOW,HIGH" in refused.message
    assert not black.pixels.array.any()


@pytest.mark.parametrize(
    ("name", "value"),
    [("value_range", "1,0"), ("value_range", "0"), ("alpha_color", "pink"), ("alpha_color", "0,0,256")],
)
def test_ranges_and_colors_that_are_none_are_refused(name, value):
    with pytest.raises(UsageError, match=f"^{name}: {value!r} is not"):
        Settings(**{name: value})


def test_nothing_in_nothing_out(attributor):
    assert list(attributor.attribute([])) == []


def test_an_explained_image_is_freed_without_waiting_for_the_collector(attributor):
    gc.collect()
    gc.disable()
    try:
        for _ in attributor.attribute(images(9)):
            pass
        assert not [found for found in gc.get_objects() if isinstance(found, Integral)]
    finally:
        gc.enable()


def test_images_are_read_as_they_are_needed(attributor):
    taken = []

    def source():
        for image in images(4) * 50:
            taken.append(image)
            yield image

    next(attributor.attribute(source()))
    assert len(taken) < 60


def test_batches_are_told_of(attributor):
    told = []
    list(attributor.attribute(images(5), lambda steps, seconds: told.append((steps, seconds))))
    assert sum(steps for steps, _ in told) == 5 * 12
    assert all(seconds > 0 for _, seconds in told)


def test_completeness(attributor):
    for explanation in attributor.explain(arrays(3)):
        (attribution,) = explanation.attributions
        change = attribution.score - attribution.baseline_score
        assert attribution.values.sum() == pytest.approx(change + attribution.convergence_delta, abs=1e-5)
        assert abs(attribution.convergence_delta) < 0.02 * max(0.1, abs(change))
        assert attribution.rank == 0
        assert attribution.score == pytest.approx(explanation.predictions[0].probability, abs=1e-6)


def test_targets_as_indices_one_hot_and_from_a_dataset(attributor):
    import tensorflow as tf

    values, targets = arrays(5), np.array([0, 4, 2, 2, 1])
    wanted = [explanation.attributions[0].values for explanation in attributor.explain(values, targets)]
    one_hot = np.eye(5, dtype=np.float32)[targets]
    dataset = tf.data.Dataset.from_tensor_slices((values, targets)).batch(2)
    for given in [(values, one_hot), (tf.constant(values), tf.constant(targets)), (dataset,)]:
        found = attributor.explain(*given)
        assert [explanation.attributions[0].target for explanation in found] == targets.tolist()
        for explanation, values_wanted in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(explanation.attributions[0].values, values_wanted)
    assert len(attributor.explain(tf.data.Dataset.from_tensor_slices(values).batch(2))) == 5


def test_bytes_and_floats_are_the_same_image(attributor):
    pixels = np.random.default_rng(2).integers(0, 256, (1, 32, 32, 3), np.uint8)
    (one,), (other,) = attributor.explain(pixels), attributor.explain((pixels / 255).astype(np.float32))
    np.testing.assert_allclose(one.attributions[0].values, other.attributions[0].values, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "targets", "message"),
    [
        (np.zeros((1, 16, 16, 3), np.float32), None, "shape"),
        (np.full((1, 32, 32, 3), 2.0, np.float32), None, "outside"),
        (np.full((1, 32, 32, 3), np.nan, np.float32), None, "outside"),
        (np.zeros((1, 32, 32, 3), np.float32), [5], "5 classes"),
        (np.zeros((1, 32, 32, 3), np.float32), [[1, 0, 7]], "5 classes"),
        (np.zeros((2, 32, 32, 3), np.float32), [1], "1 targets for 2 images"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(attributor, values, targets, message):
    with pytest.raises(ValueError, match=message):
        attributor.explain(values, targets)


def test_several_targets_are_those_of_each_alone(model):
    together = Attributor(model, Settings(targets="top3", **FIXED), 8).explain(arrays(2))
    for index, explanation in enumerate(together):
        assert [attribution.rank for attribution in explanation.attributions] == [0, 1, 2]
        for attribution in explanation.attributions:
            alone = Attributor(model, Settings(targets=f"class:{attribution.target}", **FIXED), 8)
            wanted = alone.explain(arrays(2))[index].attributions[0].values
            # the same steps in other batches: float32 rounding of sums of 12 terms
            np.testing.assert_allclose(attribution.values, wanted, atol=1e-6)


def test_several_baselines_are_averaged(model):
    def values(baseline: str) -> np.ndarray:
        return Attributor(model, Settings(baseline=baseline, **FIXED), 8).explain(arrays(1), [1])[0].attributions[0]

    both, black, white = values("black white"), values("black"), values("white")
    np.testing.assert_allclose(both.values, (black.values + white.values) / 2, atol=1e-6)
    assert both.baseline_score == pytest.approx((black.baseline_score + white.baseline_score) / 2, abs=1e-6)
    assert both.steps == black.steps + white.steps
    assert len(both.path) == 12


def test_a_picture_is_a_baseline(model):
    grey = np.full((32, 32, 3), 0.5, np.float32)
    (wanted,) = Attributor(model, Settings(baseline="gray white", **FIXED), 8).explain(arrays(1))
    bytes_of = np.full((32, 32, 3), 128, np.uint8)
    for picture, tolerance in [(grey, 1e-6), (tf.constant(grey), 1e-6), (bytes_of, 0.01)]:  # 128 / 255 is not 0.5
        made = Attributor(model, Settings(baseline="image:grey.png white", **FIXED), 8, [picture])
        (found,) = made.explain(arrays(1))
        np.testing.assert_allclose(found.attributions[0].values, wanted.attributions[0].values, atol=tolerance)


@pytest.mark.parametrize(
    ("baseline", "pictures", "message"),
    [
        ("black image:a.png image:b.png", [], "image:a.png, image:b.png with 0 pictures; baseline_images must .* 2 of"),
        ("image:a.png image:b.png", [np.zeros((32, 32, 3))], "image:a.png, image:b.png with 1 pictures"),
        ("image:a.png", [np.zeros((32, 32, 3))] * 2, "image:a.png with 2 pictures; .* 1 of them"),
        ("black", [np.zeros((32, 32, 3))], "no image: baseline with 1 pictures; .* 0 of them"),
        ("image:a.png", [np.zeros((16, 16, 3))], r"baseline image 0 has shape \(16, 16, 3\); the model takes"),
        ("image:a.png", [np.full((32, 32, 3), 255.0)], r"baseline image 0 has values outside \[0, 1\]"),
    ],
)
def test_pictures_that_do_not_fit_the_baselines_are_refused(model, baseline, pictures, message):
    with pytest.raises(ValueError, match=message):
        Attributor(model, Settings(baseline=baseline, **FIXED), 8, pictures)


def test_random_baselines_are_seeded_by_the_image_alone(model):
    random = Attributor(model, Settings(baseline="uniform:2", **FIXED), 8)
    first = [explanation.attributions[0].values for explanation in random.attribute(images(3))]
    again = [explanation.attributions[0].values for explanation in random.attribute(images(3)[::-1])][::-1]
    np.testing.assert_allclose(first, again, atol=1e-6)
    renamed = [Image("other", "s", 0, images(1)[0].data)]
    (other,) = random.attribute(renamed)
    assert np.abs(other.attributions[0].values - first[0]).max() > 1e-4


def test_a_tolerance_that_is_not_met_is_said(model):
    (explanation,) = Attributor(model, Settings(rule="midpoint", steps=2, tolerance=1e-6), 8).explain(arrays(1))
    assert not explanation.attributions[0].converged
    (explanation,) = Attributor(model, Settings(rule="midpoint", steps=64, tolerance=0.2), 8).explain(arrays(1))
    assert explanation.attributions[0].converged


@pytest.mark.parametrize("baseline", ["black", "black white"])
@pytest.mark.parametrize("rule", [FIXED, {"rule": "adaptive"}])
def test_the_plain_gradient_is_that_at_the_image(model, baseline, rule):
    settings = {"targets": "top2", "baseline": baseline, **rule}
    explanations = Attributor(model, Settings(gradient=True, **settings), 8).explain(arrays(5))
    without = Attributor(model, Settings(**settings), 8).explain(arrays(5))
    for image, explanation, other in zip(arrays(5), explanations, without, strict=True):
        for attribution, bare in zip(explanation.attributions, other.attributions, strict=True):
            tensor = tf.constant(image[None])
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                score = model.score(model.outputs(tensor), tf.constant([attribution.target]))
            wanted = tape.gradient(score, tensor).numpy()[0]
            # float32 rounding in another graph; a probability near 1 leaves few bits of its gradient
            np.testing.assert_allclose(attribution.gradient, wanted, atol=2e-3 * np.abs(wanted).max())
            np.testing.assert_allclose(attribution.values, bare.values, atol=1e-6)  # the integral is the same
            assert (attribution.steps, len(attribution.path)) == (bare.steps, len(bare.path))
            assert bare.gradient is None


@pytest.mark.parametrize("rule", [{}, FIXED])
def test_an_image_that_is_its_baseline_has_a_zero_map_and_no_error(model, rule):
    (explanation,) = Attributor(model, Settings(**rule), 8).explain(np.zeros((1, 32, 32, 3), np.float32))
    (attribution,) = explanation.attributions
    assert not attribution.values.any()
    assert (attribution.error_estimate, attribution.convergence_delta) == (0.0, 0.0)
