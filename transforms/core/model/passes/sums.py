"""Keep sums apart from convolutions: threads may then share the function.

With oneDNN, TensorFlow fuses a convolution, its bias and the sum that reads them, as in a residual block. If the other
summand is read elsewhere too, its fused kernel copies that first, by way of two members that all calls share and no
lock guards: of two threads in one function, one then copies into the other's result, or frees what the other has freed.
A node that checks a shape stands in the way; it costs nothing, as it hands its input on.
"""

from __future__ import annotations

from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes

_SUMS = frozenset({"Add", "AddV2", "AddN"})
_RANK_OF_CONVOLUTIONS = 4
"""From which on: that of images, or of volumes."""


def keep_sums_apart(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph with no sum that TensorFlow could fuse with a convolution.

    Raises:
        NotApplicableError: the rank of a summand is not known.
    """
    nodes = Nodes(frozen)
    shapes = frozen.shapes(batch=1)
    for node in nodes:
        if node.op not in _SUMS or any(nodes.constant(tensor) is not None for tensor in node.input):
            continue
        for position, tensor in enumerate(node.input):
            if (shape := shapes.get(tensor.removesuffix(":0"))) is None:
                raise NotApplicableError(f"the shape of {tensor}, which {node.name} adds, is not known")
            if len(shape) >= _RANK_OF_CONVOLUTIONS:
                nodes.set_input(node, position, _checked(nodes, node, position, len(shape)))
    return nodes.frozen()


def _checked(nodes: Nodes, node: NodeDef, position: int, rank: int) -> str:
    """Adds a check that an input of the sum `node` has `rank` axes, and returns its name."""
    name = nodes.add("EnsureShape", [node.input[position]], node)
    check = nodes.producer(name)
    check.attr["T"].type = node.attr["T"].type
    for _ in range(rank):
        check.attr["shape"].shape.dim.add(size=-1)
    return name
