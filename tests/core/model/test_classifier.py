"""Loading of every kind of model, and the scores against the same formulas in float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import loopback
from tests.networks import BUILDERS, CLASSES, SIZE
from tests.saved_models import save
from transforms.core.errors import UsageError
from transforms.core.model import classifier
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.names import class_names
from transforms.core.model.options import ModelOptions

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]])
EXTREME = np.array([[90.0, -90.0, 0.0], [-90.0, 90.0, 90.0]])
TARGETS = np.array([0, 2], np.int32)


def load(model: Any, **options: Any) -> classifier.Classifier:
    return classifier.load(model, ModelOptions(**options))


def identity(folder: Path, **options: Any) -> Any:
    """Loads a model of one pixel whose outputs are what it is fed."""
    return load(save(folder, lambda images: images[:, 0, 0, :] + 0.0, 1, 1), **{"outputs": "logits", **options})


def ends_in(folder: Path, last: Any, **options: Any) -> Any:
    return load(save(folder, lambda images: last(images[:, 0, 0, :] * 2.0 - 1.0), 1, 1), **options)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def log_odds(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    chosen = logits[np.arange(len(targets)), targets]
    others = np.where(np.arange(logits.shape[1]) == targets[:, None], -np.inf, logits)
    highest = others.max(1)
    return chosen - highest - np.log(np.exp(others - highest[:, None]).sum(1))


def score(model: Any, outputs: np.ndarray) -> np.ndarray:
    return model.score(tf.constant(outputs, tf.float32), tf.constant(TARGETS)).numpy()


@pytest.mark.parametrize(
    ("pixels", "fed"),
    [
        ("unit", [0.2, 0.4, 1.0]),
        ("signed", [-0.6, -0.2, 1.0]),
        ("byte", [51.0, 102.0, 255.0]),
        ("imagenet", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (1.0 - 0.406) / 0.225]),
        ("caffe", [255.0 - 103.939, 102.0 - 116.779, 51.0 - 123.68]),
    ],
)
def test_pixels_are_scaled_inside(pixels: str, fed: list[float], tmp_path: Path) -> None:
    model = identity(tmp_path, pixels=pixels)
    outputs = model.outputs(tf.constant([[[[0.2, 0.4, 1.0]]]]))
    assert outputs.numpy()[0] == pytest.approx(fed, rel=1e-5)  # float32


class TestScore:
    def test_of_logits(self, tmp_path: Path) -> None:
        path = save(tmp_path, lambda images: images[:, 0, 0, :] * 2.0 - 1.0, 1, 1)
        assert load(path).kind == "logits"
        assert score(load(path), LOGITS) == pytest.approx(softmax(LOGITS)[[0, 1], TARGETS], rel=1e-6)
        assert score(load(path, score="logit"), LOGITS) == pytest.approx(LOGITS[[0, 1], TARGETS], rel=1e-6)
        assert score(load(path, score="log_odds"), LOGITS) == pytest.approx(log_odds(LOGITS, TARGETS), rel=1e-5)
        assert score(load(path, score="log_odds"), EXTREME) == pytest.approx(log_odds(EXTREME, TARGETS), abs=1e-5)

    def test_of_probabilities(self, tmp_path: Path) -> None:
        for index, last in enumerate((tf.nn.softmax, lambda z: tf.squeeze(tf.nn.softmax(z[:, None]), 1))):
            model = ends_in(tmp_path / str(index), last, score="log_odds")
            assert model.kind == "softmax"
            assert score(model, softmax(LOGITS)) == pytest.approx(log_odds(LOGITS, TARGETS), rel=1e-5)
            assert model.to_probabilities(LOGITS).numpy().tolist() == np.float32(LOGITS).tolist()
        assert score(ends_in(tmp_path / "p", tf.nn.softmax), LOGITS) == pytest.approx(LOGITS[[0, 1], TARGETS], rel=1e-6)

    def test_of_independent_probabilities(self, tmp_path: Path) -> None:
        model = ends_in(tmp_path, tf.sigmoid, score="log_odds")
        odds = score(model, 1 / (1 + np.exp(-LOGITS)))
        assert odds == pytest.approx(LOGITS[[0, 1], TARGETS], rel=1e-4)  # 1 - p in float32

    @pytest.mark.parametrize("last", [tf.identity, tf.nn.softmax, tf.sigmoid])
    @pytest.mark.parametrize("name", ["probability", "log_odds"])
    def test_stays_finite_where_a_class_is_certain(self, last: Any, name: str, tmp_path: Path) -> None:
        model = ends_in(tmp_path, last, score=name)
        logits = tf.constant(EXTREME, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            scores = model.score(last(logits), tf.constant(TARGETS))
        assert np.isfinite(scores).all()
        assert np.isfinite(tape.gradient(scores, logits)).all()

    def test_may_be_the_users_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "own_scores.py").write_text(
            "import tensorflow as tf\n"
            "def margin(outputs, targets):\n"
            "    return tf.gather(outputs, targets, batch_dims=1) - tf.reduce_mean(outputs, 1)\n"
            "def everything(outputs, targets):\n"
            "    return outputs\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        found = score(identity(tmp_path / "a", score="own_scores:margin"), LOGITS)
        assert found == pytest.approx(LOGITS[[0, 1], TARGETS] - LOGITS.mean(1), rel=1e-5)
        with pytest.raises(ValueError, match=r"score='own_scores:none': no such function"):
            identity(tmp_path / "b", score="own_scores:none")
        with pytest.raises(ValueError, match=r"one number per image \[batch\], found float32 \(2, 3\)"):
            score(identity(tmp_path / "c", score="own_scores:everything"), LOGITS)

    def test_must_be_one_that_is_allowed(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"score: 'entropy' is not one of probability, logit, log_odds, or"):
            identity(tmp_path, score="entropy")
        with pytest.raises(ValueError, match=r"score='no_such_module:f': no such function"):
            identity(tmp_path, score="no_such_module:f")
        with pytest.raises(ValueError, match=r"pixels: 'half' is not one of unit, signed, byte, imagenet, caffe"):
            identity(tmp_path, pixels="half")


class TestFiles:
    @pytest.mark.parametrize("builder", BUILDERS)
    def test_every_kind_is_loaded(self, builder: str, tmp_path: Path) -> None:
        model = load(BUILDERS[builder](tmp_path / "net", "relu"))
        assert (model.input_shape, model.classes) == ((SIZE, SIZE, 3), CLASSES)
        assert (model.kind != "logits") == (builder == "fused_module")
        assert model.outputs(tf.zeros([2, SIZE, SIZE, 3])).shape == (2, CLASSES)
        assert model.frozen is not None

    def test_a_hub_handle_is_resolved_into_hubs_own_cache(
        self, served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, folder = served
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
        save(tmp_path / "net", lambda images: images[:, 0, 0, :] * 2.0, 1, 1)
        loopback.pack(str(tmp_path / "net"), folder / "1")
        for _ in range(2):
            model = load(f"{url}/1")
            assert model.outputs(tf.ones([1, 1, 1, 3])).numpy().tolist() == [[2.0, 2.0, 2.0]]
            (folder / "1").unlink(missing_ok=True)  # the second time it comes from the cache
        assert list((tmp_path / "cache").iterdir())
        with pytest.raises(ValueError, match=r"model='http://.*/2': TensorFlow Hub could not resolve it: .*404"):
            load(f"{url}/2")

    def test_a_call_in_inference_is_preferred(self, tmp_path: Path) -> None:
        class Net(tf.Module):
            @tf.function
            def __call__(self, images: Any, training: bool = True) -> Any:
                return images[:, 0, 0, :] * (100.0 if training else 1.0)

        net = Net()
        for training in (True, False):
            net.__call__.get_concrete_function(tf.TensorSpec([None, 1, 1, 3]), training=training)
        tf.saved_model.save(net, str(tmp_path))
        model = load(str(tmp_path), outputs="logits")
        assert model.outputs(tf.ones([1, 1, 1, 3])).numpy().tolist() == [[1.0, 1.0, 1.0]]

    def test_one_signature_is_chosen_by_name(self, tmp_path: Path) -> None:
        path = signed(
            tmp_path, one=lambda images: {"a": images[:, 0, 0, :]}, two=lambda images: {"a": -images[:, 0, 0, :]}
        )
        assert load(path, signature="two").outputs(tf.ones([1, 1, 1, 3])).numpy().tolist() == [[-1.0, -1.0, -1.0]]
        with pytest.raises(ValueError, match=r"signature='three': no such image function; allowed: \['one', 'two'\]"):
            load(path, signature="three")

    def test_one_output_is_chosen_by_name(self, tmp_path: Path) -> None:
        path = signed(tmp_path, both=lambda images: {"a": images[:, 0, 0, :], "b": images[:, 0, 0, :2]})
        assert load(path, output_name="b", outputs="logits").classes == 2
        with pytest.raises(ValueError, match=r"output_name: the model has several, name one of a, b"):
            load(path)
        with pytest.raises(ValueError, match=r"output_name='c': the model has a, b"):
            load(path, output_name="c")

    def test_outputs_with_axes_of_one_are_classes(self, tmp_path: Path) -> None:
        assert load(save(tmp_path / "a", lambda images: images[:, :1, :1, :], 4, 4), outputs="logits").classes == 3
        with pytest.raises(ValueError, match=r"expected outputs \[batch, classes\], found \(None, 4, 4, 3\)"):
            load(save(tmp_path / "b", lambda images: images * 1.0, 4, 4))

    def test_of_several_signatures_without_a_usual_name_one_must_be_named(self, tmp_path: Path) -> None:
        path = signed(tmp_path, b=lambda images: images[:, 0, 0] + 1.0, a=lambda images: images[:, 0, 0])
        with pytest.raises(UsageError, match="signature: the model has several, name one of a, b"):
            load(path)
        assert load(path, signature="b").outputs(np.zeros((1, 1, 1, 3))).numpy().tolist() == [[1, 1, 1]]

    def test_a_saved_model_without_image_functions_is_refused(self, tmp_path: Path) -> None:
        module = tf.Module()
        module.f = tf.function(lambda text: text, input_signature=[tf.TensorSpec([None], tf.string)])
        tf.saved_model.save(module, str(tmp_path), signatures={"parse": module.f})
        with pytest.raises(ValueError, match=r"no signature or call takes one batch of images.*\['parse'\]"):
            load(str(tmp_path))

    def test_a_hub_module_of_tensorflow_1_is_refused(self, tmp_path: Path) -> None:
        path = save(tmp_path, lambda images: images[:, 0, 0, :] * 1.0, 1, 1)
        (tmp_path / "tfhub_module.pb").write_bytes(b"\x08\x03")
        with pytest.raises(ValueError, match=r"a TF1 hub module .*take the module's TF2 version"):
            load(path)

    def test_what_is_no_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "model.h5").write_bytes(b"")
        (tmp_path / "model.keras").write_bytes(b"not a zip")
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff\xff")
        for name, reason in {
            "missing": "not an https:// TF-Hub handle, a SavedModel folder or a .keras file",
            "model.h5": "Keras cannot load it in safe mode",
            "model.keras": "Keras cannot load it in safe mode",
            "": "the folder holds no saved_model.pb",
            "broken": "TensorFlow cannot load it",
        }.items():
            with pytest.raises(ValueError, match=reason):
                load(str(tmp_path / name))

    def test_a_keras_file_may_not_bring_code(self, tmp_path: Path) -> None:
        import keras

        images = keras.Input((4, 4, 3))
        path = str(tmp_path / "lambda.keras")
        keras.Model(images, keras.layers.Lambda(lambda x: x[:, 0, 0, :])(images)).save(path)
        with pytest.raises(ValueError, match=r"Keras cannot load it in safe mode"):
            load(path)

    def test_the_digest_is_of_the_files_alone(self, tmp_path: Path) -> None:
        path = BUILDERS["keras3_file"](tmp_path / "a", "relu")
        digest = load(path).digest
        assert load(path, pixels="byte", score="log_odds").digest == digest
        assert load(BUILDERS["keras3_file"](tmp_path / "b", "elu")).digest != digest


class TestMemory:
    """Models that are objects give what their files give."""

    @pytest.mark.parametrize("builder", BUILDERS)
    def test_a_model_is_the_same_as_its_file(self, builder: str, tmp_path: Path) -> None:
        path = BUILDERS[builder](tmp_path / "net", "relu")
        if path.endswith(".keras"):
            import keras

            loaded = keras.models.load_model(path)
        else:
            loaded = tf.saved_model.load(path)
        images = np.random.default_rng(1).random((2, SIZE, SIZE, 3), np.float32)
        file, model = load(path, pixels="signed"), load(loaded, pixels="signed")
        np.testing.assert_array_equal(file.outputs(images), model.outputs(images))
        assert (file.kind, file.names) == (model.kind, model.names)
        assert model.frozen is not None
        assert model.size_bytes > 100

    def test_a_function_is_a_model_if_its_size_is_given(self) -> None:
        def reds(images: Any) -> Any:
            return tf.reduce_mean(images, [1, 2])

        model = load(reds, input_size="4x6", outputs="logits")
        assert (model.input_shape, model.classes) == ((4, 6, 3), 3)
        with pytest.raises(ValueError, match=r"input_size: the model takes any size"):
            load(reds)

    def test_a_module_that_was_never_saved_is_a_model(self) -> None:
        class Net(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None, 1, 2, 3], tf.float32)])
            def __call__(self, images: Any) -> Any:
                return images[:, 0, 0, :] * 2.0 - 1.0

        module = Net()
        assert load(module).input_shape == (1, 2, 3)
        assert load(module.__call__).input_shape == (1, 2, 3)

    def test_the_digest_is_of_graph_and_weights(self) -> None:
        import keras

        def net(bias: float) -> Any:
            images = keras.Input((4, 4, 3), name="images")
            dense = keras.layers.Dense(2, bias_initializer=keras.initializers.Constant(bias), name="dense")
            return keras.Model(images, dense(keras.layers.Flatten(name="flat")(images)), name="net")

        one = net(0.0)
        other = net(1.0)
        other.layers[-1].kernel.assign(one.layers[-1].kernel)
        assert load(one).digest == load(one, pixels="unit", score="log_odds").digest != load(other).digest

    def test_what_is_no_model_is_refused(self) -> None:
        for thing in (5, None, tf.Module()):
            with pytest.raises(
                ValueError, match=r"model: .* is neither a path, a Keras model, a loaded SavedModel nor"
            ):
                load(thing)

    def test_a_keras_model_has_no_signature(self, tmp_path: Path) -> None:
        import keras

        path = BUILDERS["keras3_file"](tmp_path / "net", "relu")
        for model in (path, keras.models.load_model(path)):
            with pytest.raises(ValueError, match="signature='serving_default': is for SavedModels; a Keras model is"):
                load(model, signature="serving_default")


class TestInput:
    def test_any_size_needs_one(self, tmp_path: Path) -> None:
        path = any_size(tmp_path)
        assert load(path, input_size="8x8", outputs="logits").input_shape == (8, 8, 3)
        assert load(path, input_size="8x6", outputs="logits").input_shape == (8, 6, 3)
        with pytest.raises(ValueError, match=r"input_size: the model takes any size \(\(None, None, None, 3\)\)"):
            load(path)

    def test_a_fixed_size_is_kept(self, tmp_path: Path) -> None:
        path = save(tmp_path, lambda images: images[:, 0, 0, :] * 1.0, 4, 6)
        assert load(path, input_size="4x6", outputs="logits").input_shape == (4, 6, 3)
        with pytest.raises(ValueError, match=r"input_size=8x8: the model takes 4x6 only"):
            load(path, input_size="8x8")

    def test_a_size_that_the_layers_refuse_is_named(self, tmp_path: Path) -> None:
        path = any_size(tmp_path, lambda images: tf.reshape(images, [-1, 48]) @ tf.ones([48, 2]) + images[:, 3, 3, :1])
        assert load(path, input_size="4x4").classes == 2
        with pytest.raises(ValueError, match=r"(?s)input_size: the model cannot be called with images of 5x5: .*75"):
            load(path, input_size="5x5")

    def test_a_size_that_a_keras_model_refuses_is_named(self, tmp_path: Path) -> None:
        import keras

        images = keras.Input((None, None, 3))
        keras.Model(images, keras.layers.Dense(2)(keras.layers.Reshape((48,))(images))).save(tmp_path / "any.keras")
        assert load(str(tmp_path / "any.keras"), input_size="4x4").classes == 2
        with pytest.raises(ValueError, match=r"(?s)input_size: the model cannot be called with images of 5x5: .*48"):
            load(str(tmp_path / "any.keras"), input_size="5x5")

    def test_what_fails_for_another_reason_is_not_laid_on_the_size(self, tmp_path: Path) -> None:
        def asserting(images: Any) -> Any:
            with tf.control_dependencies([tf.debugging.assert_greater(tf.reduce_min(images), 1.0, "too dark")]):
                return tf.reduce_mean(images, [1, 2])

        def mismatched(images: Any) -> Any:
            return tf.reshape(images, tf.constant([-1, 7]))[:, :2] + tf.reduce_mean(images)

        for name, path, size in [
            ("too dark", any_size(tmp_path / "a", asserting), "4x4, a size that it leaves open"),
            ("too dark", save(tmp_path / "b", asserting, 4, 4), "4x4, its own size"),
            ("reshape", save(tmp_path / "c", mismatched, 4, 4), "4x4, its own size"),
        ]:
            message = rf"model='{path}': it can be loaded, but not called with images of {size}: .*{name}"
            with pytest.raises(UnreadableError, match=f"(?s){message}") as raised:
                load(path, input_size="4x4")
            assert "input_size" not in str(raised.value)

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_other_floats_are_cast(self, dtype: str, tmp_path: Path) -> None:
        model = load(typed(tmp_path, [None, 1, 1, 3], dtype), outputs="logits")
        assert model.outputs(tf.fill([1, 1, 1, 3], 0.5)).numpy().tolist() == [[0.5, 0.5, 0.5]]


class TestNames:
    def test_number_the_classes_where_none_are_given(self, tmp_path: Path) -> None:
        assert identity(tmp_path).names == ("class_0", "class_1", "class_2")

    def test_may_lack_the_background_if_it_is_said(self, tmp_path: Path) -> None:
        model = identity(tmp_path, class_names=["x", "y"], background="true")
        assert model.names == ("background", "x", "y")
        assert not any("class_names" in sentence for sentence in model.facts.assumptions)

    @pytest.mark.parametrize("background", ["auto", "false"])
    def test_that_are_one_too_few_raise_the_question(self, background: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"2 class names for a model with 3 outputs; .* set background to true"):
            identity(tmp_path, class_names=["x", "y"], background=background)

    @pytest.mark.parametrize("count", [1, 3, 4])
    def test_leave_out_one_class_with_a_background(self, count: int, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=f"background: .* there are {count} class names for 3 outputs"):
            identity(tmp_path, class_names=["x"] * count, background="true")

    def test_of_imagenet_lack_it_by_a_known_assumption(self) -> None:
        names, assumed = class_names(ModelOptions(class_names=["x"] * 1000), 1001, "classes")
        assert names == ("background", *["x"] * 1000)
        (sentence,) = assumed
        assert "1,000 names for 1,001 outputs" in sentence and "--background" in sentence
        with pytest.raises(UsageError, match="1000 class names for a model with 1001 outputs"):
            class_names(ModelOptions(class_names=["x"] * 1000, background="false"), 1001, "classes")
        with pytest.raises(UsageError, match="999 class names for a model with 1001 outputs"):
            class_names(ModelOptions(class_names=["x"] * 999), 1001, "classes")

    @pytest.mark.parametrize("none", ["", (), [], np.array([], str)])
    def test_may_be_left_out(self, none: Any, tmp_path: Path) -> None:
        assert identity(tmp_path, class_names=none).names == ("class_0", "class_1", "class_2")

    def test_may_be_in_any_sequence(self, tmp_path: Path) -> None:
        for index, names in enumerate((["x", "y", "z"], ("x", "y", "z"), np.array(["x", "y", "z"]))):
            assert identity(tmp_path / str(index), class_names=names).names == ("x", "y", "z")

    def test_are_no_file_here(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"class_names: 'names.txt' is a file; expected a sequence of class names"):
            identity(tmp_path, class_names="names.txt")

    @pytest.mark.parametrize("count", [1, 4])
    def test_must_be_as_many_as_outputs(self, count: int, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"class_names: {count} class names for a model with 3 outputs"):
            identity(tmp_path, class_names=["x"] * count)


def signed(folder: Path, **functions: Any) -> str:
    """Saves a SavedModel with one signature per function of images `[batch, 1, 1, 3]`."""
    module = tf.Module()
    spec = tf.TensorSpec([None, 1, 1, 3], tf.float32)
    module.functions = {name: tf.function(function, input_signature=[spec]) for name, function in functions.items()}
    tf.saved_model.save(module, str(folder), signatures=module.functions)
    return str(folder)


def typed(folder: Path, shape: list[int | None], dtype: str) -> str:
    """Saves a model whose outputs are its only pixel, with an input of this shape and type."""
    module = tf.Module()
    module.__call__ = tf.function(
        lambda images: tf.cast(images[:, 0, 0, :], tf.float32), input_signature=[tf.TensorSpec(shape, dtype)]
    )
    tf.saved_model.save(module, str(folder))
    return str(folder)


def any_size(folder: Path, outputs: Any = lambda images: tf.reduce_mean(images, [1, 2])) -> str:
    module = tf.Module()
    module.__call__ = tf.function(outputs, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)])
    tf.saved_model.save(module, str(folder))
    return str(folder)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder, and the loopback address at which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    with loopback.serve(folder) as url:
        yield url, folder
