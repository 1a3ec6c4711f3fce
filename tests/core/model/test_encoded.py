"""Signatures of encoded images are entered behind their decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.input_models import check, network, save, spec
from transforms.core.errors import UsageError
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions


class TestEncoded:
    @pytest.mark.parametrize(
        ("pixels", "dtype", "decode"),
        [
            ("unit", tf.float32, "jpeg"),
            ("signed", tf.float32, "png"),
            ("byte", tf.uint8, "image"),
            ("caffe", tf.float32, "jpeg"),
        ],
    )
    def test_it_is_entered_behind_the_decoder(self, pixels: str, dtype: Any, decode: str, tmp_path: Path) -> None:
        from transforms.core.model.scalings import SCALINGS

        net, divisor = network(6, 6, 3), {"byte": 255.0, "caffe": 128.0}.get(pixels, 1.0)

        def decoded(data: Any) -> Any:
            decoder = {"jpeg": tf.io.decode_jpeg, "png": tf.io.decode_png, "image": tf.io.decode_image}[decode]
            extra = {"expand_animations": False} if decode == "image" else {}
            image = tf.image.resize(decoder(data, channels=3, **extra), [6, 6])
            image = image if dtype == tf.uint8 else SCALINGS[pixels](image / 255.0)
            return tf.cast(tf.ensure_shape(image, [6, 6, 3]), dtype)

        def serve(data: Any) -> Any:
            images = tf.map_fn(decoded, data, fn_output_signature=dtype)
            return {"logits": net(tf.cast(images, tf.float32) / divisor), "data": data}

        path = save(tmp_path, serve, tf.TensorSpec([None], tf.string))

        loaded = check(path, lambda images: net(SCALINGS[pixels](images) / divisor))
        assert f"to {pixels} values" in loaded.evidence.assumptions[0]
        assert loaded.frozen is not None
        with pytest.raises(UsageError, match=rf"pixels='imagenet': the model's own input is {pixels}"):
            classifier.load(path, ModelOptions(pixels="imagenet"))

    def test_a_batch_of_one(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)

        def serve(data: Any) -> Any:
            image = tf.image.resize(tf.io.decode_image(data[0], 3, expand_animations=False), [6, 6]) / 255.0
            return logits(image[None])

        check(save(tmp_path, serve, tf.TensorSpec([1], tf.string)), logits)

    @pytest.mark.parametrize(
        ("serve", "reason"),
        [
            (lambda data: tf.cast(tf.strings.length(data), tf.float32)[:, None], "no tensor .batch, height"),
            (lambda data: flipped(data), "decodes a PNG of 6 x 6 pixels to other values than unit"),
            (lambda data: parsed(data), "cannot decode pictures of ours"),
            (lambda data: flipped(data, add=True), "by other ways than the decoded one"),
        ],
    )
    def test_what_cannot_be_trusted_is_refused(self, serve: Any, reason: str, tmp_path: Path) -> None:
        path = save(tmp_path, serve, tf.TensorSpec([None], tf.string))
        with pytest.raises(UsageError, match=rf"(?s){reason}.*export a signature that takes decoded images"):
            classifier.load(path, ModelOptions())

    def test_a_signature_of_images_is_preferred(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        module = tf.Module()
        module.images = tf.function(logits, input_signature=[spec(6, 6, 3)])
        module.bytes = tf.function(lambda data: flipped(data), input_signature=[tf.TensorSpec([None], tf.string)])
        signatures = {"serving_default": module.bytes, "tensors": module.images}
        tf.saved_model.save(module, str(tmp_path), signatures=signatures)
        check(str(tmp_path), logits)


def flipped(data: Any, add: bool = False) -> Any:
    def one(each: Any) -> Any:
        image = tf.ensure_shape(tf.image.resize(tf.io.decode_jpeg(each, channels=3), [6, 6]), [6, 6, 3]) / 255.0
        return image if add else image[::-1] * 0.9 + 0.01 * image

    logits = network(6, 6, 3)(tf.map_fn(one, data, fn_output_signature=tf.float32))
    return logits + tf.cast(tf.strings.length(data), tf.float32)[:, None] if add else logits


def parsed(data: Any) -> Any:
    features = tf.io.parse_example(data, {"pixels": tf.io.FixedLenFeature([6, 6, 3], tf.float32)})
    return network(6, 6, 3)(features["pixels"])
