"""Inputs of every kind: each model's maps against plain integrated gradients by a gradient tape over the same function.

The networks are smooth and tiny, so that float32 alone separates both: 1e-5 of a map's L1 norm, 2e-3 in half precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.input_models import CLASSES, STEPS, check, network, pictures, plain, save, spec
from transforms.core.errors import UsageError
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions


class TestChannels:
    @pytest.mark.parametrize("channels", [1, 2, 4, 13])
    def test_any_number_is_explained(self, channels: int, tmp_path: Path) -> None:
        logits = network(6, 6, channels)
        loaded = check(save(tmp_path, logits, spec(6, 6, channels)), logits)
        assert loaded.input_shape == (6, 6, channels)
        assert loaded.frozen is not None

    def test_none_at_all_are_gray(self, tmp_path: Path) -> None:
        logits = network(6, 5, 1)
        loaded = check(save(tmp_path, lambda images: logits(images[..., None]), spec(6, 5)), logits)
        assert loaded.input_shape == (6, 5, 1)
        assert "no axis of channels" in loaded.evidence.assumptions[0]

    def test_gray_arrays_need_no_axis(self) -> None:
        loaded = classifier.load(network(6, 5, 1), ModelOptions(input_size="6x5x1"))
        attributor = Attributor(loaded, Settings(rule="midpoint", steps=STEPS), 8)
        raw = pictures(6, 5, 1)
        wanted = attributor.explain(raw)
        for given, count in ((raw[..., 0], 2), (raw[0, ..., 0], 1), (tf.data.Dataset.from_tensors(raw[..., 0]), 2)):
            found = attributor.explain(given)
            assert len(found) == count
            np.testing.assert_array_equal(found[0].attributions[0].values, wanted[0].attributions[0].values)

    def test_open_ones_are_three_and_that_is_said(self) -> None:
        loaded = classifier.load(
            lambda images: tf.reduce_mean(images, [1, 2]), ModelOptions(input_size="4x5", outputs="logits")
        )
        assert loaded.input_shape == (4, 5, 3)
        assert "how many channels" in loaded.evidence.assumptions[0]
        gray = classifier.load(network(4, 5, 1), ModelOptions(input_size="4x5x1"))
        assert (gray.input_shape, gray.evidence.assumptions) == ((4, 5, 1), ())

    def test_input_size_must_agree(self, tmp_path: Path) -> None:
        path = save(tmp_path, network(6, 6, 1), spec(6, 6, 1))
        with pytest.raises(UsageError, match=r"input_size=6x6x3: the model takes 1 channel only"):
            classifier.load(path, ModelOptions(input_size="6x6x3"))

    @pytest.mark.parametrize("pixels", ["imagenet", "caffe"])
    def test_scalings_of_colors_need_three(self, pixels: str, tmp_path: Path) -> None:
        path = save(tmp_path, network(6, 6, 1), spec(6, 6, 1))
        with pytest.raises(UsageError, match=rf"pixels='{pixels}': is for red.* takes 1 channel; allowed are unit, s"):
            classifier.load(path, ModelOptions(pixels=pixels))

    @pytest.mark.parametrize("baseline", ["white", "mean", "gray", "blur:2", "uniform:2", "gaussian:2", "color:7,9"])
    def test_every_baseline_has_as_many(self, baseline: str, tmp_path: Path) -> None:
        loaded = classifier.load(save(tmp_path, network(6, 6, 2), spec(6, 6, 2)), ModelOptions())
        (found,) = Attributor(loaded, Settings(baseline=baseline), 8).explain(pictures(6, 6, 2, 1))
        assert found.attributions[0].values.shape == (6, 6, 2)
        assert found.attributions[0].converged

    def test_a_color_of_another_number_is_refused(self, tmp_path: Path) -> None:
        loaded = classifier.load(save(tmp_path, network(6, 6, 1), spec(6, 6, 1)), ModelOptions())
        with pytest.raises(UsageError, match=r"baseline: color:1,2,3 has 3 channels, the model takes 1"):
            Attributor(loaded, Settings(baseline="color:1,2,3"), 8)


class TestLayout:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_channels_first_are_recognized(self, channels: int, tmp_path: Path) -> None:
        logits = network(6, 8, channels)
        path = save(tmp_path, lambda images: logits(tf.transpose(images, [0, 2, 3, 1])), spec(channels, 6, 8))
        loaded = check(path, logits)
        assert loaded.input_shape == (6, 8, channels)
        assert "channels first" in loaded.evidence.assumptions[0]

    @pytest.mark.parametrize("shape", [(3, 3, 3), (3, None, None), (13, 16, 16), (3, 4, 4)])
    def test_what_could_be_either_is_asked(self, shape: tuple[int | None, ...], tmp_path: Path) -> None:
        path = save(tmp_path, lambda images: tf.reduce_mean(images, [1, 2])[:, :3], spec(*shape))
        with pytest.raises(UsageError, match=r"layout: the model's input .* --layout channels_first or --layout"):
            classifier.load(path, ModelOptions(input_size="" if shape[1] else "4x4"))

    def test_the_option_decides(self, tmp_path: Path) -> None:
        logits = network(3, 3, 3)
        path = save(tmp_path / "last", logits, spec(3, 3, 3))
        assert check(path, logits, layout="channels_last").evidence.assumptions == ()
        first = save(tmp_path / "first", lambda images: logits(tf.transpose(images, [0, 2, 3, 1])), spec(3, 3, 3))
        assert check(first, logits, layout="channels_first").evidence.assumptions == ()


class TestIntegers:
    @pytest.mark.parametrize("way", ["cast", "transposed", "resized", "twice", "shape"])
    def test_a_byte_model_is_entered_behind_its_cast(self, way: str, tmp_path: Path) -> None:
        logits = network(6, 6, 3)

        def function(images: Any) -> Any:
            if way == "twice":
                return logits(tf.cast(tf.cast(images, tf.int32), tf.float32) / 255.0)
            if way == "resized":
                return logits(tf.image.resize(images, [6, 6]) / 255.0)
            if way == "transposed":
                images = tf.transpose(tf.reverse(images, [-1]), [0, 1, 2, 3])[:, :, :, ::-1]
            if way == "shape":
                images = tf.reshape(images, tf.concat([tf.shape(images)[:1], [6, 6, 3]], 0))
            return logits(tf.image.convert_image_dtype(images, tf.float32))

        loaded = check(save(tmp_path, function, spec(6, 6, 3, dtype=tf.uint8)), logits)
        assert "uint8, 0 to 255" in loaded.evidence.assumptions[0]
        assert loaded.frozen is not None
        raw = pictures(6, 6, 3)
        own = function(tf.constant(np.rint(raw * 255), tf.uint8))
        np.testing.assert_allclose(loaded.outputs(raw), own, rtol=1e-4, atol=1e-5)

    def test_of_a_keras_model(self) -> None:
        import keras

        images = keras.Input((6, 6, 3), dtype="uint8", name="images")
        scaled = keras.layers.Rescaling(1 / 255)(images)
        model = keras.Model(images, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(scaled)))
        dense = model.layers[-1]
        check(model, lambda raw: tf.reshape(raw, [-1, 108]) @ dense.kernel.value + dense.bias.value)

    def test_other_integers_ask_for_their_range(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        path = save(tmp_path, lambda images: logits(tf.cast(images, tf.float32) / 255.0), spec(6, 6, 3, dtype=tf.int32))
        with pytest.raises(UsageError, match=r"pixels='unit': the model takes whole numbers, int32.*--pixels byte"):
            classifier.load(path, ModelOptions())
        check(path, logits, pixels="byte")

    def test_a_range_that_contradicts_is_refused(self, tmp_path: Path) -> None:
        path = save(tmp_path, lambda images: tf.cast(images, tf.float32)[:, 0, 0], spec(6, 6, 3, dtype=tf.uint8))
        with pytest.raises(UsageError, match=r"pixels='signed': the model's own input is byte.*--pixels byte"):
            classifier.load(path, ModelOptions(pixels="signed"))

    @pytest.mark.parametrize("function", [lambda images: images // 2, lambda images: tf.bitwise.invert(images)])
    def test_arithmetic_before_the_cast_is_refused(self, function: Any, tmp_path: Path) -> None:
        path = save(
            tmp_path, lambda images: tf.cast(function(images), tf.float32)[:, 0, 0], spec(6, 6, 3, dtype=tf.uint8)
        )
        with pytest.raises(UsageError, match=r"uint8, which has no gradient.*export the model with a float input"):
            classifier.load(path, ModelOptions())


class TestBatch:
    @pytest.mark.parametrize("batch", [1, 4])
    def test_a_fixed_one_is_kept(self, batch: int, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        fixed = tf.TensorSpec([batch, 6, 6, 3], tf.float32)
        loaded = check(save(tmp_path, lambda images: logits(tf.reshape(images, [batch, 6, 6, 3])), fixed), logits)
        assert f"fixed at {batch}" in loaded.evidence.assumptions[0]

    def test_an_image_is_alone_in_a_batch_of_one(self, tmp_path: Path) -> None:
        """The model subtracts the mean of its batch: of one image that is the image's own."""
        logits = network(6, 6, 3)

        def normalized(images: tf.Tensor) -> tf.Tensor:
            return logits(images - tf.reduce_mean(images, keepdims=True))

        path = save(tmp_path, normalized, tf.TensorSpec([1, 6, 6, 3], tf.float32))
        check(path, lambda images: logits(images - tf.reduce_mean(images, [1, 2, 3], keepdims=True)))

    def test_fixed_bytes_with_channels_first(self, tmp_path: Path) -> None:
        logits = network(6, 8, 3)

        def function(images: Any) -> Any:
            return logits(tf.cast(tf.transpose(images, [0, 2, 3, 1]), tf.float32) / 255.0)

        path = save(tmp_path, function, tf.TensorSpec([1, 3, 6, 8], tf.uint8))
        assert len(check(path, logits).evidence.assumptions) == 3

    def test_a_sigmoid_stays_one(self, tmp_path: Path) -> None:
        fixed = tf.TensorSpec([1, 6, 6, 3], tf.float32)
        path = save(tmp_path, lambda images: tf.sigmoid(network(6, 6, 3)(images)), fixed)
        assert classifier.load(path, ModelOptions()).kind == "sigmoid"


