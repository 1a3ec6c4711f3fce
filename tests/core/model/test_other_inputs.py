"""What a model would be fed by another option, through a classifier that scales by its own."""

from __future__ import annotations

import numpy as np
import pytest

from transforms.core.model.input import SCALINGS
from transforms.core.model.other_inputs import BGR, other_inputs
from transforms.core.vocabulary import PIXELS

IMAGES = np.random.default_rng(0).random((2, 3, 4, 3), np.float32)


@pytest.mark.parametrize("pixels", PIXELS)
def test_the_model_is_fed_exactly_as_by_the_other_option(pixels):
    found = other_inputs(IMAGES, pixels)
    assert set(found) == {*PIXELS, BGR} - {pixels}
    for name in set(PIXELS) - {pixels}:
        fed = np.asarray(SCALINGS[pixels](found[name]))
        wanted = np.asarray(SCALINGS[name](IMAGES))
        np.testing.assert_allclose(fed, wanted, atol=1e-4)  # float32 of values up to 255, there and back
        assert np.abs(fed - np.asarray(SCALINGS[pixels](IMAGES))).max() > 0.1
    assert (found[BGR] == IMAGES[..., ::-1]).all()


def test_without_colors_only_ranges_that_know_none_are_tried():
    assert set(other_inputs(IMAGES[..., :1], "unit")) == {"signed", "byte"}
    assert other_inputs(IMAGES[..., :1], "caffe") == {}
