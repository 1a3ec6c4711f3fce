"""A model that takes integers → one that takes the floats that it computes with: it is entered behind its cast.

There is no gradient with respect to an integer. But what such a model does first is to move its pixels about, if
anything, and to cast them to floats; with floats in place of the integers, that part is the same function at whole
numbers, and the straight line between them elsewhere.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.errors import UsageError
from transforms.core.model.inner import InnerGraph
from transforms.core.model.opened import OpenedModel
from transforms.core.model.passes.frozen import NotApplicableError

_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
_MOVES = frozenset(
    {
        *("Identity", "IdentityN", "Reshape", "Transpose", "Squeeze", "ExpandDims", "ReverseV2", "Slice"),
        *("StridedSlice", "GatherV2", "Tile", "BroadcastTo", "Split", "SplitV", "Unpack", "ResizeNearestNeighbor"),
        *("SpaceToDepth", "DepthToSpace", "SpaceToBatchND", "BatchToSpaceND", "EnsureShape", "StopGradient"),
    }
)
"""Operations that only move what their input at `_data_position` holds."""

_JOINS = frozenset({"ConcatV2", "Pack"})
_TO_FLOAT = frozenset({"ResizeBilinear", "ResizeBicubic", "ResizeArea"})
"""Operations whose output is float32 whatever the type of their input."""

_FLOAT = tf.float32.as_datatype_enum
_CONVERT = (
    "export the model with a float input, the cast before it left out: the same layers, called with "
    "tf.TensorSpec([None, height, width, channels], tf.float32)"
)


def behind_cast(model: OpenedModel) -> OpenedModel:
    """Returns a model of integers as one of floats in the same range.

    Raises:
        UsageError: it cannot be frozen, or it computes with the integers before it casts them.
    """
    try:
        inner = InnerGraph.of(model.call, model.spec)
    except NotApplicableError as reason:
        raise UsageError(
            f"model: its input is {model.spec.dtype.name}, which has no gradient, and it cannot be entered behind its "
            f"cast: {reason}; {_CONVERT}"
        ) from reason
    floats = dataclasses.replace(inner, graph=_of_floats(inner, model.spec.dtype))
    spec = tf.TensorSpec(model.spec.shape, tf.float32)
    return dataclasses.replace(model, spec=spec, call=floats.function(floats.input, floats.outputs))


def _of_floats(inner: InnerGraph, dtype: tf.DType) -> GraphDef:
    """Returns the graph with floats instead of integers from its input up to where they are cast.

    Raises:
        UsageError: something else is done with the integers.
    """
    graph = GraphDef()
    graph.CopyFrom(inner.graph)
    nodes = {node.name: node for node in graph.node}
    floats = {inner.input}
    for name in inner.specs:
        node = nodes[name]
        read = [index for index, tensor in enumerate(node.input) if tensor.partition(":")[0] in floats]
        if not read or node.op in _SHAPES:
            _retype_shape(node, bool(read))
        elif node.op == "Cast":
            if _enter_cast(node):
                floats.add(name)
        elif _only_moves(node, read):
            _set_type(node, "T" if "T" in node.attr else "Tparams")
            floats.add(name)
        elif node.op in _TO_FLOAT and read == [0]:
            _set_type(node, "T")
        else:
            raise UsageError(
                f"model: its input is {dtype.name}, which has no gradient, and it computes with it before any cast to "
                f"floats ({node.op} {name!r}); {_CONVERT}"
            )
    if any(tensor.partition(":")[0] in floats for tensor in inner.outputs.values()):
        raise UsageError(f"model: its outputs are {dtype.name} as its input is; {_CONVERT}")
    return graph


def _only_moves(node: NodeDef, read: list[int]) -> bool:
    if node.op in _JOINS:
        return len(read) == len(node.input) - (node.op == "ConcatV2")
    return node.op in _MOVES and read == [1 if node.op == "Split" else 0]


def _retype_shape(node: NodeDef, reads: bool) -> None:
    if reads:
        node.attr["T"].type = _FLOAT


def _set_type(node: NodeDef, attribute: str) -> None:
    if node.op == "IdentityN":
        node.attr["T"].list.type[:] = [_FLOAT] * len(node.attr["T"].list.type)
    else:
        node.attr[attribute].type = _FLOAT


def _enter_cast(node: NodeDef) -> bool:
    """Makes a cast one of floats; returns whether it was one between integers, whose readers get floats too.

    Raises:
        UsageError: the cast is to something that is no number.
    """
    target = tf.as_dtype(node.attr["DstT"].type)
    node.attr["SrcT"].type = _FLOAT
    if target.is_integer:
        node.attr["DstT"].type = _FLOAT
    elif not target.is_floating:
        raise UsageError(f"model: its input is cast to {target.name}, which has no gradient; {_CONVERT}")
    return bool(target.is_integer)
