"""Freeze: variables to constants, functions inlined, so that no weight gradient or variable read remains."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transforms.core.model.passes.depthwise import write_out_depthwise
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes, attribute

_CONTROL_FLOW = frozenset(
    {
        *("If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"),
        *("Enter", "Exit", "Merge", "NextIteration", "Switch"),
    }
)
"""Ops that branch or loop: of TensorFlow 2, and of TensorFlow 1, whose graphs have cycles."""

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def freeze(concrete: tf.types.experimental.ConcreteFunction) -> FrozenGraph:
    """Returns a function of one tensor as a frozen graph.

    Raises:
        NotApplicableError: TensorFlow cannot turn the function's variables into constants.
    """
    try:
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    except Exception as error:  # the converter lets KeyError, InvalidArgumentError and its own kinds through
        raise NotApplicableError(f"TensorFlow cannot freeze the model: {type(error).__name__}: {error}") from error
    return FrozenGraph(frozen.graph.as_graph_def(), frozen.inputs[0].op.name, frozen.outputs[0].name)


def flatten(frozen: FrozenGraph) -> FrozenGraph:
    """Returns a frozen graph that passes can rewrite: one input, no calls, no branches, no custom gradients.

    Raises:
        NotApplicableError: the graph cannot be put into that form.
    """
    if branching := sorted({node.op for node in frozen.graph.node} & _CONTROL_FLOW):
        raise NotApplicableError(f"the model has control flow: {', '.join(branching)}")
    flat = _without_silu_gradient(write_out_depthwise(frozen))
    nodes = flat.graph.node
    if captured := [node.name for node in nodes if node.op == "Placeholder" and node.name != flat.input]:
        raise NotApplicableError(f"the model reads tensors other than its input and variables: {', '.join(captured)}")
    if calls := [node.name for node in nodes if node.op in _CALLS]:
        raise NotApplicableError(f"the model calls functions that cannot be inlined: {', '.join(calls)}")
    if own := [node.name for node in nodes if _has_own_gradient(node)]:
        raise NotApplicableError(f"the model has custom gradients: {', '.join(own)}")
    return flat


def _without_silu_gradient(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph with SiLU, `x · sigmoid(βx)`, differentiated op by op.

    TensorFlow's SiLU has a custom gradient, which saves memory in training and computes the same.
    It belongs to the function that was traced first, so a copy of the graph cannot use it.
    """
    nodes = Nodes(frozen)
    for node in nodes:
        if _has_own_gradient(node) and _is_silu(nodes, nodes.producer(node.input[0])):
            for output, tensor in enumerate(node.input):
                nodes.redirect(node, tensor, output)
    return nodes.frozen()


def _has_own_gradient(node: NodeDef) -> bool:
    return attribute(node, "_gradient_op_type").s.startswith(b"CustomGradient")


def _is_silu(nodes: Nodes, product: NodeDef) -> bool:
    return product.op == "Mul" and any(nodes.producer(tensor).op == "Sigmoid" for tensor in product.input)
