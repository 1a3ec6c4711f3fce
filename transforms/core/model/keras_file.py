"""A Keras model, in memory or in a `.keras`, `.h5` or `.hdf5` file of Keras 3 or Keras 2.

A file may hold functions as bytecode, in Lambda layers; none is loaded that does. The code of layers of one's own
comes from modules that the user names, which are imported as trusted code.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.entry import Entry, image_function
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.opened import OpenedModel, Outputs, named
from transforms.core.model.options import ModelOptions

SUFFIXES = (".keras", ".h5", ".hdf5")
"""Of Keras files."""

ANY_SIZE = tf.TensorSpec([None, None, None, None], tf.float32)
"""The input of a model that declares none."""

_BACKEND = "tensorflow"
_SET_BACKEND = "set the environment variable KERAS_BACKEND=tensorflow, or import ig_audit first"
_MAX_CONFIG_BYTES = 64 << 20


def open_keras_file(path: Path, options: ModelOptions) -> OpenedModel:
    """Opens a Keras file.

    Raises:
        UnreadableError: the file is damaged, or Keras cannot load it in safe mode.
        UsageError: it holds code, or only weights; it needs another Keras; or its input is not understood.
    """
    config, version = _read(path)
    if holds_code(config):
        raise UnreadableError(
            f"model={str(path)!r}: Keras cannot load it in safe mode: it holds functions as bytecode, in a Lambda "
            "layer; save it with a layer of your own in its place, whose module --custom_objects names, or as a "
            "SavedModel by model.export(folder)"
        )
    package = _package(path, version)
    objects = custom_objects(options.custom_objects)
    try:
        model = package.models.load_model(path, custom_objects=objects, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything from TypeError to zipfile's errors on a bad file
        raise UnreadableError(
            f"model={str(path)!r}: Keras cannot load it in safe mode: {error}{_hint(version, options)}"
        ) from error
    opened = of_keras(model, str(path), path, options)
    if not options.custom_objects:
        return opened
    said = f"layers of its own come from {', '.join(options.custom_objects)}, which runs as trusted code"
    return dataclasses.replace(opened, assumptions=(said,))


def of_keras(model: Any, name: str, path: Path | None, options: ModelOptions) -> OpenedModel:
    """Opens a loaded Keras model.

    Raises:
        UsageError: it has a signature's name, runs on another backend, or its input is not understood.
    """
    if options.signature:
        raise UsageError(f"signature={options.signature!r}: is for SavedModels; a Keras model is called itself")
    structure = _inputs(model)
    heads = tuple(getattr(model, "output_names", None) or ())  # a subclass has none
    leaves = tf.nest.flatten(structure)
    specs: dict[str, tf.TensorSpec] = {}
    for index, leaf in enumerate(leaves):
        key = leaf.name or f"input_{index}"
        specs[key if key not in specs else f"{key}_{index}"] = tf.TensorSpec(leaf.shape, leaf.dtype)

    def call(values: Mapping[str, tf.Tensor]) -> Outputs:
        packed = tf.nest.pack_sequence_as(structure, [values[key] for key in specs])
        return named(model(packed, training=False), heads)

    function = image_function(Entry(specs, call), options)
    if function.takes_bytes:
        raise UsageError(f"model={name!r}: its input is text; expected images [batch, height, width, channels]")
    return OpenedModel(name, path, function.spec, function.call, model)


def _inputs(model: Any) -> Any:
    """Returns the inputs in the structure in which the model takes them."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return ANY_SIZE  # a subclass declares none
    structure = getattr(model, "input", None)  # None of a Sequential of Keras 3
    return structure if structure is not None else inputs[0] if len(inputs) == 1 else inputs


def is_keras(model: object) -> bool:
    """Returns whether an object is a model of Keras 3 or Keras 2, without importing either.

    Raises:
        UsageError: it is one of Keras 3 on another backend than TensorFlow.
    """
    packages = [sys.modules[name] for name in ("keras", "tf_keras") if sys.modules.get(name) is not None]
    if not any(isinstance(model, package.Model) for package in packages):
        return False
    if any(package.__name__ == "keras" and isinstance(model, package.Model) for package in packages):
        import_keras()
    return True


