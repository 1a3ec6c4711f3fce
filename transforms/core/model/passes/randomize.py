"""Randomize: the same graph with other weights in its last linear layer, to test whether maps depend on them.

Not a pass of the compiled step: the graph deliberately computes something else afterwards.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes

_LINEAR = frozenset({"MatMul", "BatchMatMulV2", "Einsum", "Conv2D", "DepthwiseConv2dNative"})


def randomize_last_layer(frozen: FrozenGraph, seed: int = 0) -> FrozenGraph:
    """Returns the graph with normal weights, of the same mean square, in the layers that are followed by no other.

    There is one such layer, unless the model ends in several heads.

    Args:
        frozen: a flat graph.
        seed: of the weights; the same seed gives the same.

    Raises:
        NotApplicableError: no layer has constant weights.
    """
    nodes = Nodes(frozen)
    layers = {node.name: position for node in nodes if (position := _weights_position(nodes, node)) is not None}
    if not layers:
        raise NotApplicableError("the model has no linear layer with constant weights")
    rng = np.random.default_rng(seed)
    followed: set[str] = set()
    for node in reversed(list(nodes)):
        if any(reader.name in layers or reader.name in followed for reader in nodes.readers(node)):
            followed.add(node.name)
        elif node.name in layers:
            position = layers[node.name]
            weights = np.asarray(nodes.constant(node.input[position]))
            scale = np.sqrt(np.mean(np.square(weights, dtype=np.float64)))
            drawn = rng.normal(0, scale, weights.shape).astype(weights.dtype)
            nodes.set_input(node, position, nodes.add_constant(drawn, node))
    return nodes.frozen()


def _weights_position(nodes: Nodes, node: NodeDef) -> int | None:
    """Returns which input of a linear layer is its constant weights, or None unless there is exactly one."""
    if node.op not in _LINEAR:
        return None
    constant = [position for position, tensor in enumerate(node.input) if nodes.constant(tensor) is not None]
    return constant[0] if len(constant) == 1 else None
