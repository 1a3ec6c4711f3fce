"""Fold batch norm: per-channel scales and shifts become part of adjacent weights and biases.

In inference a batch norm is `x · a + b` with one a and one b per channel; fused forms are first
rewritten that way. Then, since convolutions and matrix products are linear in their weights W,

    (x ∗ W + c) · a + b  =  x ∗ (W · a) + (c · a + b)        after a linear layer
    (x · a + b) ∗ W      =  x ∗ (a · W) + b ∗ W              before one; b only without padding

is applied until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes, attribute

_BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})


def fold_batch_norm(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph with per-channel scales and shifts folded into linear layers.

    Raises:
        NotApplicableError: there is nothing to fold.
    """
    nodes = Nodes(frozen)
    changes = sum([_write_out(nodes, node) for node in nodes if node.op in _BATCH_NORMS])
    while sweep := sum([_fold_behind(nodes, node) or _fold_before(nodes, node) for node in nodes]):
        changes += sweep
    if not changes:
        raise NotApplicableError("no scale or shift per channel is adjacent to a linear layer with constant weights")
    return nodes.frozen()


def _write_out(nodes: Nodes, node: NodeDef) -> bool:
    """Replaces a fused batch norm in inference with a product and a sum; returns whether it did."""
    constants = [nodes.constant(tensor) for tensor in node.input[1:5]]
    if attribute(node, "is_training").b or not _channels_last(node) or any(value is None for value in constants):
        return False
    gamma, beta, mean, variance = (value.astype(np.float64) for value in constants if value is not None)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon").f)
    product = nodes.add("Mul", [node.input[0], _float32(nodes, scale, node)], node)
    nodes.bypass(node, nodes.add("AddV2", [product, _float32(nodes, beta - mean * scale, node)], node))
    return True


def _fold_behind(nodes: Nodes, node: NodeDef) -> bool:
    """Folds a scale or shift into the linear layer before it, if it is the only reader; returns whether it did."""
    affine = _affine(nodes, node)
    layer = _linear(nodes, nodes.producer(affine.x)) if affine else None
    if layer and layer.end is layer.node and node.op == "BiasAdd":
        return False
    if not affine or not layer or not affine.fits(layer.outputs) or nodes.only_reader(layer.end) is not node:
        return False
    nodes.set_input(layer.node, 1, _float32(nodes, layer.times_output(affine.scale), layer.node))
    nodes.bypass(node, _with_bias(nodes, layer, layer.bias * affine.scale + affine.shift))
    return True


def _fold_before(nodes: Nodes, node: NodeDef) -> bool:
    """Folds a scale or shift into the linear layer after it, if that is the only reader; returns whether it did."""
    affine = _affine(nodes, node)
    reader = nodes.only_reader(node)
    layer = _linear(nodes, reader) if affine and reader else None
    if not affine or not layer or layer.end is not reader or not affine.fits(layer.inputs):
        return False
    if layer.pads and affine.shift.any():
        return False
    nodes.set_input(layer.node, 1, _float32(nodes, layer.times_input(affine.scale), layer.node))
    nodes.bypass(node, affine.x)
    nodes.redirect(layer.node, _with_bias(nodes, layer, layer.response(affine.shift)))
    return True


@dataclass(frozen=True)
class _Affine:
    """A node's function `x · scale + shift`; both are float64 vectors of one number, or of one per channel."""

    x: str
    scale: np.ndarray
    shift: np.ndarray

    def fits(self, channels: int) -> bool:
        return {self.scale.size, self.shift.size} <= {1, channels}


def _affine(nodes: Nodes, node: NodeDef) -> _Affine | None:
    """Returns a node as a scale or shift of the last axis of its input; None if it is neither."""
    if node.op not in ("Mul", "RealDiv", "Add", "AddV2", "Sub", "BiasAdd") or not _channels_last(node):
        return None
    left, right = (nodes.constant(tensor) for tensor in node.input)
    constant = left if right is None else right
    if constant is None or (left is not None and right is not None) or constant.dtype != np.float32:
        return None
    if constant.size not in (1, *constant.shape[-1:]):
        return None
    x = node.input[0] if left is None else node.input[1]
    vector, one, zero = constant.astype(np.float64).reshape(-1), np.ones(1), np.zeros(1)
    if node.op == "Mul":
        return _Affine(x, vector, zero)
    if node.op == "RealDiv":
        return _Affine(x, 1 / vector, zero) if left is None else None
    if node.op == "Sub":
        return _Affine(x, one, -vector) if left is None else _Affine(x, -one, vector)
    return _Affine(x, one, vector)


