"""Extend and cut: the same graph with operations after its output, or up to one of its tensors."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.passes.frozen import FrozenGraph


def extend(frozen: FrozenGraph, function: Callable[[tf.Tensor], tf.Tensor]) -> FrozenGraph:
    """Returns the graph of `function` of a frozen graph's output.

    Args:
        frozen: a graph.
        function: takes its output to another tensor, by operations without variables.
    """
    with tf.Graph().as_default() as graph:
        (output,) = tf.graph_util.import_graph_def(frozen.graph, return_elements=[frozen.output], name="")
        extended = function(output)
        return FrozenGraph(graph.as_graph_def(), frozen.input, extended.name)


def cut(frozen: FrozenGraph, tensor: str, name: str) -> FrozenGraph:
    """Returns the graph up to a tensor.

    Args:
        frozen: a graph, which need not be flat.
        tensor: full name of the tensor.
        name: what messages call it.

    Raises:
        UsageError: the tensor does not depend on the graph's input.
    """
    graph = tf.compat.v1.graph_util.extract_sub_graph(frozen.graph, [tensor.partition(":")[0]])
    if all(node.name != frozen.input for node in graph.node):
        raise UsageError(f"layer={name!r}: it does not depend on the image")
    return FrozenGraph(graph, frozen.input, tensor)
