"""StoredGraphs: the rewritten graph of a compiled step as bytes, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef

from transforms.core.model.passes.frozen import FrozenGraph
from transforms.core.model.passes.stem import Stem

Graphs = Stem | FrozenGraph
"""A graph whose affine stem is cut off, or a whole one."""

_FACTS, _TAIL, _HEAD = "facts", "tail", "head"


@dataclass(frozen=True, eq=False)
class StoredGraphs:
    """What the passes made of a model's graph.

    Attributes:
        graphs: the graph.
        fuse: whether TensorFlow may fuse its layers when threads share it.
        reasons: why passes were not applied, by their names.
    """

    graphs: Graphs
    fuse: bool
    reasons: Mapping[str, str]

    def to_members(self) -> dict[str, bytes]:
        """Returns this as the members of an entry.

        Raises:
            ValueError: the graph is too large for a message.
        """
        parts = _parts(self.graphs)
        facts = {
            "fuse": self.fuse,
            "reasons": dict(self.reasons),
            "ends": {name: (part.input, part.output) for name, part in parts.items()},
            "shapes": [self.graphs.image_shape, self.graphs.point_shape] if isinstance(self.graphs, Stem) else None,
        }
        return {_FACTS: json.dumps(facts).encode(), **{name: message(part.graph) for name, part in parts.items()}}

    @classmethod
    def from_members(cls, members: Mapping[str, bytes]) -> StoredGraphs:
        """Returns what `to_members` gave.

        Raises:
            ValueError, KeyError, TypeError: the members are something else.
        """
        facts = json.loads(members[_FACTS])
        parts = {name: graph_of(members[name], *ends) for name, ends in facts["ends"].items()}
        graphs: Graphs = parts[_TAIL]
        if facts["shapes"] is not None:
            image, point = (tuple(map(int, shape)) for shape in facts["shapes"])
            graphs = Stem(parts[_HEAD], parts[_TAIL], image, point)
        return cls(graphs, bool(facts["fuse"]), {str(name): str(reason) for name, reason in facts["reasons"].items()})


def graph_digest(graphs: Graphs) -> str:
    """Returns the sha256 in hex of what a graph computes: operations, weights and connections, but no names.

    Names tell what else a process has traced before.
    """
    total = hashlib.sha256()
    for part_name, part in sorted(_parts(graphs).items()):
        places = {node.name: place for place, node in enumerate(part.graph.node)}
        total.update(f"{part_name} {places[part.input]} {_placed(part.output, places)}\n".encode())
        for node in part.graph.node:
            inputs = " ".join(_placed(tensor, places) for tensor in node.input)
            total.update(f"{node.op} {inputs}\n".encode())
            for name in sorted(node.attr):
                total.update(f"{name} ".encode() + node.attr[name].SerializeToString(deterministic=True))
    return total.hexdigest()


def _placed(tensor: str, places: Mapping[str, int]) -> str:
    """Returns a tensor by the place of its node, and the number of the node's output."""
    name, _, output = tensor.partition(":")
    return f"{places.get(name, '?')}:{output or 0}"


def message(graph: GraphDef) -> bytes:
    """Returns a graph as bytes, the same for the same graph.

    Raises:
        ValueError: it is too large for a message.
    """
    found: bytes = graph.SerializeToString(deterministic=True)
    return found


def graph_of(data: bytes, input: str, output: str) -> FrozenGraph:
    """Returns the graph of a message.

    Raises:
        ValueError: the bytes are no graph, or not one with this input and output.
    """
    try:
        graph = GraphDef.FromString(data)
    except DecodeError as error:
        raise ValueError(f"no graph: {error}") from error
    names = {node.name for node in graph.node}
    if not {input, output.partition(":")[0]} <= names:
        raise ValueError(f"a graph without {input} or {output}")
    return FrozenGraph(graph, input, output)


def _parts(graphs: Graphs) -> dict[str, FrozenGraph]:
    return {_HEAD: graphs.head, _TAIL: graphs.tail} if isinstance(graphs, Stem) else {_TAIL: graphs}