@dataclass(frozen=True)
class _Linear:
    """A linear layer with constant weights, and the bias after it.

    Attributes:
        node: the convolution or product.
        end: the BiasAdd that is the only reader of `node`, or `node` itself.
        weights: float64.
        bias: float64 `[outputs]`, zeros if there is none.
    """

    node: NodeDef
    end: NodeDef
    weights: np.ndarray
    bias: np.ndarray

    @property
    def outputs(self) -> int:
        return len(self.bias)

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[self._input_axis])

    @property
    def pads(self) -> bool:
        """Whether the layer may read zeros beyond the border."""
        return (
            self.node.op != "MatMul"
            and attribute(self.node, "padding").s != b"VALID"
            and self.weights.shape[:2] != (1, 1)
        )

    def times_output(self, scale: np.ndarray) -> np.ndarray:
        """Returns the weights with each output scaled."""
        if self.node.op == "DepthwiseConv2dNative":
            return self.weights * np.broadcast_to(scale, self.outputs).reshape(self.weights.shape[2:])
        return self.weights * (scale[:, None] if self._transposed else scale)

    def times_input(self, scale: np.ndarray) -> np.ndarray:
        """Returns the weights with each input channel scaled."""
        shape = [1] * self.weights.ndim
        shape[self._input_axis] = -1
        return self.weights * scale.reshape(shape)

    def response(self, shift: np.ndarray) -> np.ndarray:
        """Returns the output for an input that is `shift` everywhere, `[outputs]`."""
        products = self.times_input(shift)
        if self.node.op == "DepthwiseConv2dNative":
            return products.sum((0, 1)).reshape(-1)
        return products.sum(self._input_axis if self.node.op == "MatMul" else (0, 1, 2))

    @property
    def _transposed(self) -> bool:
        return self.node.op == "MatMul" and attribute(self.node, "transpose_b").b

    @property
    def _input_axis(self) -> int:
        return int(self._transposed) if self.node.op == "MatMul" else 2


def _linear(nodes: Nodes, end: NodeDef) -> _Linear | None:
    """Returns the linear layer that a node is, or whose bias it is; None if it is neither."""
    node = nodes.producer(end.input[0]) if end.op == "BiasAdd" else end
    if node.op not in ("Conv2D", "DepthwiseConv2dNative", "MatMul") or not _channels_last(node):
        return None
    weights = nodes.constant(node.input[1])
    if weights is None or weights.dtype != np.float32 or attribute(node, "transpose_a").b:
        return None
    if end is node:
        return _Linear(node, end, weights.astype(np.float64), np.zeros(_outputs(node, weights)))
    bias = nodes.constant(end.input[1])
    if bias is None or nodes.only_reader(node) is not end:
        return None
    return _Linear(node, end, weights.astype(np.float64), bias.astype(np.float64))


def _outputs(node: NodeDef, weights: np.ndarray) -> int:
    if node.op == "DepthwiseConv2dNative":
        return int(np.prod(weights.shape[2:]))
    return int(weights.shape[0] if attribute(node, "transpose_b").b else weights.shape[-1])


def _with_bias(nodes: Nodes, layer: _Linear, bias: np.ndarray) -> str:
    """Returns the layer's output with `bias` as its only bias."""
    if layer.end is not layer.node:
        nodes.set_input(layer.end, 1, _float32(nodes, bias, layer.end))
        return layer.end.name
    if not bias.any():
        return layer.node.name
    constant = _float32(nodes, np.broadcast_to(bias, layer.outputs), layer.node)
    return nodes.add("BiasAdd", [layer.node.name, constant], layer.node)


def _float32(nodes: Nodes, value: np.ndarray, near: NodeDef) -> str:
    return nodes.add_constant(value.astype(np.float32), near)


def _channels_last(node: NodeDef) -> bool:
    return attribute(node, "data_format").s in (b"", b"NHWC")
