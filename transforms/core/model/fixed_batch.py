"""A model that takes batches of one size only → one that takes any number of images."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.inner import InnerGraph
from transforms.core.model.opened import OpenedModel, Outputs
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.logits import ending


def in_fixed_batches(model: OpenedModel, batch: int) -> OpenedModel:
    """Returns a model that is called in batches of its own size, of which the last is filled up with zeros.

    With a batch of one, an image is never in one call with others.

    Args:
        model: its input is `[batch, …]`.
        batch: its size, at least 1.

    Raises:
        UsageError: no output has one row for each image.
    """
    traced = tf.function(model.call, autograph=False).get_concrete_function(model.spec)
    specs = {
        name: tf.TensorSpec(output.shape, output.dtype)
        for name, output in traced.structured_outputs.items()
        if output.shape.rank and output.shape[0] in (batch, None)
    }
    if not specs:
        raise UsageError(f"model: no output has one row for each of the {batch} images that it takes")

    def one_batch(images: tf.Tensor) -> Outputs:
        outputs = model.call(tf.ensure_shape(images, model.spec.shape))
        return {name: outputs[name] for name in specs}

    def call(images: tf.Tensor) -> Outputs:
        count = tf.shape(images)[0]
        calls = -(-count // batch)
        filled = tf.pad(images, [[0, calls * batch - count]] + [[0, 0]] * (images.shape.rank - 1))
        batches = tf.reshape(filled, tf.concat([[calls, batch], tf.shape(images)[1:]], 0))
        results = tf.map_fn(one_batch, batches, fn_output_signature=specs)
        return {name: _rows(result, count, images.shape[0]) for name, result in results.items()}

    spec = tf.TensorSpec([None, *model.spec.shape[1:]], model.spec.dtype)
    return dataclasses.replace(model, spec=spec, call=call, endings=_endings(model))


def _endings(model: OpenedModel) -> dict[str, str]:
    """Returns what each output of one call ends in, if that is an activation and the call can be frozen."""
    try:
        inner = InnerGraph.of(model.call, model.spec)
    except NotApplicableError:
        return {}
    kinds = {name: ending(FrozenGraph(inner.graph, inner.input, tensor)).kind for name, tensor in inner.outputs.items()}
    return {name: kind for name, kind in kinds.items() if kind in ("softmax", "sigmoid")}


def _rows(results: tf.Tensor, count: tf.Tensor, known: int | None) -> tf.Tensor:
    """Returns results `[calls, batch, …]` as `[count, …]`."""
    shape = tf.shape(results)
    rows = tf.reshape(results, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))[:count]
    rows.set_shape([known, *results.shape[2:]])
    return rows
