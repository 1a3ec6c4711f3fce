"""Masks and overlays against answers by hand, and panels that show any text as it is."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from transforms.core.maps.render import attribution_mask, clip_percentile, colorize, overlay
from transforms.core.maps.render.panels import Curve, Panel, draw_panels

GRAY = np.full((4, 6, 3), 0.5)


def test_the_mask_is_the_sum_of_magnitudes_over_channels():
    values = np.array([[[1, -2, 0.5], [0, 0, -0.25]]], np.float32)
    np.testing.assert_array_equal(attribution_mask(values), [[3.5, 0.25]])
    np.testing.assert_array_equal(attribution_mask(values[:, :, 1]), [[2, 0]])


def test_clipping_takes_the_percentile_for_full():
    mask = np.arange(101, dtype=np.float32).reshape(1, 101)
    clipped = clip_percentile(mask, 50)
    np.testing.assert_array_equal(clipped[0, [0, 25, 50, 100]], [0, 0.5, 1, 1])
    assert clip_percentile(mask, 100)[0, 50] == 0.5


def test_clipping_shows_a_single_bright_pixel_and_a_map_of_zeros():
    mask = np.zeros((20, 20), np.float32)
    np.testing.assert_array_equal(clip_percentile(mask), mask)
    mask[3, 4] = 7
    assert np.argwhere(clip_percentile(mask)).tolist() == [[3, 4]]


@pytest.mark.parametrize("percentile", [0, -1, 100.5, np.nan])
def test_a_percentile_out_of_range_is_refused(percentile):
    with pytest.raises(ValueError, match=r"percentile: .* is not above 0"):
        clip_percentile(np.ones((2, 2)), percentile)


def test_colours_are_those_of_the_map_and_unknown_ones_are_refused():
    np.testing.assert_array_equal(colorize(np.array([[0.0, 1.0]]), "gray"), [[[0, 0, 0], [1, 1, 1]]])
    with pytest.raises(ValueError, match="cmap: 'infernal' is not a color map"):
        colorize(np.zeros((1, 1)), "infernal")


def test_the_overlay_weighs_image_and_mask():
    np.testing.assert_allclose(overlay(GRAY, np.ones_like(GRAY), 0.4), 0.4 * 0.5 + 0.6, atol=1e-15)
    np.testing.assert_array_equal(overlay(GRAY, np.ones_like(GRAY), 1), GRAY)
    with pytest.raises(ValueError, match=r"alpha: 1\.5 is not from 0 to 1"):
        overlay(GRAY, GRAY, 1.5)


def test_panels_are_drawn_with_any_text():
    panels = [Panel(text, GRAY) for text in ("", "$\\frac{1}{", "\u202e猫 ☠")]
    content = draw_panels(panels, "<b>& $x^\n")
    picture = PIL.Image.open(io.BytesIO(content))
    assert picture.format == "PNG"
    assert min(picture.size) > 800
    assert content == draw_panels(panels, "<b>& $x^\n")


def test_a_curve_is_drawn_beside_a_picture():
    curve = Curve("score", np.array([0, 0.5, 1]), np.array([-1, 0.2, 3]), "α", "$ score")
    plain = draw_panels([Panel("", GRAY), Panel("", GRAY)])
    drawn = draw_panels([Panel("", GRAY), curve])
    assert PIL.Image.open(io.BytesIO(drawn)).size == PIL.Image.open(io.BytesIO(plain)).size
    assert drawn != plain


def test_panels_show_their_pictures():
    red, blue = np.zeros((2, 4, 4, 3))
    red[..., 0], blue[..., 2] = 1, 1
    picture = np.asarray(PIL.Image.open(io.BytesIO(draw_panels([Panel("", red), Panel("", blue)]))).convert("RGB"))
    middle = picture.shape[1] // 2
    assert {tuple(color) for color in picture[-20:].reshape(-1, 3)} <= {(255, 255, 255)}  # no axes below
    assert (picture[:, :middle] == [255, 0, 0]).all(axis=2).mean() > 0.3
    assert (picture[:, middle:] == [0, 0, 255]).all(axis=2).mean() > 0.3
