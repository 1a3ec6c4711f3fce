"""KnownModel: what a launcher needs of a model that was loaded before; read without TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transforms.core.errors import UsageError
from transforms.core.model.cache_key import key_of
from transforms.core.model.evidence import Evidence
from transforms.core.model.facts import facts_of
from transforms.core.model.model_cache import Entry, ModelCache
from transforms.core.model.names import class_names
from transforms.core.model.options import ModelOptions

FACTS, GRAPH, OUTPUTS, REFERENCE = "facts", "graph", "outputs", "reference"
"""Members of an entry: this record as JSON, what is explained as a graph, the outputs as one if they are another, and
what the model itself gives for fixed pictures."""


@dataclass(frozen=True)
class KnownModel:
    """What is known of a model under certain options.

    Attributes:
        input_shape: (height, width, channels) of one image.
        size_bytes: the size of its files.
        pixels: the range of its input, one of `vocabulary.PIXELS`.
        evidence: what its outputs for fixed pictures showed.
        outputs: what these are: `logits`, `softmax`, `sigmoid` or `values`.
        task: what the model decides, one of `vocabulary.TASKS`.
        explained: what the numbers are of which the score is made, likewise.
        by_class: whether there is one of them for each class.
        outputs_of: the function that makes outputs of them, `identity`, `sigmoid`, `softmax` or `log_softmax`; empty if
            only the graph of the outputs can.
        ends: the names of the input and the output of each graph that the entry has.
        packing: the shapes of several outputs in one row, by name; None if there is one output.
    """

    input_shape: tuple[int, int, int]
    size_bytes: int
    pixels: str
    evidence: Evidence
    outputs: str
    task: str
    explained: str
    by_class: bool
    outputs_of: str
    ends: Mapping[str, tuple[str, str]]
    packing: Mapping[str, tuple[int, ...]] | None = None

    def classes(self, options: ModelOptions) -> int:
        """Returns the number of classes."""
        return len(class_names(options, self.evidence.count, self.task)[0])

    def agrees(self, evidence: Evidence, options: ModelOptions) -> bool:
        """Returns whether outputs that show `evidence` are what this model's were found to be.

        Raises:
            UsageError: the model cannot be used with these options.
        """
        facts = facts_of(evidence, options)
        return (facts.outputs, facts.task, evidence.shape) == (self.outputs, self.task, self.evidence.shape)

    def to_json(self) -> bytes:
        """Returns the attributes as JSON."""
        return json.dumps({**dataclasses.asdict(self), "evidence": self.evidence.to_json()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> KnownModel:
        """Returns what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: an attribute is missing or unknown, or has another type.
        """
        content: dict[str, Any] = json.loads(data)
        height, width, channels = content["input_shape"]
        packing = content["packing"]
        content |= {
            "input_shape": (int(height), int(width), int(channels)),
            "evidence": Evidence.from_json(content["evidence"]),
            "ends": {name: (str(first), str(last)) for name, (first, last) in content["ends"].items()},
            "packing": packing and {name: tuple(map(int, shape)) for name, shape in packing.items()},
        }
        return cls(**content)


def entry_name(key: str) -> str:
    """Returns the name of the entry of a model, by its `cache_key.key_of`."""
    return f"{key}.model"


def read_known(cache: ModelCache, key: str) -> tuple[KnownModel | None, Entry]:
    """Returns what a cache knows of a model, and its entry; None with the reason in the entry, if it is not known."""
    entry = cache.read(entry_name(key))
    if not entry.members:
        return None, entry
    try:
        known = KnownModel.from_json(entry.members[FACTS])
        if not {GRAPH, REFERENCE} <= set(entry.members):
            raise KeyError("graph")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return None, Entry({}, f"it is not what this version writes: {type(error).__name__}: {error}")
    return known, entry


def find_known(cache: ModelCache, digest: str, options: ModelOptions, evidence: Evidence | None) -> KnownModel | None:
    """Returns what a cache knows of a model under certain options; None if it has to be loaded to say that.

    Args:
        cache: where it is looked up.
        digest: of the model's files.
        options: what the function is.
        evidence: what the model's outputs showed, if another cache knows that.
    """
    key = key_of(digest, options)
    known, _ = read_known(cache, key) if key else (None, None)
    try:
        return known if known and known.agrees(evidence or known.evidence, options) else None
    except UsageError:  # which loading the model raises too, with all that it finds
        return None
