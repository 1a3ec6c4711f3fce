"""Freeze: variables to constants, functions inlined, so that no weight gradient or variable read remains."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from transforms.core.passes.frozen import FrozenGraph, NotApplicableError

_CONTROL_FLOW = frozenset(
    {
        *("If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"),
        *("Enter", "Exit", "Merge", "NextIteration", "Switch"),
    }
)
"""Ops that branch or loop: of TensorFlow 2, and of TensorFlow 1, whose graphs have cycles."""


def freeze(concrete: tf.types.experimental.ConcreteFunction) -> FrozenGraph:
    """Returns a function of one tensor as a frozen graph.

    Raises:
        NotApplicableError: TensorFlow can't turn the function's variables into constants.
    """
    try:
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    except Exception as error:  # the converter lets KeyError, InvalidArgumentError and its own kinds through
        raise NotApplicableError(f"TensorFlow can't freeze the model: {type(error).__name__}: {error}") from error
    return FrozenGraph(frozen.graph.as_graph_def(), frozen.inputs[0].op.name, frozen.outputs[0].name)


def check_flat(frozen: FrozenGraph) -> None:
    """Checks that a graph is what passes can rewrite: one input, no calls, no branches.

    Raises:
        NotApplicableError: it is not.
    """
    nodes = frozen.graph.node
    if branching := sorted({node.op for node in nodes} & _CONTROL_FLOW):
        raise NotApplicableError(f"the model has control flow: {', '.join(branching)}")
    if captured := [node.name for node in nodes if node.op == "Placeholder" and node.name != frozen.input]:
        raise NotApplicableError(f"the model reads what is neither its input nor a variable: {', '.join(captured)}")
    if functions := [function.signature.name for function in frozen.graph.library.function]:
        raise NotApplicableError(f"the model calls what can't be inlined: {', '.join(functions)}")
