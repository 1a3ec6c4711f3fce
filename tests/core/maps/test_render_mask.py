"""Polarity, clipping by mass, clean-up, outlines and signed colours against answers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.maps.render import (
    GREEN,
    attribution_mask,
    clean_up,
    clip_mass,
    colorize_signed,
    outlines,
    signed_map,
    tint,
)

VALUES = np.array([[[1, -2, 0.5], [0, 0, -0.25]]], np.float32)


def test_a_polarity_is_taken_before_channels_are_summed():
    np.testing.assert_array_equal(attribution_mask(VALUES, "positive"), [[1.5, 0]])
    np.testing.assert_array_equal(attribution_mask(VALUES, "negative"), [[2, 0.25]])
    np.testing.assert_array_equal(attribution_mask(VALUES, "both"), [[3.5, 0.25]])
    np.testing.assert_array_equal(signed_map(VALUES), [[-0.5, -0.25]])
    with pytest.raises(ValueError, match="polarity: 'up' is not one of both, positive, negative"):
        attribution_mask(VALUES, "up")


def test_clipping_by_mass_stretches_between_percentiles_of_mass():
    mask = np.array([[50, 30, 10, 6, 4, 0]], float)  # in percent of the mass
    whole = clip_mass(mask, above=100, below=0)
    np.testing.assert_allclose(whole, [[1, 0.2 + 0.8 * 26 / 46, 0.2 + 0.8 * 6 / 46, 0.2 + 0.8 * 2 / 46, 0.2, 0]])
    # the first 60 % of mass end in the second pixel, the first 90 % in the third
    np.testing.assert_allclose(clip_mass(mask, above=40, below=10), [[1, 1, 0.2, 0, 0, 0]])
    np.testing.assert_allclose(clip_mass(mask, above=100, below=10, low=0.5), [[1, 0.75, 0.5, 0, 0, 0]])


def test_clipping_by_mass_knows_flat_and_empty_masks():
    np.testing.assert_array_equal(clip_mass(np.full((2, 3), 0.1)), np.ones((2, 3)))
    np.testing.assert_array_equal(clip_mass(np.zeros((2, 3))), np.zeros((2, 3)))


@pytest.mark.parametrize(("above", "below"), [(101, 0), (50, 50), (30, 60), (99, -1), (np.nan, 0)])
def test_percentiles_out_of_order_are_refused(above, below):
    with pytest.raises(ValueError, match=r"clip_below, clip_above: .* not in order within 0 to 100"):
        clip_mass(np.ones((2, 2)), above, below)


def test_clean_up_closes_gaps_and_removes_specks():
    mask = np.zeros((20, 20))
    mask[4:12, 4:12] = 1
    mask[7, 7] = 0
    mask[16, 16] = 1
    cleaned = clean_up(mask)
    wanted = np.zeros((20, 20))
    wanted[4:12, 4:12] = 1
    np.testing.assert_array_equal(cleaned, wanted)


def test_outlines_are_those_of_the_heaviest_regions():
    mask = np.zeros((20, 30))
    mask[2:8, 2:8] = 1  # 36 pixels of mass 36, with a hole
    mask[4:6, 4:6] = 0
    mask[12:17, 20:25] = 4  # 25 pixels of mass 100: heavier, though smaller
    mask[18, 1] = 1
    light = outlines(mask, mass=70)
    ring = np.zeros((20, 30), bool)
    ring[12:17, 20:25] = True
    ring[13:16, 21:24] = False
    np.testing.assert_array_equal(light, ring)
    both = outlines(mask, mass=99)
    assert both.sum() == 16 + 20  # of a square of 5, and of one of 6, whose hole has no outline
    assert outlines(mask, mass=100)[18, 1]


def test_outlines_of_nothing_are_nothing():
    assert not outlines(np.zeros((4, 4))).any()
    with pytest.raises(ValueError, match="mass: 0 is not above 0"):
        outlines(np.ones((4, 4)), mass=0)


def test_zero_is_in_the_middle_of_a_signed_map():
    colors = colorize_signed(np.array([[-2.0, 0.0, 2.0, 1.0]]), "gray", percentile=100)
    np.testing.assert_allclose(colors[0, :, 0], [0, 0.5, 1, 0.75], atol=1 / 256)  # 256 grays
    np.testing.assert_allclose(colorize_signed(np.zeros((1, 1)), "gray"), 0.5, atol=1 / 256)
    with pytest.raises(ValueError, match="percentile: 0 is not above 0"):
        colorize_signed(np.ones((1, 1)), percentile=0)


def test_tint_adds_light_of_a_colour():
    image = np.full((1, 2, 3), 0.5)
    np.testing.assert_allclose(tint(image, [[0, 0.25]], GREEN, 0.8), [[[0.5] * 3, [0.5, 0.7, 0.5]]])
    assert tint(image, [[1, 1]], GREEN).max() == 1