class TestFloats:
    @pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
    def test_of_any_width(self, dtype: Any, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        check(
            save(tmp_path, lambda images: logits(tf.cast(images, tf.float32)), spec(6, 6, 3, dtype=dtype)),
            lambda images: logits(tf.cast(tf.cast(images, dtype), tf.float32)),
            tolerance=2e-2 if dtype == tf.bfloat16 else 2e-3,
        )

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_mixed_precision_repeats_itself(self, policy: str) -> None:
        import keras

        keras.utils.set_random_seed(3)
        layers, images = keras.layers, keras.Input((8, 8, 3))
        with_policy = {"dtype": policy}
        flow = layers.Conv2D(4, 3, use_bias=False, **with_policy)(images)
        flow = layers.Activation("softplus", **with_policy)(layers.BatchNormalization(**with_policy)(flow))
        flow = layers.GlobalAveragePooling2D(**with_policy)(layers.DepthwiseConv2D(3, **with_policy)(flow))
        model = keras.Model(images, layers.Dense(CLASSES, dtype="float32")(flow))
        loaded = classifier.load(model, ModelOptions())
        settings = Settings(rule="midpoint", steps=STEPS, targets="class:1")
        raw = pictures(8, 8, 3)
        one, other = (Attributor(loaded, settings, batch).explain(raw) for batch in (8, 3))
        for index, image in enumerate(raw):
            values, again = (found[index].attributions[0].values for found in (one, other))
            wanted = plain(lambda images: model(images, training=False), image, 1)
            norm = np.abs(wanted).sum()
            assert np.abs(values - again).sum() <= 2e-2 * norm
            assert np.abs(values - wanted).sum() <= 5e-2 * norm


class TestSeveral:
    SPECS = (
        spec(6, 6, 3),
        spec(1, name="temperature"),
        tf.TensorSpec([], tf.bool, name="training"),
        spec(3, name="mask"),
    )

    @staticmethod
    def of(images: Any, temperature: Any, training: Any, mask: Any) -> Any:
        return network(6, 6, 3)(images) / temperature * mask + 100.0 * tf.cast(training, tf.float32)

    def test_constants_are_given_by_name(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        constants = ("temperature=2", "training=false", "mask=1,0.5,0.25")
        path = save(tmp_path, self.of, *self.SPECS)
        check(path, lambda images: logits(images) / 2.0 * tf.constant([1, 0.5, 0.25]), constants=constants)

    def test_what_is_missing_is_listed(self, tmp_path: Path) -> None:
        path = save(tmp_path, self.of, *self.SPECS)
        listed = r"constants: .* like --constants mask=1.0 training=1.0; .*temperature float32 \(None, 1\)"
        with pytest.raises(UsageError, match=listed):
            classifier.load(path, ModelOptions(constants=("temperature=1",)))
        with pytest.raises(UsageError, match=r"constants: scale: no such input; its inputs are .*mask float32"):
            classifier.load(path, ModelOptions(constants=("scale=1",)))
        with pytest.raises(UsageError, match=r"constants: training=no is no bool: 'no' is not true or false"):
            classifier.load(path, ModelOptions(constants=("temperature=1", "training=no", "mask=1")))
        with pytest.raises(UsageError, match=r"constants: mask=1,2 has 2 values; expected one, or as many as"):
            classifier.load(path, ModelOptions(constants=("temperature=1", "training=1", "mask=1,2")))

    def test_the_image_is_chosen_by_name(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)
        path = save(
            tmp_path,
            lambda left, right: logits(left) - 2 * logits(right),
            spec(6, 6, 3, name="left"),
            spec(6, 6, 3, name="right"),
        )
        with pytest.raises(UsageError, match=r"input_name: the image among the model's inputs could be left, right"):
            classifier.load(path, ModelOptions())
        black = logits(tf.zeros([1, 6, 6, 3]))
        check(path, lambda images: black - 2 * logits(images), input_name="right", constants=("left=0",))
        check(path, lambda images: logits(images) - 2 * black, constants=("right=0",))
        with pytest.raises(UsageError, match=r"input_name='middle': no such input"):
            classifier.load(path, ModelOptions(input_name="middle"))

    def test_options_for_what_is_not_there_are_refused(self, tmp_path: Path) -> None:
        for options, message in (
            ({"constants": "age=1"}, "constants: age: no such input"),
            ({"input_name": "photo"}, "input_name='photo': no such input"),
            ({"custom_objects": "os"}, "custom_objects='os': is for Keras files"),
        ):
            for model in (network(6, 6, 3), save(tmp_path / next(iter(options)), network(6, 6, 3), spec(6, 6, 3))):
                with pytest.raises(UsageError, match=message):
                    classifier.load(model, ModelOptions(input_size="6x6", **options))

    @pytest.mark.parametrize("as_dict", [False, True])
    def test_of_a_keras_model(self, as_dict: bool, tmp_path: Path) -> None:
        import keras

        images, age = keras.Input((6, 6, 3), name="photo"), keras.Input((2,), name="age")
        flow = keras.layers.Concatenate()([keras.layers.Flatten()(images), age])
        dense = keras.layers.Dense(CLASSES)
        model = keras.Model({"photo": images, "age": age} if as_dict else [age, images], dense(flow))
        model.save(tmp_path / "net.keras")

        def outputs(raw: tf.Tensor) -> tf.Tensor:
            ages = tf.tile([[0.5, -1.0]], [tf.shape(raw)[0], 1])
            return tf.concat([tf.reshape(raw, [-1, 108]), ages], 1) @ dense.kernel.value + dense.bias.value

        for each in (model, str(tmp_path / "net.keras")):
            check(each, outputs, constants="age=0.5,-1")
            with pytest.raises(UsageError, match=r"besides the image 'photo'.*age float32 \(None, 2\)"):
                classifier.load(each, ModelOptions())

    def test_a_function_of_keywords_alone_is_called(self, tmp_path: Path) -> None:
        logits = network(6, 6, 3)

        class Net(tf.Module):
            @tf.function(autograph=False)
            def __call__(self, *, images: Any) -> Any:
                return logits(images)

        net = Net()
        net.__call__.get_concrete_function(images=spec(6, 6, 3))
        tf.saved_model.save(net, str(tmp_path), signatures={})
        check(str(tmp_path), logits)
