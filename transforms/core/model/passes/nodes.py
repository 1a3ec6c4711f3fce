"""The nodes of a frozen graph, to be read and rewritten by passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph


class Nodes:
    """The nodes of a frozen graph that its output needs, without control inputs.

    Tensors are named as in node inputs: `node` for a node's first output, `node:1` for its second.
    """

    def __init__(self, frozen: FrozenGraph) -> None:
        self.input = frozen.input
        self.output = frozen.output.removesuffix(":0")
        self._versions = frozen.graph.versions
        self._nodes: dict[str, NodeDef] = {}
        self._readers: defaultdict[str, list[NodeDef]] = defaultdict(list)
        for node in _needed(frozen):
            self._insert(_without_control(node))

    def __iter__(self) -> Iterator[NodeDef]:
        """Yields the nodes as they are now, producers first; nodes may be added and bypassed meanwhile."""
        return (node for node in tuple(self._nodes.values()) if node.name in self._nodes)

    def producer(self, tensor: str) -> NodeDef:
        """Returns the node that outputs a tensor."""
        return self._nodes[_node_name(tensor)]

    def readers(self, node: NodeDef) -> tuple[NodeDef, ...]:
        """Returns the nodes that read any output of `node`, once for each input that does."""
        return tuple(self._readers[node.name])

    def only_reader(self, node: NodeDef) -> NodeDef | None:
        """Returns the only node that reads `node`; None if there are several or `node` is the graph's output."""
        readers = self._readers[node.name]
        return readers[0] if len(readers) == 1 and _node_name(self.output) != node.name else None

    def constant(self, tensor: str) -> np.ndarray | None:
        """Returns the value of a constant tensor, or None."""
        node = self.producer(tensor)
        while node.op == "Identity":
            node = self.producer(node.input[0])
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def add_constant(self, value: np.ndarray, near: NodeDef) -> str:
        """Adds a constant, named after the node `near`, and returns its name."""
        node = NodeDef(name=self._unused(f"{near.name}/constant"), op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        node.attr["dtype"].type = node.attr["value"].tensor.dtype
        return self._insert(node).name

    def add(self, op: str, inputs: Sequence[str], near: NodeDef) -> str:
        """Adds a float32 node, named after the node `near`, and returns its name."""
        node = NodeDef(name=self._unused(f"{near.name}/{op}"), op=op, input=inputs)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return self._insert(node).name

    def add_cast(self, tensor: str, source: int, target: int, near: NodeDef) -> str:
        """Adds a cast of `tensor` between two types by their enums, named after the node `near`; returns its name."""
        node = NodeDef(name=self._unused(f"{near.name}/Cast"), op="Cast", input=[tensor])
        node.attr["SrcT"].type, node.attr["DstT"].type = source, target
        return self._insert(node).name

    def set_input(self, node: NodeDef, position: int, tensor: str) -> None:
        """Makes `node` read `tensor` at an input position."""
        self._forget(node, node.input[position])
        node.input[position] = tensor
        self._readers[_node_name(tensor)].append(node)

    def redirect(self, node: NodeDef, tensor: str, output: int = 0) -> None:
        """Makes all readers of an output of `node` read `tensor` instead, except the producer of `tensor` itself."""
        names = {f"{node.name}:{output}"} | ({node.name} if output == 0 else set())
        for reader in self.readers(node):
            for position, name in enumerate(reader.input):
                if name in names and reader.name != _node_name(tensor):
                    self.set_input(reader, position, tensor)
        if self.output in names:
            self.output = tensor

    def bypass(self, node: NodeDef, tensor: str) -> None:
        """Removes `node`; the readers of its first output, the only one in use, read `tensor` instead."""
        self.redirect(node, tensor)
        for name in node.input:
            self._forget(node, name)
        del self._nodes[node.name]

    def frozen(self) -> FrozenGraph:
        """Returns the graph of the nodes that the output needs, in topological order."""
        output = self.output if ":" in self.output else f"{self.output}:0"
        graph = GraphDef(node=self._nodes.values(), versions=self._versions)
        frozen = FrozenGraph(graph, self.input, output)
        return FrozenGraph(GraphDef(node=_needed(frozen), versions=self._versions), self.input, output)

    def _insert(self, node: NodeDef) -> NodeDef:
        self._nodes[node.name] = node
        for tensor in node.input:
            self._readers[_node_name(tensor)].append(node)
        return node

    def _forget(self, reader: NodeDef, tensor: str) -> None:
        """Removes one use of `tensor` by `reader` from the list."""
        readers = self._readers[_node_name(tensor)]
        del readers[next(i for i, node in enumerate(readers) if node.name == reader.name)]

    def _unused(self, name: str) -> str:
        while name in self._nodes:
            name += "_"
        return name


def attribute(node: NodeDef, name: str) -> AttrValue:
    """Returns an attribute of a node, or an empty one; reading `node.attr[name]` would add it."""
    return node.attr[name] if name in node.attr else AttrValue()


def _node_name(tensor: str) -> str:
    return tensor.partition(":")[0]


def _without_control(node: NodeDef) -> NodeDef:
    """Returns a copy of `node` without control inputs: these order nothing in a graph without state."""
    copied = NodeDef()
    copied.CopyFrom(node)
    del copied.input[:]
    copied.input.extend(tensor for tensor in node.input if not tensor.startswith("^"))
    return copied


def _needed(frozen: FrozenGraph) -> list[NodeDef]:
    """Returns the input and the nodes that the output needs, producers first."""
    nodes = {node.name: node for node in frozen.graph.node}
    done = {frozen.input: nodes[frozen.input]}
    stack = [nodes[_node_name(frozen.output)]]
    while stack:
        producers = [nodes[_node_name(tensor)] for tensor in stack[-1].input if not tensor.startswith("^")]
        missing = [producer for producer in producers if producer.name not in done]
        stack.extend(missing)
        if not missing:
            node = stack.pop()
            done[node.name] = node
    return list(done.values())
