"""Cut: the graph is split in two, at the last tensor that is affine in the input.

The path from a baseline to an image is straight, and a straight path stays straight under an affine
map. So the affine stem runs once per image, the rest of the model once per step, and the transpose of
the stem's linear part once on the accumulated gradient: `dF/dx = Aᵀ dF/dz` for `z = A x + b`.

Steps in a larger tensor cost memory traffic; the cut is made only if it saves more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.nodes import Nodes, attribute

_AFFINE_IN_ANY = frozenset(["Add", "AddV2", "Sub", "Mul", "MatMul", "BatchMatMulV2", "Einsum", "ConcatV2", "Pack"])
"""Ops that are affine in one of their inputs while the others are constant."""

_AFFINE_IN_FIRST = frozenset(
    {
        *("RealDiv", "Neg", "BiasAdd", "Conv2D", "DepthwiseConv2dNative", "Mean", "Sum", "AvgPool", "ResizeBilinear"),
        *(
            "Pad",
            "PadV2",
            "MirrorPad",
            "Reshape",
            "Transpose",
            "Squeeze",
            "ExpandDims",
            "ReverseV2",
            "Identity",
            "Cast",
        ),
        *("Slice", "StridedSlice", "GatherV2", "Tile", "BroadcastTo"),
        *("SpaceToDepth", "DepthToSpace", "SpaceToBatchND", "BatchToSpaceND"),
    }
)
"""Ops that are affine in their first input while the others are constant."""

_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank"})
"""Ops that depend only on the shape of their input."""

WEIGHTED = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
"""Ops with weights."""

_FLOPS_PER_SECOND = 40e9
_BYTES_PER_SECOND = 16e9
_TOUCHES = 20
"""The throughput of one core in convolutions and in memory (measured on AVX2), and how often a step reads
or writes each float of its point while it interpolates and sums."""


@dataclass(frozen=True, eq=False)
class Stem:
    """A graph in two parts: from images into path space, and from there to the outputs.

    Attributes:
        head: the affine stem.
        tail: the rest; it may still read the image's placeholder, but only its shape.
        image_shape: of one image.
        point_shape: of one point in path space.
    """

    head: FrozenGraph
    tail: FrozenGraph
    image_shape: tuple[int, ...]
    point_shape: tuple[int, ...]

    def enter(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images `[n, ...image_shape]` as points `[n, ...point_shape]`."""
        return self.head(images)

    def outputs(self, points: tf.Tensor) -> tf.Tensor:
        """Returns the outputs for points `[n, ...point_shape]`."""
        return self.tail(points, {self.head.input: self._blank(points)})

    def leave(self, gradients: tf.Tensor) -> tf.Tensor:
        """Returns gradients `[n, ...point_shape]` as gradients `[n, ...image_shape]`."""
        images = self._blank(gradients)
        (result,) = tf.gradients(self.head(images), images, grad_ys=gradients)
        return result

    def _blank(self, like: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(like)[0], *self.image_shape])


def cut_stem(frozen: FrozenGraph, image_shape: tuple[int, ...]) -> Stem:
    """Returns the graph cut at the last affine tensor.

    Raises:
        NotApplicableError: the model does not begin with an affine layer, or steps after it cost more than it saves.
    """
    nodes = Nodes(frozen)
    for node in reversed(affine_chain(nodes)):
        head = Nodes(FrozenGraph(frozen.graph, frozen.input, f"{node.name}:0")).frozen()
        shapes = _shapes(head)
        if shapes and not _pays(head, shapes, node.name, image_shape):
            raise NotApplicableError(f"a path in {node.name} {shapes[node.name]} costs more than the stem's work")
        if shapes:
            return Stem(head, _tail(frozen, node), image_shape, shapes[node.name])
    raise NotApplicableError("the model does not begin with an affine layer")


def affine_chain(nodes: Nodes) -> list[NodeDef]:
    """Returns the nodes, from the input on, that are affine in it, each the only reader of the one before."""
    depending = _depending(nodes)
    chain: list[NodeDef] = []
    end = nodes.producer(nodes.input)
    while True:
        readers = {reader.name: reader for reader in nodes.readers(end) if reader.op not in _SHAPES}
        if len(readers) != 1:
            return chain
        (reader,) = readers.values()
        varying = [position for position, tensor in enumerate(reader.input) if nodes.producer(tensor).name in depending]
        if len(varying) != 1 or not _is_affine(reader, varying[0]) or reader.name == nodes.output:
            return chain
        chain.append(reader)
        end = reader


def _depending(nodes: Nodes) -> set[str]:
    """Returns the names of the nodes whose values depend on the input's values."""
    depending = {nodes.input}
    for node in nodes:
        if node.op not in _SHAPES and any(nodes.producer(tensor).name in depending for tensor in node.input):
            depending.add(node.name)
    return depending


def _is_affine(node: NodeDef, position: int) -> bool:
    if node.op == "Cast":
        return attribute(node, "DstT").type in (tf.float32.as_datatype_enum, tf.float64.as_datatype_enum)
    return node.op in _AFFINE_IN_ANY or (node.op in _AFFINE_IN_FIRST and position == 0)


def _shapes(head: FrozenGraph) -> dict[str, tuple[int, ...]]:
    """Returns the shape per image of each node of the stem; nothing unless its output keeps images separate."""
    twice, thrice = head.shapes(batch=2), head.shapes(batch=3)
    output = head.output.partition(":")[0]
    if output not in twice or twice[output][:1] != (2,) or thrice[output] != (3, *twice[output][1:]):
        return {}
    return {name: shape[1:] for name, shape in twice.items()}


def _pays(head: FrozenGraph, shapes: dict[str, tuple[int, ...]], output: str, image_shape: tuple[int, ...]) -> bool:
    """Returns whether the stem, forward and back, costs a step more than the larger points would."""
    nodes = Nodes(head)
    work = 0.0
    for node in nodes:
        shape = shapes.get(node.name, ())
        weights = nodes.constant(node.input[1]) if node.op in WEIGHTED else None
        if weights is not None:
            work += 2 * weights.size * math.prod(shape[:-1]) / _FLOPS_PER_SECOND
        elif node.op != "Const":
            work += 2 * 4 * math.prod(shape) / _BYTES_PER_SECOND
    extra = 4 * _TOUCHES * (math.prod(shapes[output]) - math.prod(image_shape)) / _BYTES_PER_SECOND
    return 2 * work > extra


def _tail(frozen: FrozenGraph, node: NodeDef) -> FrozenGraph:
    """Returns the graph with `node` as its input."""
    graph = tf.compat.v1.GraphDef()
    graph.CopyFrom(frozen.graph)
    cut = next(each for each in graph.node if each.name == node.name)
    cut.Clear()
    cut.name, cut.op = node.name, "Placeholder"
    cut.attr["dtype"].type = tf.float32.as_datatype_enum
    return Nodes(FrozenGraph(graph, node.name, frozen.output)).frozen()
