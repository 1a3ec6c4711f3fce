"""The layers and tensors of a model that the option `layer` can name."""

from __future__ import annotations

import os

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.file import OpenedModel, load_resolved, open_model
from transforms.core.model.input import adapt
from transforms.core.model.layers import is_keras, keras_layers, tensors
from transforms.core.model.options import ModelOptions
from transforms.core.model.outputs import outputs_function
from transforms.core.model.passes.freeze import freeze
from transforms.core.model.passes.frozen import NotApplicableError
from transforms.core.model.score import on_tensors

Named = list[tuple[str, tuple[int | None, ...]]]


def named_layers(model: str, options: ModelOptions) -> Named:
    """Returns names and output shapes, in the order of the model; of a Keras model those of its layers.

    Args:
        model: a TF-Hub `https://` handle, a local SavedModel folder or a local `.keras` file.
        options: how it is called.

    Raises:
        UnreadableError: the files cannot be loaded or called.
        UsageError: an option does not fit the model, or it has no names to show.
    """
    return load_resolved(lambda path: _of_opened(open_model(path, options), options), os.fspath(model))


def _of_opened(model: OpenedModel, options: ModelOptions) -> Named:
    if is_keras(model.owner):
        return keras_layers(model.owner)
    fed = adapt(model, options)
    function = outputs_function(fed.model, fed.scale, options.output_name, any_shape=True)
    images = tf.TensorSpec([None, *fed.shape], tf.float32)
    concrete = tf.function(on_tensors(function, tf.float32), autograph=False).get_concrete_function(images)
    try:
        return tensors(freeze(concrete))
    except NotApplicableError as refusal:
        raise UsageError(f"layer: the tensors of {model.name} have no names: {refusal}") from refusal
