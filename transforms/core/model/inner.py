"""A model's function as one graph, which may be entered at an inner tensor instead of at its input."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transforms.core.model.opened import Outputs
from transforms.core.model.passes.frozen import NotApplicableError


@dataclass(frozen=True, eq=False)
class InnerGraph:
    """A graph from one input to outputs by name, without variables; it may have control flow.

    Attributes:
        graph: the nodes, and the functions that they call.
        input: name of the placeholder node.
        outputs: the tensors by the outputs' names.
    """

    graph: GraphDef
    input: str
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, call: Callable[[tf.Tensor], Outputs], spec: tf.TensorSpec) -> InnerGraph:
        """Returns the graph of a function of one tensor.

        Raises:
            NotApplicableError: TensorFlow cannot turn the function's variables into constants.
        """
        names: list[str] = []

        def flat(values: tf.Tensor) -> list[tf.Tensor]:
            outputs = call(values)
            names[:] = outputs
            return [tf.identity(outputs[name]) for name in names]

        concrete = tf.function(flat, autograph=False).get_concrete_function(tf.TensorSpec(spec.shape, spec.dtype))
        try:
            frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        except Exception as error:  # the converter lets KeyError, InvalidArgumentError and its own kinds through
            raise NotApplicableError(f"TensorFlow cannot freeze the model: {type(error).__name__}: {error}") from error
        outputs = dict(zip(names, (output.name for output in frozen.outputs), strict=True))
        return cls(frozen.graph.as_graph_def(), frozen.inputs[0].op.name, outputs)

    @functools.cached_property
    def nodes(self) -> dict[str, NodeDef]:
        """The nodes by name."""
        return {node.name: node for node in self.graph.node}

    @functools.cached_property
    def specs(self) -> dict[str, tf.TensorSpec]:
        """Shape and dtype of the nodes' first outputs, by the nodes' names, producers first."""
        with tf.Graph().as_default() as graph:
            tf.graph_util.import_graph_def(self.graph, name="")
            return {
                op.name: tf.TensorSpec(op.outputs[0].shape, op.outputs[0].dtype)
                for op in graph.get_operations()
                if op.outputs
            }

    def depending(self, on: str, without: str = "") -> set[str]:
        """Returns the names of the nodes that depend on the node `on` in another way than over `without`.

        Control inputs count too.
        """
        found = {on}
        for name in self.specs:
            node = self.nodes[name]
            if name != without and any(_node_name(tensor) in found for tensor in node.input):
                found.add(name)
        return found

    def function(self, entry: str, outputs: Mapping[str, str]) -> Callable[[tf.Tensor], Outputs]:
        """Returns the traceable function from the first output of the node `entry` to tensors, by these names."""
        needed = GraphDef(versions=self.graph.versions, library=self.graph.library)
        needed.node.extend(self._needed(entry, outputs.values()))

        @tf.function(autograph=False)
        def call(values: tf.Tensor) -> Outputs:
            found = tf.graph_util.import_graph_def(needed, {f"{entry}:0": values}, list(outputs.values()), name="inner")
            return dict(zip(outputs, found, strict=True))

        return call

    def _needed(self, entry: str, tensors: Iterable[str]) -> list[NodeDef]:
        """Returns the nodes that some tensors need, without the node `entry`."""
        names, stack = {entry}, [_node_name(tensor) for tensor in tensors]
        while stack:
            name = stack.pop()
            if name not in names:
                names.add(name)
                stack.extend(_node_name(tensor) for tensor in self.nodes[name].input)
        return [node for node in self.graph.node if node.name in names - {entry}]


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
