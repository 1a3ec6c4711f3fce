"""A frozen graph: the classifier as one flat GraphDef without variables, from raw pixels to outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef


class NotApplicableError(Exception):
    """A pass can't do its work on this model; the text says why."""


@dataclass(frozen=True, eq=False)
class FrozenGraph:
    """A flat graph from one input to one output.

    Attributes:
        graph: nodes without functions, variables or control flow by variables.
        input: name of the placeholder node, float32 `[batch, ...]`.
        output: name of the output tensor (`node:index`).
    """

    graph: GraphDef
    input: str
    output: str

    def __call__(self, values: tf.Tensor, others: Mapping[str, tf.Tensor] | None = None) -> tf.Tensor:
        """Returns the output for `values`, adding the nodes to the graph that is being traced.

        Args:
            values: the input.
            others: values of further placeholders by node name; names that the graph lacks are left out.
        """
        present = {node.name for node in self.graph.node}
        inputs = {
            f"{name}:0": value for name, value in {**(others or {}), self.input: values}.items() if name in present
        }
        (output,) = tf.graph_util.import_graph_def(self.graph, inputs, return_elements=[self.output], name="model")
        return output

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the nodes' first outputs for a batch of that size, where fully known."""
        (placeholder,) = (node for node in self.graph.node if node.name == self.input)
        sizes = [batch, *(dim.size for dim in placeholder.attr["shape"].shape.dim[1:])]
        with tf.Graph().as_default() as graph:
            inputs = {f"{self.input}:0": tf.compat.v1.placeholder(tf.float32, sizes)}
            tf.graph_util.import_graph_def(self.graph, inputs, name="")
            outputs = {op.name: op.outputs[0].shape for op in graph.get_operations() if op.outputs}
        known = {name: tuple(shape) for name, shape in outputs.items() if shape.is_fully_defined()}
        return {**known, self.input: tuple(sizes)}
