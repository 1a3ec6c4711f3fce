"""Files of both Kerases, with layers of one's own, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.input_models import CLASSES, check
from transforms.core.errors import UsageError
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions


@pytest.fixture
def layers_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "class Scale(keras.layers.Layer):\n"
        "    def call(self, inputs):\n"
        "        return inputs * 2.0 - 1.0\n"
        "def bent(x):\n"
        "    return keras.ops.softplus(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_layers", raising=False)
    return "own_layers"


def keras_net(package: Any, *first: Any, activation: Any = "softplus") -> tuple[Any, Callable[[Any], Any]]:
    """Returns a network of Keras 2 or 3, and what it computes as a function."""
    layers = package.layers
    model = package.Sequential(
        [
            layers.Input((6, 6, 3)),
            *first,
            layers.Conv2D(4, 3, activation=activation),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    return model, lambda images: model(images, training=False)


class TestFiles:
    @pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
    @pytest.mark.parametrize("version", [2, 3])
    @pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
    def test_of_both_versions_of_keras(self, version: int, suffix: str, tmp_path: Path) -> None:
        package = pytest.importorskip("tf_keras" if version == 2 else "keras")
        model, outputs = keras_net(package)
        path = str(tmp_path / f"net{suffix}")
        model.save(path)
        check(path, outputs)
        check(model, outputs)

    @pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
    def test_of_keras_2_without_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model, outputs = keras_net(pytest.importorskip("tf_keras"))
        for suffix in (".keras", ".h5"):
            model.save(tmp_path / f"net{suffix}")
        monkeypatch.setitem(sys.modules, "tf_keras", None)
        check(str(tmp_path / "net.h5"), outputs)  # which Keras 3 reads
        with pytest.raises(UsageError, match=r"net.keras': a file of Keras 2\..*install tf_keras.*ig-audit\[keras2\]"):
            classifier.load(tmp_path / "net.keras", ModelOptions())

    @pytest.mark.parametrize("suffix", [".keras", ".h5"])
    def test_own_layers_come_from_a_module(self, suffix: str, layers_module: str, tmp_path: Path) -> None:
        import keras

        own = __import__(layers_module)
        model, outputs = keras_net(keras, own.Scale(), activation=own.bent)
        path = str(tmp_path / f"net{suffix}")
        model.save(path)
        del sys.modules[layers_module]
        with pytest.raises(ValueError, match=r"(?s)Keras cannot load it in safe mode.*need --custom_objects MODULE"):
            classifier.load(path, ModelOptions())
        loaded = check(path, outputs, custom_objects=layers_module)
        assert "own_layers, which runs as trusted code" in loaded.evidence.assumptions[0]
        with pytest.raises(UsageError, match=r"custom_objects='no_such_module': it cannot be imported"):
            classifier.load(path, ModelOptions(custom_objects="no_such_module"))

    @pytest.mark.parametrize("version", [2, 3])
    @pytest.mark.parametrize("nested", [False, True])
    @pytest.mark.parametrize("suffix", [".keras", ".h5"])
    def test_a_lambda_is_refused_unread(self, version: int, nested: bool, suffix: str, tmp_path: Path) -> None:
        package = pytest.importorskip("tf_keras" if version == 2 else "keras")
        layers, marker = package.layers, str(tmp_path / "ran")
        code = layers.Lambda(lambda images: (open(marker, "w").close(), images)[1], name="code")
        images = layers.Input((6, 6, 3))
        inner = package.Sequential([layers.Input((6, 6, 3)), code]) if nested else code
        model = package.Model(images, layers.Dense(2)(layers.Flatten()(inner(images))))
        path = tmp_path / f"net{suffix}"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            model.save(path)
        Path(marker).unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r"Keras cannot load it in safe mode.*[Ll]ambda.*--custom_objects"):
            classifier.load(path, ModelOptions())
        assert not Path(marker).exists()

    def test_weights_alone_are_no_model(self, tmp_path: Path) -> None:
        import keras

        model, _ = keras_net(keras)
        model.save_weights(tmp_path / "net.weights.h5")
        with pytest.raises(UsageError, match=r"it holds weights only; load them into their model"):
            classifier.load(tmp_path / "net.weights.h5", ModelOptions())

    def test_the_backend_is_set_whatever_the_environment_says(self) -> None:
        code = "from transforms.core.model.keras_file import import_keras; print(import_keras().backend.backend())"
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "tensorflow"

    def test_heads_go_by_the_names_of_their_layers(self) -> None:
        import keras

        images = keras.Input((6, 6, 3))
        flat = keras.layers.Flatten()(images)
        heads = [keras.layers.Dense(count, name=name)(flat) for name, count in (("kind", 3), ("color", 2))]
        assert classifier.load(keras.Model(images, heads), ModelOptions(output_name="color")).classes == 2

    def test_another_backend_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import keras

        model, _ = keras_net(keras)
        model.save(tmp_path / "net.keras")
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        for each in (model, tmp_path / "net.keras"):
            with pytest.raises(UsageError, match=r"imported with the backend jax.*KERAS_BACKEND=tensorflow"):
                classifier.load(each, ModelOptions())

    @pytest.mark.parametrize(
        ("name", "way"),
        [
            ("net.tflite", "give the model that it was made of"),
            ("net.onnx", "onnx2tf"),
            ("net.pt", r"torch\.onnx\.export"),
            ("net.safetensors", r"torch\.onnx\.export"),
            ("frozen.pb", r"wrap_function"),
            ("saved_model.pb", "give its folder"),
            ("net.json", "save the whole model"),
            ("net.zip", "unpack it"),
        ],
    )
    def test_other_formats_are_refused_with_the_way(self, name: str, way: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UsageError, match=rf"model='.*{name}': .*{way}"):
            classifier.load(tmp_path / name, ModelOptions())

    def test_a_folder_of_transformers_is_refused_with_the_way(self, tmp_path: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            (tmp_path / name).write_text("{}")
        with pytest.raises(ValueError, match=r"no saved_model.pb, but a model of Hugging Face's transformers; load it"):
            classifier.load(tmp_path, ModelOptions())
