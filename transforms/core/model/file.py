"""A TF-Hub handle, SavedModel folder, Keras file or model in memory → one function from images to outputs.

Whatever the model's kind, what leaves this module is an `OpenedModel`: a traceable function of one batch
of images, with its input's shape and type, and the folder or file it came from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.local_copy import UnreadableError, load_copy

Outputs = Mapping[str, tf.Tensor]
T = TypeVar("T")

_ANY_SIZE = tf.TensorSpec([None, None, None, 3], tf.float32)


@dataclass(frozen=True)
class OpenedModel:
    """An opened model.

    Attributes:
        name: what messages call it.
        path: the local SavedModel folder or Keras file; None for a model in memory.
        spec: the input's shape `[batch, height, width, channels]` (None where unknown) and dtype.
        call: images in the model's own scale and dtype → outputs by name; traceable.
        owner: what keeps the model's variables alive.
    """

    name: str
    path: Path | None
    spec: tf.TensorSpec
    call: Callable[[tf.Tensor], Outputs]
    owner: object


def open_model(model: object, signature: str = "") -> OpenedModel:
    """Opens a model.

    Args:
        model: the path of a SavedModel folder or of a `.keras` file; or a Keras model, a loaded SavedModel, or a
            callable that TensorFlow can trace, from float32 images `[batch, height, width, 3]` to outputs.
        signature: the SavedModel signature to call, or `__call__` for the loaded object itself; empty takes the one
            that accepts images.

    Raises:
        UnreadableError: the files cannot be loaded.
        ValueError: the model cannot be found or called with one batch of images.
    """
    _set_up_gpus()
    if not isinstance(model, str | os.PathLike):
        return _open_object(model, signature)
    file = Path(model)
    if file.is_dir():
        return _open_saved_model(file, signature)
    if file.suffix == ".keras" and file.is_file():
        return _open_keras(file, signature)
    raise UsageError(f"model={str(model)!r}: not an https:// TF-Hub handle, a SavedModel folder or a .keras file")


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


def _is_handle(uri: str) -> bool:
    return uri.startswith(("https://", "http://"))


def _set_up_gpus() -> None:
    """Lets memory grow as needed, and float32 be float32: TF32's ten bits of fraction flip ReLU masks."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)


def _open_saved_model(path: Path, signature: str) -> OpenedModel:
    if not (path / "saved_model.pb").is_file():
        raise UnreadableError(f"model={str(path)!r}: the folder holds no saved_model.pb")
    if (path / "tfhub_module.pb").is_file():
        raise UsageError(
            f"model={str(path)!r}: a TF1 hub module (it holds tfhub_module.pb), which TensorFlow 2 cannot "
            "differentiate; take the module's TF2 version, often the same handle with a higher version number"
        )
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises anything from OpError to KeyError on a bad folder
        raise UnreadableError(f"model={str(path)!r}: TensorFlow cannot load it: {error}") from error
    entries = dict(_entries(loaded))
    if not entries and not signature:
        raise UsageError(
            f"model={str(path)!r}: no signature or call takes one batch of images; "
            f"its signatures are {sorted(loaded.signatures)}"
        )
    return OpenedModel(str(path), path, *_chosen(entries, signature), loaded)


def _open_object(model: object, signature: str) -> OpenedModel:
    name = type(model).__name__
    keras = sys.modules.get("keras")  # whose import takes long; who has a model has imported it
    if keras is not None and isinstance(model, keras.Model):
        return _of_keras(model, name, None, signature)
    entries = dict(_entries(model))
    if entries or signature:
        return OpenedModel(name, None, *_chosen(entries, signature), model)
    if not callable(model):
        raise UsageError(
            f"model: {name} is neither a path, a Keras model, a loaded SavedModel nor a function of images"
        )
    return OpenedModel(name, None, _ANY_SIZE, lambda images: _named(model(images)), model)


_Entry = tuple[tf.TensorSpec, Callable[[tf.Tensor], Outputs]]


def _chosen(entries: Mapping[str, _Entry], signature: str) -> _Entry:
    if signature and signature not in entries:
        raise UsageError(f"signature={signature!r}: no such image function; allowed: {sorted(entries) or 'none'}")
    return entries[
        signature or next((name for name in ("serving_default", "default") if name in entries), min(entries))
    ]


def _entries(loaded: Any) -> Iterator[tuple[str, _Entry]]:
    """Yields the functions of a SavedModel, loaded or about to be saved, that take nothing but a batch of images."""
    for name, function in getattr(loaded, "signatures", {}).items():
        arguments = function.structured_input_signature[1]
        specs = list(arguments.values())
        if len(specs) == 1 and _takes_images(specs[0]):
            yield name, (specs[0], _by_keyword(function, next(iter(arguments))))
    for function in _traced(loaded):
        (spec, *rest), options = function.structured_input_signature
        others = (*rest, *options.values())
        if _takes_images(spec) and not any(value is True or isinstance(value, tf.TypeSpec) for value in others):
            yield "__call__", (spec, _in_inference(loaded, rest, options))


def _traced(loaded: Any) -> Sequence[Any]:
    """Returns the traces of what an object does when it is called."""
    if not callable(loaded):
        return ()
    call: Any = loaded if hasattr(loaded, "get_concrete_function") else loaded.__call__
    if getattr(call, "input_signature", None) is not None:
        return [call.get_concrete_function()]
    return getattr(call, "concrete_functions", ())


def _by_keyword(function: Callable[..., Outputs], name: str) -> Callable[[tf.Tensor], Outputs]:
    return lambda images: _named(function(**{name: images}))


def _in_inference(loaded: Any, rest: list[Any], options: dict[str, Any]) -> Callable[[tf.Tensor], Outputs]:
    return lambda images: _named(loaded(images, *rest, **options))


def _takes_images(spec: object) -> bool:
    return (
        isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4 and (spec.dtype.is_floating or spec.dtype.is_integer)
    )


def _open_keras(path: Path, signature: str) -> OpenedModel:
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything from TypeError to zipfile's errors on a bad file
        raise UnreadableError(f"model={str(path)!r}: Keras cannot load it in safe mode: {error}") from error
    return _of_keras(model, str(path), path, signature)


def _of_keras(model: Any, name: str, path: Path | None, signature: str) -> OpenedModel:
    if signature:
        raise UsageError(f"signature={signature!r}: is for SavedModels; a Keras model is called itself")
    inputs = tf.nest.flatten(getattr(model, "inputs", None) or _ANY_SIZE)  # a subclass declares none
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = [tuple(each.shape) for each in inputs]
        raise UsageError(f"model={name!r}: expected one input [batch, height, width, 3], found {shapes}")
    spec = tf.TensorSpec(inputs[0].shape, inputs[0].dtype)
    heads = tuple(getattr(model, "output_names", None) or ())  # a subclass has none
    return OpenedModel(name, path, spec, lambda images: _named(model(images, training=False), heads), model)


def _named(outputs: Any, heads: Sequence[str] = ()) -> Outputs:
    """Returns outputs by name: their own, the names of the layers that they come from, or numbers."""
    if isinstance(outputs, Mapping):
        return outputs
    flat = tf.nest.flatten(outputs)
    names = heads if len(set(heads)) == len(flat) else [f"output_{index}" for index in range(len(flat))]
    return dict(zip(names, flat, strict=True))