def custom_objects(modules: tuple[str, ...]) -> dict[str, Any]:
    """Returns the classes and functions of modules by name, and registers those that do so when they are imported.

    Args:
        modules: names of importable modules.

    Raises:
        UsageError: there is no such module.
    """
    found = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise UsageError(f"custom_objects={name!r}: it cannot be imported: {error}") from error
        top = name.partition(".")[0]
        for key, value in vars(module).items():
            own = getattr(value, "__module__", "").partition(".")[0] == top
            if own and (inspect.isclass(value) or inspect.isfunction(value)):
                found[key] = value
    return found


def holds_code(config: object) -> bool:
    """Returns whether a model's config has a function as bytecode, anywhere in its layers."""
    stack = [config]
    while stack:
        each = stack.pop()
        if isinstance(each, Mapping):
            names = {str(each.get(key)) for key in ("class_name", "registered_name")}
            if each.get("function_type") == "lambda" or names & {"Lambda", "__lambda__"}:
                return True
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)
    return False


def import_keras() -> Any:
    """Returns Keras 3; this package has set its backend if it was not imported before.

    Raises:
        UsageError: it has been imported with another backend.
    """
    try:
        import keras

        backend = keras.backend.backend()
    except ImportError as error:  # TensorFlow has tried to import it before, for a backend that is not installed
        raise UsageError(f"model: Keras cannot be imported: {error}; {_SET_BACKEND}") from error
    if backend != _BACKEND:
        raise UsageError(
            f"model: Keras was imported with the backend {backend}, whose models TensorFlow cannot differentiate; "
            f"{_SET_BACKEND}"
        )
    return keras


def _package(path: Path, version: str) -> Any:
    """Returns the Keras that loads a file of some version."""
    if not version.startswith("2."):
        return import_keras()
    try:
        import tf_keras

        return tf_keras
    except ImportError:
        if path.suffix != ".keras":
            return import_keras()  # which reads most of these files
    raise UsageError(
        f"model={str(path)!r}: a file of Keras {version}, which Keras 3 does not read; install tf_keras "
        "(pip install 'ig-audit[keras2]'), or load it where it was saved and save it as a SavedModel"
    )


def _hint(version: str, options: ModelOptions) -> str:
    hints = []
    if not options.custom_objects:
        hints.append("layers of your own need --custom_objects MODULE")
    if version.startswith("2.") and "tf_keras" not in sys.modules:
        hints.append(f"the file is of Keras {version}: pip install tf_keras")
    return f" ({'; '.join(hints)})" if hints else ""


def _read(path: Path) -> tuple[Any, str]:
    """Returns a file's config, and the version of the Keras that wrote it; empty if it does not say.

    Raises:
        UnreadableError: it is damaged, or its config is too large.
        UsageError: it has only weights.
    """
    try:
        text, version = _read_zip(path) if path.suffix == ".keras" else _read_hdf5(path)
        if text is not None:
            return json.loads(text), version
    except UsageError:
        raise
    except Exception as error:  # h5py and zipfile raise errors of many kinds
        raise UnreadableError(f"model={str(path)!r}: Keras cannot load it in safe mode: {error}") from error
    raise UsageError(
        f"model={str(path)!r}: it holds weights only; load them into their model, and save that whole, by model.save"
    )


def _read_zip(path: Path) -> tuple[str | bytes | None, str]:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"its config.json is larger than {_MAX_CONFIG_BYTES >> 20} MiB")
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
        return archive.read("config.json"), str(metadata.get("keras_version", ""))


def _read_hdf5(path: Path) -> tuple[str | bytes | None, str]:
    import h5py

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            return None, ""
        if file.attrs.get_id("model_config").get_storage_size() > _MAX_CONFIG_BYTES:
            raise ValueError(f"its model_config is larger than {_MAX_CONFIG_BYTES >> 20} MiB")
        version = file.attrs.get("keras_version", "")
        return file.attrs["model_config"], version.decode() if isinstance(version, bytes) else str(version)
