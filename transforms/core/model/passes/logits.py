"""Logits: what a frozen graph's final softmax or sigmoid is taken of, be that one operation or written out.

A softmax is also `exp(u) / sum(exp(u))` or the exponential of a log-softmax; a log-softmax also `u − log(sum(exp(u)))`.
If `u` is a tensor less its own maximum, which changes no softmax, the logits are that tensor. A sigmoid is also
`1 / (1 + exp(−u))`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError

_SAME = frozenset({"Identity", "PreventGradient", "StopGradient", "CheckNumerics", "EnsureShape", "Snapshot"})
_SLICING = frozenset({"StridedSlice", "Slice"})
_RESHAPING = frozenset({"Reshape", "Squeeze", "ExpandDims", "Cast", "Transpose"})


@dataclass(frozen=True)
class Ending:
    """What a graph ends in.

    Attributes:
        kind: `softmax`, `sigmoid`, `log_softmax`, or empty.
        output: name of the node that gives it, which only changes of shape and type follow; and slices of a sigmoid.
        logits: name of the tensor that it is taken of.
    """

    kind: str = ""
    output: str = ""
    logits: str = ""


def ending(frozen: FrozenGraph) -> Ending:
    """Returns what a frozen graph ends in, however it is written."""
    return _Graph(frozen.graph).ending(frozen.output)


def logits_graph(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph without its final softmax, log-softmax or sigmoid.

    Raises:
        NotApplicableError: it ends in none.
    """
    found = ending(frozen)
    if not found.kind:
        raise NotApplicableError("its graph ends in no softmax or sigmoid")
    names = {found.output, f"{found.output}:0"}
    if frozen.output in names:
        output = found.logits if ":" in found.logits else f"{found.logits}:0"
        return FrozenGraph(_sub_graph(frozen.graph, output), frozen.input, output)
    graph = GraphDef()
    graph.CopyFrom(frozen.graph)
    for node in graph.node:
        node.input[:] = [found.logits if name in names else name for name in node.input]
    return FrozenGraph(_sub_graph(graph, frozen.output), frozen.input, frozen.output)


def _sub_graph(graph: GraphDef, tensor: str) -> GraphDef:
    """Returns what a tensor needs of a graph."""
    return tf.compat.v1.graph_util.extract_sub_graph(graph, [tensor.partition(":")[0]])


