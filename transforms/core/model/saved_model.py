"""A SavedModel, in a folder or loaded or about to be saved → the functions that it has, and the one that is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.encoded import behind_decoder
from transforms.core.model.entry import Entry, ImageFunction, image_function, takes_images
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.opened import OpenedModel, Outputs, named
from transforms.core.model.options import ModelOptions

_PREFERRED = ("serving_default", "default", "__call__")
"""Functions that are taken unless a signature is named, the first of them that there is; of others, the only one."""


def open_saved_model(path: Path, options: ModelOptions) -> OpenedModel:
    """Opens a SavedModel folder.

    Raises:
        UnreadableError: the files cannot be loaded.
        UsageError: no function of it takes one batch of images, or the options do not choose one.
    """
    if not (path / "saved_model.pb").is_file():
        raise UnreadableError(f"model={str(path)!r}: the folder holds no saved_model.pb{_what_it_holds(path)}")
    if (path / "tfhub_module.pb").is_file():
        raise UsageError(
            f"model={str(path)!r}: a TF1 hub module (it holds tfhub_module.pb), which TensorFlow 2 cannot "
            "differentiate; take the module's TF2 version, often the same handle with a higher version number"
        )
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises anything from OpError to KeyError on a bad folder
        raise UnreadableError(f"model={str(path)!r}: TensorFlow cannot load it: {error}") from error
    entries = entries_of(loaded)
    signatures = sorted(getattr(loaded, "signatures", {}))
    if not entries and not options.signature:
        raise UsageError(
            f"model={str(path)!r}: no signature or call takes one batch of images; its signatures are {signatures}"
        )
    return open_entries(entries, str(path), path, loaded, options)


def open_entries(
    entries: Mapping[str, Entry], name: str, path: Path | None, owner: object, options: ModelOptions
) -> OpenedModel:
    """Opens that one of a model's functions which the options choose, else one of a usual name, else the only one.

    Args:
        entries: its functions by name, of which there is one or more, or `signature` is given.
        name: what messages call the model.
        path: its folder; None for a model in memory.
        owner: what keeps its variables alive.
        options: `signature`, `input_name` and `constants`.

    Raises:
        UsageError: none is chosen; or its input is encoded images, and it cannot be entered behind its decoder.
    """
    function = _chosen(entries, options)
    if not function.takes_bytes:
        return OpenedModel(name, path, function.spec, function.call, owner)
    try:
        decoded = behind_decoder(function, options)
    except UsageError as refusal:
        raise UsageError(
            f"model={name!r}: no signature or call takes one batch of images, but encoded ones: {refusal}; its "
            f"functions are {sorted(entries)}"
        ) from refusal
    said = (
        "its signature takes encoded images: it is entered behind its own decoder, which decodes two pictures of ours "
        f"as we do, to {decoded.pixels} values"
    )
    return OpenedModel(name, path, decoded.spec, decoded.call, owner, pixels=decoded.pixels, assumptions=(said,))


def entries_of(loaded: Any) -> dict[str, Entry]:
    """Returns the functions by name, `__call__` for the object's own, of which one input may be images."""
    found: dict[str, Entry] = {}
    for name, entry in _entries(loaded):
        if any(takes_images(spec) or spec.dtype == tf.string for spec in entry.inputs.values()):
            found.setdefault(name, entry)
    return found


def _chosen(entries: Mapping[str, Entry], options: ModelOptions) -> ImageFunction:
    if options.signature:
        if options.signature not in entries:
            allowed = sorted(entries) or "none"
            raise UsageError(f"signature={options.signature!r}: no such image function; allowed: {allowed}")
        return image_function(entries[options.signature], options)
    usable: dict[str, ImageFunction] = {}
    refusals = []
    usual = [name for name in _PREFERRED if name in entries]
    for name in (*usual, *sorted(set(entries) - set(usual))):
        try:
            usable[name] = image_function(entries[name], options)
        except UsageError as refusal:
            refusals.append(refusal)
    if not usable:
        raise refusals[0]
    decoded = {name: function for name, function in usable.items() if not function.takes_bytes} or usable
    first = next(iter(decoded))
    if len(decoded) > 1 and first not in _PREFERRED:
        raise UsageError(f"signature: the model has several, name one of {', '.join(decoded)}")
    return decoded[first]


def _entries(loaded: Any) -> Iterator[tuple[str, Entry]]:
    for name, function in getattr(loaded, "signatures", {}).items():
        inputs = dict(sorted(function.structured_input_signature[1].items()))
        if all(isinstance(spec, tf.TensorSpec) for spec in inputs.values()):
            yield name, Entry(inputs, _by_keyword(function))
    for function in _traced(loaded):
        entry = _of_trace(loaded, function.structured_input_signature)
        if entry is not None:
            yield "__call__", entry


def _traced(loaded: Any) -> Sequence[Any]:
    """Returns the traces of what an object does when it is called."""
    if not callable(loaded):
        return ()
    call: Any = loaded if hasattr(loaded, "get_concrete_function") else loaded.__call__
    if getattr(call, "input_signature", None) is not None:
        return [call.get_concrete_function()]
    return getattr(call, "concrete_functions", ())


def _by_keyword(function: Callable[..., Any]) -> Callable[[Mapping[str, tf.Tensor]], Outputs]:
    return lambda values: named(function(**values))


def _of_trace(loaded: Any, signature: Any) -> Entry | None:
    """Returns the entry of a trace in inference, whose arguments are tensors and fixed values in any structure."""
    leaves = tf.nest.flatten(signature)
    if any(leaf is True or (isinstance(leaf, tf.TypeSpec) and not isinstance(leaf, tf.TensorSpec)) for leaf in leaves):
        return None
    places: dict[str, int] = {}
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, tf.TensorSpec):
            name = leaf.name or f"input_{len(places)}"
            places[name if name not in places else f"{name}_{len(places)}"] = index

    def call(values: Mapping[str, tf.Tensor]) -> Outputs:
        filled = list(leaves)
        for name, index in places.items():
            filled[index] = values[name]
        arguments, keywords = tf.nest.pack_sequence_as(signature, filled)
        return named(loaded(*arguments, **keywords))

    return Entry({name: leaves[index] for name, index in places.items()}, call) if places else None


def _what_it_holds(path: Path) -> str:
    """Returns what a folder without a SavedModel seems to hold, and how it is converted; empty if that is unknown."""
    names = {each.name for each in path.iterdir()}
    if "config.json" in names and names & {"model.safetensors", "pytorch_model.bin", "tf_model.h5"}:
        return (
            ", but a model of Hugging Face's transformers; load it there, and tf.saved_model.save a function of "
            "images [batch, height, width, channels] that calls it"
        )
    if {"config.json", "metadata.json"} <= names and "model.weights.h5" in names:
        return ", but an unpacked .keras file; give that file itself"
    if any(name.endswith(".index") for name in names):
        return ", but a checkpoint, which has weights only; load it into its model, and save that"
    return ""
