"""What is explained, if that is not the model's output: the logits before its softmax or sigmoid, or a layer.

Ranks, labels and accuracy stay those of the real output.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.layers import catching, is_keras, keras_layer, tensor_of
from transforms.core.model.options import ModelOptions
from transforms.core.model.outputs import is_row
from transforms.core.model.passes.extend import cut, extend
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.logits import ending, logits_graph
from transforms.core.model.score import on_tensors, two_columns

Function = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True, eq=False)
class Traced:
    """A model of which it is known what its outputs are.

    Attributes:
        owner: the model.
        function: images → whatever the model returns.
        outputs: images → its outputs, float32 `[batch, classes]`.
        images: what both take, float32 `[batch, height, width, channels]`.
        whole: the model up to its last operation as a frozen graph, which need not be flat; None if there is none.
        reason: why there is none.
        kind: what the outputs are.
        task: what the model decides.
        count: number of the outputs, of which one alone stands for two classes.
    """

    owner: object
    function: Callable[[tf.Tensor], Any]
    outputs: Function
    images: tf.TensorSpec
    whole: FrozenGraph | None
    reason: str
    kind: str
    task: str
    count: int


@dataclass(frozen=True, eq=False)
class Explained:
    """What is explained.

    Attributes:
        function: images → float32 `[batch, …]`; traceable.
        frozen: the same as a flat graph; None if there is none.
        frozen_reason: why there is none.
        kind: what its numbers are.
        outputs_of: what `function` gives → the model's outputs; None if only the model itself can compute them.
        by_class: whether it has one number for each class.
    """

    function: Function
    frozen: FrozenGraph | None
    frozen_reason: str
    kind: str
    outputs_of: Function | None
    by_class: bool = True


def choose_explained(model: Traced, options: ModelOptions) -> Explained:
    """Returns what is explained: a layer, the logits before the outputs, or the outputs themselves.

    Raises:
        UsageError: there is no such layer or it needs another score, or there are no such logits.
    """
    if options.layer:
        return _layer(model, options)
    if options.score == "logit" and (model.kind in ("softmax", "sigmoid") or _is_normalized(model)):
        return _logits(model)
    by_class = model.task != "dense"
    if model.whole is None:
        return Explained(model.outputs, None, model.reason, model.kind, tf.identity, by_class)
    flat, reason = flattened(model.whole)
    if flat and model.task == "binary":
        flat = extend(flat, functools.partial(two_columns, kind=model.kind))
    return Explained(model.outputs, flat, reason, model.kind, tf.identity, by_class)


def _is_normalized(model: Traced) -> bool:
    """Returns whether logits are what a log-softmax makes of others."""
    return model.kind == "logits" and model.whole is not None and ending(model.whole).kind == "log_softmax"


def _logits(model: Traced) -> Explained:
    """Returns the logits of which a model's outputs are the softmax, log-softmax or sigmoid.

    Raises:
        UsageError: there are no such logits, or they cannot be reached.
    """
    try:
        if model.whole is None:
            raise NotApplicableError(model.reason)
        last = ending(model.whole).kind
        if last != {"logits": "log_softmax"}.get(model.kind, model.kind):
            raise NotApplicableError(f"its graph ends in {f'a {last}' if last else 'neither softmax nor sigmoid'}")
        graph = logits_graph(model.whole)
        if model.task == "binary":
            graph = extend(graph, functools.partial(two_columns, kind="logits"))
        flat, reason = flattened(graph)
        if flat is None:
            _check_gradient(graph, model.images)
    except NotApplicableError as refusal:
        raise UsageError(
            f"score='logit': the model's outputs are probabilities ({model.kind}), and the logits behind them cannot "
            f"be reached: {refusal}; allowed are log_odds, probability and module:function"
        ) from refusal
    outputs_of = {"sigmoid": tf.sigmoid, "softmax": tf.nn.softmax, "logits": tf.nn.log_softmax}[model.kind]
    return Explained(tf.function(flat or graph, autograph=False), flat, reason, "logits", outputs_of)


def _layer(model: Traced, options: ModelOptions) -> Explained:
    """Returns the layer that the option names.

    Raises:
        UsageError: there is no such layer, or it needs another score.
    """
    name = options.layer
    layer = keras_layer(model.owner, name) if is_keras(model.owner) else None
    if layer is not None:
        function = on_tensors(lambda images: _in_rows(catching(model.function, layer)(images)), tf.float32)
        concrete = tf.function(function, autograph=False).get_concrete_function(model.images)
        try:
            graph: FrozenGraph | None = freeze(concrete)
            reason = ""
        except NotApplicableError as refusal:
            graph, reason = None, str(refusal)
    elif model.whole is None:
        raise UsageError(f"layer={name!r}: names are those of a frozen graph, but {model.reason}")
    else:
        graph, reason = extend(cut(model.whole, tensor_of(model.whole, name, model.owner), name), _in_rows), ""
        function = tf.function(graph, autograph=False)
        concrete = function.get_concrete_function(model.images)
    shape = concrete.outputs[0].shape
    by_class = shape.rank == 2 and shape[1] == model.count and model.task != "dense"
    _check_score(options, shape, by_class, model.count)
    if by_class and model.task == "binary":
        columns = functools.partial(two_columns, kind="logits")
        function, graph = _then(function, columns), extend(graph, columns) if graph else None
    flat, reason = flattened(graph) if graph else (None, reason)
    return Explained(function, flat, reason, "logits", None, by_class)


def _check_score(options: ModelOptions, shape: tf.TensorShape, by_class: bool, classes: int) -> None:
    if ":" in options.score:
        return
    if not by_class:
        raise UsageError(
            f"layer={options.layer!r}: it gives {shape}, not one number for each of {classes} classes, so that it "
            "needs --score module:function, which makes one number for each image of it, and --targets none"
        )
    if options.score != "logit":
        raise UsageError(
            f"score={options.score!r}: a layer is no probability; give --score logit to explain the number that the "
            f"layer {options.layer} has for the target, or module:function"
        )


def _in_rows(values: tf.Tensor) -> tf.Tensor:
    """Returns values as float32, those of shape `[batch, 1, …, n]` as `[batch, n]`."""
    values = tf.cast(values, tf.float32)
    if values.shape.rank == 2 or not is_row(values):
        return values
    return tf.reshape(values, [-1, 1 if values.shape.rank == 1 else values.shape[-1]])


def _then(first: Function, second: Function) -> Function:
    return lambda images: second(first(images))


def flattened(graph: FrozenGraph) -> tuple[FrozenGraph | None, str]:
    """Returns a frozen graph as a flat one, or None and the reason why it cannot be that."""
    try:
        return flatten(graph), ""
    except NotApplicableError as refusal:
        return None, str(refusal)


def _check_gradient(graph: FrozenGraph, images: tf.TensorSpec) -> None:
    """Raises NotApplicableError if a graph that is not flat cannot be differentiated."""

    def gradient(values: tf.Tensor) -> Any:
        return tf.gradients(graph(values), values)[0]

    try:
        tf.function(gradient, autograph=False).get_concrete_function(images)
    except Exception as error:  # TensorFlow raises anything from LookupError to ValueError
        reason = (str(error).splitlines() or [""])[0][:200]
        raise NotApplicableError(f"the graph has no gradient: {type(error).__name__}: {reason}") from error
