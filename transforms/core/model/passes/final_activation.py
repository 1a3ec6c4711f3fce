"""The activation that a frozen classifier ends in: a softmax, a sigmoid, or neither."""

from __future__ import annotations

from transforms.core.model.passes.frozen import FrozenGraph

_TRANSPARENT = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "PreventGradient", "StopGradient"})


def final_activation(frozen: FrozenGraph) -> str:
    """Returns `softmax`, `sigmoid` or the empty string, walking back over shape and type changes."""
    nodes = {node.name: node for node in frozen.graph.node}
    node = nodes[frozen.output.partition(":")[0]]
    while node.op in _TRANSPARENT:
        node = nodes[node.input[0].partition(":")[0]]
    if node.op == "RealDiv" and nodes[node.input[0].partition(":")[0]].op == "Exp":
        return "softmax"
    return {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(node.op, "")
