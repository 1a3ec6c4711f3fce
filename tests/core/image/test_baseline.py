"""Every baseline of the table, against SciPy where it filters and NumPy where it draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from transforms.core.image.baseline import GAUSSIAN_DEVIATION, Baseline, parse_baselines

IMAGE = np.random.default_rng(0).random((24, 17, 3), np.float32)
NAMES = ["black", "white", "gray", "mean", "color:255,0,51", "blur:2.5", "uniform:3", "gaussian:2"]


def make(text: str, image: np.ndarray = IMAGE, image_id: str = "a#1") -> np.ndarray:
    (baseline,) = parse_baselines(text)
    return baseline.make(image, image_id)


@pytest.mark.parametrize("name", NAMES)
def test_shape_range_and_name(name):
    (baseline,) = parse_baselines(name)
    made = baseline.make(IMAGE, "a#1")
    assert baseline.name == name
    assert made.shape == (baseline.count, *IMAGE.shape)
    assert made.dtype == np.float32 and made.flags.c_contiguous
    assert made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize(
    ("name", "rgb"),
    [("black", (0, 0, 0)), ("white", (1, 1, 1)), ("gray", (0.5, 0.5, 0.5)), ("color:255,0,51", (1, 0, 0.2))],
)
def test_one_colour(name, rgb):
    assert (make(name) == np.float32(rgb)).all()


def test_mean_is_the_images_own_colour():
    np.testing.assert_allclose(make("mean")[0, 5, 7], IMAGE.reshape(-1, 3).mean(axis=0), atol=1e-6)  # float32
    assert (make("mean") == make("mean")[0, 0, 0]).all()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 20.0])  # the last kernel reaches over the image several times
def test_blur_is_scipys_gaussian_filter(sigma):
    expected = ndimage.gaussian_filter(IMAGE.astype(np.float64), (sigma, sigma, 0), mode="reflect", truncate=4.0)
    np.testing.assert_allclose(make(f"blur:{sigma}")[0], expected, atol=1e-7)  # half a float32 step below 1


def test_blur_keeps_a_constant_image():
    constant = np.full((9, 5, 3), 0.7, np.float32)
    np.testing.assert_allclose(make("blur:3", constant)[0], constant, atol=1e-7)


def test_uniform_fills_the_unit_interval():
    values = np.sort(make("uniform:5", np.zeros((40, 40, 3), np.float32)).ravel())
    distance = np.abs(values - (np.arange(values.size) + 0.5) / values.size).max()
    assert distance < 1.63 / np.sqrt(values.size)  # Kolmogorov-Smirnov at 1 %


def test_gaussian_noise_has_its_deviation_and_is_clipped():
    gray = np.full((40, 40, 3), 0.5, np.float32)
    noise = make("gaussian:3", gray) - 0.5
    clipped = 0.98872  # the deviation of a standard normal clipped at 0.5 / 0.2 = 2.5, integrated numerically
    assert abs(noise.std() / GAUSSIAN_DEVIATION / clipped - 1) < 0.02  # three deviations of 14,400 draws: 0.018
    assert abs(noise.mean()) < 0.006  # three and a half of their mean
    assert np.abs(noise).max() == 0.5


@pytest.mark.parametrize("name", ["uniform:3", "gaussian:3"])
def test_random_baselines_depend_on_the_image_id_alone(name):
    np.testing.assert_array_equal(make(name), make(name))
    assert (make(name) != make(name, image_id="a#2")).mean() > 0.5
    assert (make(name)[0] != make(name)[1]).mean() > 0.5
    np.testing.assert_array_equal(make(name), make(name.replace("3", "5"))[:3])


def test_random_baselines_are_the_same_on_every_machine():
    assert make("uniform:1")[0, 0, 0].tolist() == [0.5288518071174622, 0.8124675750732422, 0.8631088137626648]


def test_constant_tells_whether_the_image_matters():
    for name in NAMES:
        (baseline,) = parse_baselines(name)
        same = np.array_equal(baseline.make(IMAGE, "a#1"), baseline.make(1 - IMAGE, "a#2"))
        assert baseline.constant == same


def test_a_picture_gets_its_pixels():
    (baseline,) = parse_baselines("image:gs://bucket/a,b:c.png")
    assert baseline.name == "image:gs://bucket/a,b:c.png"
    with pytest.raises(ValueError, match="has no pixels"):
        baseline.make(IMAGE, "a#1")
    filled = baseline.with_image(1 - IMAGE)
    assert filled == baseline and hash(filled) == hash(baseline)
    np.testing.assert_array_equal(filled.make(IMAGE, "a#1")[0], 1 - IMAGE)
    with pytest.raises(ValueError, match=r"pixels of shape \(24, 17, 3\), the image \(5, 5, 3\)"):
        filled.make(np.zeros((5, 5, 3), np.float32), "a#1")
    with pytest.raises(ValueError, match="black takes no picture"):
        parse_baselines("black")[0].with_image(IMAGE)


def test_several():
    names = ["black", "blur:3", "uniform:2"]
    assert [baseline.name for baseline in parse_baselines(" black  blur:3.0\nuniform:2 ")] == names
    assert parse_baselines(names) == parse_baselines(" ".join(names))
    assert [baseline.name for baseline in parse_baselines("blur:2.123456789 blur:2.12345678")] == [
        "blur:2.123456789",
        "blur:2.12345678",
    ]
    assert parse_baselines(["image:a b.png"])[0].name == "image:a b.png"


@pytest.mark.parametrize(
    "text",
    [
        *("", [], "pink", "black white black", "blur:2 blur:2.0", "black:1", "mean:"),
        *("color:", "color:1,,2", "color:1,2,256", "color:-1,2,3", "color:١,٢,٣"),
        *("blur", "blur:0", "blur:-1", "blur:nan", "blur:inf", "blur:x"),
        *("uniform:0", "uniform:1.5", "uniform:257", "gaussian:", "gaussian:٣", "image:"),
    ],
)
def test_errors_name_the_option(text):
    with pytest.raises(ValueError, match=r"^baseline: "):
        parse_baselines(text)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_parses_or_is_refused(text):
    try:
        baselines = parse_baselines(text)
    except ValueError as error:
        assert str(error).startswith("baseline: ")
    else:
        assert all(isinstance(baseline, Baseline) for baseline in baselines)
        assert parse_baselines([baseline.name for baseline in baselines]) == baselines
