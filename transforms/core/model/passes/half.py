"""Half precision: convolutions and matrix products in float16 or bfloat16, everything between them in float32.

For devices that multiply these several times faster. Unlike the other passes, it is not exact to rounding: its caller
compares the maps with those of float32.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes, attribute

_LINEAR = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
_FLOAT = tf.float32.as_datatype_enum


def halve(frozen: FrozenGraph, kind: tf.DType) -> FrozenGraph:
    """Returns the graph with its linear layers of constant weights in `kind`, float16 or bfloat16.

    Raises:
        NotApplicableError: it has none in float32 whose weights fit.
    """
    half = kind.as_datatype_enum
    nodes = Nodes(frozen)
    found = False
    for node in nodes:
        if node.op not in _LINEAR or attribute(node, "T").type != _FLOAT:
            continue
        weights = nodes.constant(node.input[1])
        halved = None if weights is None else weights.astype(kind.as_numpy_dtype)
        if halved is None or not np.isfinite(halved.astype(np.float32)).all():
            continue
        found = True
        nodes.set_input(node, 0, nodes.add_cast(node.input[0], _FLOAT, half, node))
        nodes.set_input(node, 1, nodes.add_constant(halved, node))
        node.attr["T"].type = half
        nodes.redirect(node, nodes.add_cast(node.name, half, _FLOAT, node))
    if not found:
        raise NotApplicableError(f"the model has no linear layer with constant weights that fit {kind.name}")
    return nodes.frozen()
