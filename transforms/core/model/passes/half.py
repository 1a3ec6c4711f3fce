"""Half precision: convolutions and matrix products in float16, everything between them in float32.

For devices that multiply float16 several times faster. Unlike the other passes, it is not exact to rounding: its caller
compares the maps with those of float32.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes, attribute

_LINEAR = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
_FLOAT, _HALF = tf.float32.as_datatype_enum, tf.float16.as_datatype_enum


def halve(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph with its linear layers of constant weights in float16.

    Raises:
        NotApplicableError: it has none whose weights fit float16.
    """
    nodes = Nodes(frozen)
    found = False
    for node in nodes:
        if node.op not in _LINEAR or attribute(node, "T").type != _FLOAT:
            continue
        weights = nodes.constant(node.input[1])
        if weights is None or not np.isfinite(weights.astype(np.float16)).all():
            continue
        found = True
        nodes.set_input(node, 0, nodes.add_cast(node.input[0], _FLOAT, _HALF, node))
        nodes.set_input(node, 1, nodes.add_constant(weights.astype(np.float16), node))
        node.attr["T"].type = _HALF
        nodes.redirect(node, nodes.add_cast(node.name, _HALF, _FLOAT, node))
    if not found:
        raise NotApplicableError("the model has no linear layer with constant weights that fit float16")
    return nodes.frozen()
