"""Depthwise calls: convolutions with one channel per group, which Keras leaves to XLA, as depthwise convolutions.

TensorFlow's CPU kernels have no gradient for a grouped convolution, so Keras compiles a function around
it (in ConvNeXt, for instance). If every channel is its own group, it is a depthwise convolution, whose
kernels are many times faster than XLA's code for it.
"""

from __future__ import annotations

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph
from transforms.core.model.passes.nodes import Nodes

_SHARED = ("strides", "padding", "explicit_paddings", "dilations", "data_format")
"""Attributes that both kinds of convolution have."""


def write_out_depthwise(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph with its calls expanded, or unchanged if any is more than a depthwise convolution."""
    functions = {function.signature.name: function for function in frozen.graph.library.function}
    if not functions:
        return frozen
    nodes = Nodes(frozen)
    for node in nodes:
        if "f" in node.attr and not _write_out(nodes, node, functions[node.attr["f"].func.name]):
            return frozen
    written = nodes.frozen()
    try:
        written.shapes(batch=1)
    except ValueError:  # several outputs per channel, which cannot be seen in a call
        return frozen
    return written


def _write_out(nodes: Nodes, call: NodeDef, function: FunctionDef) -> bool:
    """Replaces a call that is one depthwise convolution; returns whether it did."""
    body = [node for node in function.node_def if node.op not in ("Identity", "NoOp")]
    if [node.op for node in body] != ["Conv2D"] or len(call.input) != 2:
        return False
    (convolution,) = body
    images_first = convolution.input[0] == function.signature.input_arg[0].name
    images, filters = call.input if images_first else reversed(call.input)
    weights = nodes.constant(filters)
    if weights is None or weights.shape[2] != 1:
        return False
    filters = nodes.add_constant(weights.transpose(0, 1, 3, 2), call)
    depthwise = nodes.producer(nodes.add("DepthwiseConv2dNative", [images, filters], call))
    for name in _SHARED:
        depthwise.attr[name].CopyFrom(convolution.attr[name])
    nodes.bypass(call, depthwise.name)
    return True
