"""A frozen graph: the classifier as one flat GraphDef without variables, from raw pixels to outputs."""

from __future__ import annotations

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
        output: name of the output tensor (`node:index`), float32 `[batch, classes]`.
    """

    graph: GraphDef
    input: str
    output: str

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the output for `values`, adding the nodes to the graph that is being traced."""
        (output,) = tf.graph_util.import_graph_def(
            self.graph, input_map={f"{self.input}:0": values}, return_elements=[self.output], name="model"
        )
        return output
