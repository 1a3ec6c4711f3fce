"""Freeze: variables to constants, functions inlined, so that no weight gradient or variable read remains."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transforms.core.passes.frozen import FrozenGraph, NotApplicableError


def freeze(concrete: tf.types.experimental.ConcreteFunction) -> FrozenGraph:
    """Returns a function of one tensor as a frozen graph.

    Raises:
        NotApplicableError: the function reads what can't become a constant, or calls what can't be inlined.
    """
    try:
        frozen = convert_variables_to_constants_v2(concrete)
    except Exception as error:  # the converter lets KeyError, InvalidArgumentError and its own kinds through
        raise NotApplicableError(f"TensorFlow can't freeze the model: {type(error).__name__}: {error}") from error
    if len(frozen.inputs) != 1:
        captured = ", ".join(tensor.name for tensor in frozen.inputs[1:])
        raise NotApplicableError(f"the model reads resources that are not variables: {captured}")
    graph = frozen.graph.as_graph_def()
    if graph.library.function:
        name = graph.library.function[0].signature.name
        raise NotApplicableError(f"the model calls what can't be inlined: {name}")
    return FrozenGraph(graph, frozen.inputs[0].op.name, frozen.outputs[0].name)
