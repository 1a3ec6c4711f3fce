"""Layers: what of a model can be explained in place of its output, by name; of a Keras model by index too.

A Keras layer's output is caught while the model is called, so that layers inside of other models are found as well as
those of subclassed models. Of any other model, tensors go by the names of its frozen graph's nodes, or by the ends of
these names.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.passes.frozen import FrozenGraph

_SHOWN = 5
_ALIKE = 0.5
_INDEX_DIGITS = 6
_NOT_SHOWN = frozenset({"Const", "Placeholder", "NoOp", "Shape", "StridedSlice", "Pack"})


def is_keras(owner: object) -> bool:
    """Returns whether a model is one of Keras's, which is imported if it is."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(owner, keras.Model)


def keras_layer(owner: Any, name: str) -> Any:
    """Returns a Keras model's layer by its name or index; None if it has none of the name.

    Raises:
        UsageError: the index is too high.
    """
    sign, digits = (-1, name[1:]) if name.startswith("-") else (1, name)
    if digits.isdecimal() and len(digits) <= _INDEX_DIGITS:
        index = sign * int(digits)
        if not -len(owner.layers) <= index < len(owner.layers):
            raise UsageError(f"layer={name!r}: the model has {len(owner.layers)} layers, from 0 and from -1")
        return owner.layers[index]
    return next((layer for layer in _keras_layers(owner) if layer.name == name), None)


def catching(function: Callable[[tf.Tensor], Any], layer: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function of images that gives a Keras layer's output while `function` calls the model.

    Of a layer that is called several times, it is the last output.
    """

    def caught(images: tf.Tensor) -> tf.Tensor:
        call, found = layer.call, []

        def catch(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            found.append(result)
            return result

        object.__setattr__(layer, "call", catch)
        try:
            function(images)
        finally:
            object.__delattr__(layer, "call")
        if not found or not tf.is_tensor(found[-1]):
            raise UsageError(f"layer={layer.name!r}: it has no single output that an image leads to")
        return tf.cast(found[-1], tf.float32)

    return caught


def tensor_of(whole: FrozenGraph, name: str, owner: object) -> str:
    """Returns the full name of a tensor of a frozen graph, from that of its node or the end of it.

    Args:
        whole: the model's graph.
        name: what the option says.
        owner: the model.

    Raises:
        UsageError: there is none, or several end so; the text lists near matches.
    """
    node_name, _, index = name.partition(":")
    names = [node.name for node in whole.graph.node]
    found = [node_name] if node_name in names else [each for each in names if each.endswith(f"/{node_name}")]
    if len(found) == 1:
        return f"{found[0]}:{index or 0}"
    if found:
        raise UsageError(f"layer={name!r}: several tensors end so: {', '.join(found[:_SHOWN])}")
    raise _unknown(name, [each for each, _ in (*(keras_layers(owner) if is_keras(owner) else ()), *tensors(whole))])


def keras_layers(owner: Any) -> list[tuple[str, tuple[int | None, ...]]]:
    """Returns the names and output shapes of a Keras model's layers, those of models inside after their model."""
    return [(layer.name, _shape(layer)) for layer in _keras_layers(owner)]


def tensors(whole: FrozenGraph) -> list[tuple[str, tuple[int | None, ...]]]:
    """Returns the names and shapes of a frozen graph's float tensors that have an axis for the batch."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(whole.graph, name="")
        outputs = [
            (op.name, op.outputs[0]) for op in graph.get_operations() if op.outputs and op.type not in _NOT_SHOWN
        ]
    return [
        (name, tuple(output.shape.as_list()))
        for name, output in outputs
        if output.dtype.is_floating and output.shape.rank and output.shape[0] is None
    ]


def _unknown(name: str, names: list[str]) -> UsageError:
    """Returns what to say of a layer that does not exist."""
    ends = {each.rpartition("/")[2]: each for each in names}
    near = difflib.get_close_matches(name, names, _SHOWN, _ALIKE)
    near += [ends[each] for each in difflib.get_close_matches(name.rpartition("/")[2], ends, _SHOWN, _ALIKE)]
    hint = f"; near are {', '.join(dict.fromkeys(near))}" if near else ""
    return UsageError(f"layer={name!r}: the model has no such layer or tensor{hint}")


def _unnamed(operation: tf.Operation) -> bool:
    """Returns whether an operation hands its input on, and nobody has named it."""
    return operation.type == "Identity" and operation.name.rpartition("/")[2].startswith(("Identity", "ReadVariableOp"))


def _keras_layers(owner: Any) -> Iterator[Any]:
    for layer in owner.layers:
        yield layer
        if is_keras(layer):
            yield from _keras_layers(layer)


def _shape(layer: Any) -> tuple[int | None, ...]:
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError):  # a layer without a place in a graph has none
        return ()
