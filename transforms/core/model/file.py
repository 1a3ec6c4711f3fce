"""A TF-Hub handle, SavedModel folder, Keras file or model in memory → one function from images to outputs.

Whatever the model's kind, what leaves this module is an `OpenedModel`: a traceable function of one batch
of images, with its input's shape and type, and the folder or file it came from.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.entry import Entry, image_function
from transforms.core.model.keras_file import ANY_SIZE, SUFFIXES, is_keras, of_keras, open_keras_file
from transforms.core.model.local_copy import load_copy
from transforms.core.model.opened import OpenedModel, named
from transforms.core.model.options import ModelOptions
from transforms.core.model.saved_model import entries_of, open_entries, open_saved_model

__all__ = ["OpenedModel", "load_resolved", "open_model", "resolve", "set_up_gpus"]

T = TypeVar("T")

_ALLOWED = "a SavedModel folder or a .keras file"
_BY_TENSORFLOW = "which holds no gradients; give the model that it was made of, as a SavedModel or a Keras file"
_REFUSED = {
    ".tflite": f"a TensorFlow Lite model, {_BY_TENSORFLOW}",
    ".mlmodel": f"a Core ML model, {_BY_TENSORFLOW}",
    ".onnx": "an ONNX model; convert it by onnx2tf (onnx2tf -i model.onnx -o folder), which writes a SavedModel",
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".torchscript"),
        "weights or a model of PyTorch; export it by torch.onnx.export, and convert that by onnx2tf to a SavedModel",
    ),
    ".pb": "a frozen graph of TensorFlow 1; import it in a tf.Module by tf.compat.v1.wrap_function, and save that by "
    "tf.saved_model.save",
    ".pbtxt": "a graph as text; import it in a tf.Module by tf.compat.v1.wrap_function, and save that by "
    "tf.saved_model.save",
    **dict.fromkeys((".json", ".yaml", ".yml"), "a model's architecture without weights; save the whole model"),
    **dict.fromkeys((".index", ".meta"), "a checkpoint, which has weights only; load it into its model, and save that"),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz"), "an archive; unpack it, and give the folder or file in it"),
}
"""What files of these names are, and how to convert them."""


def open_model(model: object, options: ModelOptions = ModelOptions()) -> OpenedModel:
    """Opens a model.

    Args:
        model: the path of a SavedModel folder or of a Keras file; or a Keras model, a loaded SavedModel, or a callable
            that TensorFlow can trace, from float32 images `[batch, height, width, channels]` to outputs.
        options: `signature`, `input_name`, `constants` and `custom_objects` choose the function and complete it.

    Raises:
        UnreadableError: the files cannot be loaded.
        ValueError: the model cannot be found or called with one batch of images.
    """
    set_up_gpus()
    file = Path(model) if isinstance(model, str | os.PathLike) else None
    if options.custom_objects and (file is None or file.is_dir()):
        raise UsageError(
            f"custom_objects={','.join(options.custom_objects)!r}: is for Keras files, which lack the code"
        )
    if file is None:
        return _open_object(model, options)
    if file.is_dir():
        _import_keras()
        return open_saved_model(file, options)
    if file.is_file() and file.suffix in SUFFIXES:
        return open_keras_file(file, options)
    if file.is_file() and file.name == "saved_model.pb":
        raise UsageError(f"model={str(model)!r}: a part of a SavedModel; give its folder, {str(file.parent)!r}")
    if file.is_file() and file.suffix.lower() in _REFUSED:
        raise UsageError(f"model={str(model)!r}: {_REFUSED[file.suffix.lower()]}; allowed are {_ALLOWED}")
    raise UsageError(f"model={str(model)!r}: not an https:// TF-Hub handle, {_ALLOWED} (or .h5, .hdf5)")


def load_resolved(load: Callable[[str], T], uri: str) -> T:
    """Returns what `load` makes of the local path of a model; a handle's copy that cannot be read is downloaded again.

    Raises:
        UnreadableError: the files cannot be read; of a handle, those of a fresh download neither.
        ValueError: TensorFlow Hub cannot resolve the handle, or `load` refuses the model.
    """
    if not _is_handle(uri):
        return load(uri)
    from tensorflow_hub.resolver import tfhub_cache_dir

    return load_copy(load, lambda: resolve(uri), Path(tfhub_cache_dir(use_temp=True)))


def resolve(uri: str) -> str:
    """Returns the local path of a model: `uri` itself, or where TensorFlow Hub keeps its copy of a handle.

    Raises:
        ValueError: TensorFlow Hub cannot resolve the handle.
    """
    if not _is_handle(uri):
        return uri
    import tensorflow_hub as hub

    try:
        return hub.resolve(uri)
    except Exception as error:  # tensorflow_hub lets urllib's, tarfile's and its own errors through
        raise UsageError(f"model={uri!r}: TensorFlow Hub could not resolve it: {error}") from error


def set_up_gpus() -> None:
    """Lets memory grow as needed, and float32 be float32: TF32's ten bits of fraction flip ReLU masks."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)


def _is_handle(uri: str) -> bool:
    return uri.startswith(("https://", "http://"))


def _import_keras() -> None:
    """Imports Keras if it is there: a SavedModel may name its optimizers, which it registers."""
    with contextlib.suppress(ImportError, AttributeError):  # TensorFlow too goes on without it
        importlib.import_module("keras.src.optimizers")


def _open_object(model: object, options: ModelOptions) -> OpenedModel:
    name = type(model).__name__
    if is_keras(model):
        return of_keras(model, name, None, options)
    entries = entries_of(model)
    if entries or options.signature:
        return open_entries(entries, name, None, model, options)
    if not callable(model):
        raise UsageError(
            f"model: {name} is neither a path, a Keras model, a loaded SavedModel nor a function of images"
        )
    function = image_function(Entry({"images": ANY_SIZE}, lambda values: named(model(values["images"]))), options)
    return OpenedModel(name, None, function.spec, function.call, model)