class _Graph:
    """The nodes of a graph, read from the end; a graph may have functions, loops and branches elsewhere."""

    def __init__(self, graph: GraphDef) -> None:
        self._nodes = {node.name: node for node in graph.node}

    def ending(self, output: str) -> Ending:
        node = self._node(output)
        whole = True
        while node.op in _RESHAPING | _SLICING:
            whole = whole and node.op not in _SLICING
            node = self._node(node.input[0])
        kinds = {"sigmoid": self._sigmoid, "softmax": self._softmax, "log_softmax": self._log_softmax}
        for kind, find in kinds.items():
            if (whole or kind == "sigmoid") and (logits := find(node)):  # a part of a softmax is none
                return Ending(kind, node.name, logits)
        return Ending()

    def _softmax(self, node: NodeDef) -> str:
        """Returns what `node` is the softmax of; empty if it is none."""
        if node.op == "Softmax":
            return self._behind_maximum(node.input[0])
        if node.op == "Exp":
            return self._log_softmax(self._node(node.input[0]))
        over, under = self._fraction(node)
        if over is None or over.op != "Exp" or not self._is_sum_of_exp(under, over.input[0]):
            return ""
        return self._behind_maximum(over.input[0])

    def _log_softmax(self, node: NodeDef) -> str:
        if node.op == "LogSoftmax":
            return self._behind_maximum(node.input[0])
        if node.op == "Log":
            return self._softmax(self._node(node.input[0]))
        if node.op == "Sub" and self._is_log_of_sum(node.input[1], node.input[0]):
            return self._behind_maximum(node.input[0])
        return ""

    def _sigmoid(self, node: NodeDef) -> str:
        """Returns what `node` is the sigmoid of; empty if it is none."""
        if node.op == "Sigmoid":
            return str(node.input[0])
        under = node.input[0] if node.op in ("Reciprocal", "Inv") else ""
        if node.op == "RealDiv" and self._is_one(node.input[0]):
            under = node.input[1]
        total = self._node(under) if under else None
        if total is None or total.op not in ("Add", "AddV2"):
            return ""
        for one, other in (total.input, reversed(total.input)):
            exponential = self._node(other)
            if self._is_one(one) and exponential.op == "Exp" and self._node(exponential.input[0]).op == "Neg":
                return str(self._node(exponential.input[0]).input[0])
        return ""

    def _fraction(self, node: NodeDef) -> tuple[NodeDef | None, str]:
        """Returns what a node divides by what, be it a division or a product with a reciprocal."""
        if node.op == "RealDiv":
            return self._node(node.input[0]), node.input[1]
        if node.op == "Mul":
            for over, under in (node.input, reversed(node.input)):
                if self._node(under).op in ("Reciprocal", "Inv"):
                    return self._node(over), self._node(under).input[0]
        return None, ""

    def _is_sum_of_exp(self, tensor: str, of: str) -> bool:
        """Returns whether `tensor` is the sum of the exponential of the tensor `of`."""
        node = self._reshaped(tensor)
        if node.op != "Sum":
            return False
        exponential = self._node(node.input[0])
        return exponential.op == "Exp" and self._same(exponential.input[0], of)

    def _is_log_of_sum(self, tensor: str, of: str) -> bool:
        """Returns whether `tensor` is the logarithm of the sum of exponentials of `of`, or `of` less its maximum."""
        node = self._reshaped(tensor)
        if node.op == "Log":
            return self._is_sum_of_exp(node.input[0], of)
        if node.op not in ("Add", "AddV2"):
            return False
        for log, most in (node.input, reversed(node.input)):
            total = self._reshaped(log)
            if total.op != "Log" or not self._is_maximum(most, of):
                continue
            total = self._reshaped(total.input[0])
            if total.op == "Sum" and self._node(total.input[0]).op == "Exp":
                return self._same(self._behind_maximum(self._node(total.input[0]).input[0]), of)
        return False

    def _behind_maximum(self, tensor: str) -> str:
        """Returns the tensor of which `tensor` is the difference from its own maximum; itself if it is no such."""
        node = self._node(tensor)
        if node.op == "Sub" and self._is_maximum(node.input[1], node.input[0]):
            return str(node.input[0])
        return str(tensor)

    def _is_maximum(self, tensor: str, of: str) -> bool:
        node = self._reshaped(tensor)
        while node.op in ("Select", "SelectV2"):  # where the maximum is not finite, zero is taken
            node = self._reshaped(node.input[1])
        return node.op == "Max" and self._source(node.input[0]) == self._source(of)

    def _is_one(self, tensor: str) -> bool:
        node = self._node(tensor)
        if node.op != "Const":
            return False
        return bool(np.all(tf.make_ndarray(node.attr["value"].tensor) == 1))

    def _same(self, one: str, other: str) -> bool:
        """Returns whether two tensors are the same, or of the same softmax."""
        one, other = self._behind_maximum(one), self._behind_maximum(other)
        return self._source(one) == self._source(other)

    def _source(self, tensor: str) -> str:
        name, _, index = tensor.partition(":")
        node = self._nodes[name]
        if node.op in _SAME:
            return self._source(node.input[0])
        return f"{name}:{index or 0}"

    def _node(self, tensor: str) -> NodeDef:
        """Returns the node that computes a tensor, behind those that hand it on."""
        return self._nodes[self._source(tensor).partition(":")[0]]

    def _reshaped(self, tensor: str) -> NodeDef:
        """Returns the same behind changes of shape."""
        node = self._node(tensor)
        while node.op in _RESHAPING:
            node = self._node(node.input[0])
        return node
