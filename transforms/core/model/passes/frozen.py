"""A frozen graph: the classifier as one flat GraphDef without variables, from raw pixels to outputs."""

from __future__ import annotations

import functools
import itertools
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

_LARGE = 1 << 16
"""Constants of at least so many elements are kept out of the graph; smaller ones stay, as each tensor slows a call."""


class NotApplicableError(Exception):
    """A pass does not apply to this model; the text gives the reason."""


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
        """Returns the output for `values`, and adds the nodes to the graph that is being traced.

        Args:
            values: the input.
            others: values of further placeholders by node name; names that the graph lacks are ignored.
        """
        body, weights = self._body_and_weights
        given = {**(others or {}), **{name: tf.identity(weight) for name, weight in weights.items()}}
        given[self.input] = values
        read = {tensor.partition(":")[0] for node in body.node for tensor in node.input}
        inputs = {f"{name}:0": value for name, value in given.items() if name in read}
        if self.output == f"{self.input}:0":
            return values
        body = _with_own_functions(body) if body.library.function else body
        (output,) = tf.graph_util.import_graph_def(body, inputs, return_elements=[self.output], name="model")
        return output

    @functools.cached_property
    def _body_and_weights(self) -> tuple[GraphDef, dict[str, tf.Tensor]]:
        """The graph without placeholders and large constants, and the latter as tensors by name, shared by functions.

        TensorFlow copies a function's constants several times, whenever it traces, optimizes or first runs one;
        and XLA accepts no placeholders, used or not.
        """
        weights = [node for node in self.graph.node if _is_weight(node)]
        rest = (node for node in self.graph.node if node.op != "Placeholder" and not _is_weight(node))
        body = GraphDef(node=rest, versions=self.graph.versions, library=self.graph.library)
        with tf.init_scope():
            return body, {node.name: tf.constant(tf.make_ndarray(node.attr["value"].tensor)) for node in weights}

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Returns the known shapes of tensors for a batch of that size, by `node` or, of other outputs, `node:1`, …."""
        (placeholder,) = (node for node in self.graph.node if node.name == self.input)
        sizes = [batch, *(dim.size for dim in placeholder.attr["shape"].shape.dim[1:])]
        with tf.Graph().as_default() as graph:
            inputs = {f"{self.input}:0": tf.compat.v1.placeholder(tf.float32, sizes)}
            tf.graph_util.import_graph_def(self.graph, inputs, name="")
            tensors = [tensor for op in graph.get_operations() for tensor in op.outputs]
            outputs = {tensor.name.removesuffix(":0"): tensor.shape for tensor in tensors}
        known = {name: tuple(shape) for name, shape in outputs.items() if shape.is_fully_defined()}
        return {**known, self.input: tuple(sizes)}


def _with_own_functions(graph: GraphDef) -> GraphDef:
    """Returns a graph whose functions have names that no other graph has: a gradient of a loop rewrites its body."""
    suffix = f"_{uuid.uuid4().hex}"
    copied = GraphDef()
    copied.CopyFrom(graph)
    names = {function.signature.name for function in copied.library.function}
    for function in copied.library.function:
        function.signature.name += suffix
    for node in itertools.chain(copied.node, *(function.node_def for function in copied.library.function)):
        for value in node.attr.values():
            called_here = [value.func] if value.HasField("func") else list(value.list.func)
            for called in called_here:
                called.name += suffix if called.name in names else ""
    return copied


def _is_weight(node: NodeDef) -> bool:
    """Returns whether a node is a constant that is worth keeping out of the graph."""
    if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
        return False
    return math.prod(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim) >= _LARGE
