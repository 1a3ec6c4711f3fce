"""Simplify: control inputs and identities are removed, and constant expressions are computed once."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.python.grappler import tf_optimizer

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes


def simplify(frozen: FrozenGraph) -> FrozenGraph:
    """Returns the graph without identities and with constants folded.

    Raises:
        NotApplicableError: TensorFlow's optimizer refuses the graph.
    """
    return _without_identities(_fold_constants(_without_identities(frozen)))


def _without_identities(frozen: FrozenGraph) -> FrozenGraph:
    nodes = Nodes(frozen)
    for node in nodes:
        if node.op == "Identity":
            nodes.bypass(node, node.input[0])
    return nodes.frozen()


def _fold_constants(frozen: FrozenGraph) -> FrozenGraph:
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(frozen.graph, name="")
        graph.add_to_collection("train_op", graph.get_tensor_by_name(frozen.output).op)
        metagraph = tf.compat.v1.train.export_meta_graph(graph=graph)
    config = ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.optimizers.append("constfold")
    rewrite.min_graph_nodes = -1
    rewrite.fail_on_optimizer_errors = True
    try:
        folded = tf_optimizer.OptimizeGraph(config, metagraph)
    except Exception as error:  # the optimizer reports through several TensorFlow error classes
        raise NotApplicableError(f"TensorFlow cannot fold constants: {type(error).__name__}: {error}") from error
    return FrozenGraph(folded, frozen.input, frozen.output)
