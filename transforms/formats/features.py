"""What Hugging Face's `datasets` says of a Parquet file's columns: which are images, and the names of classes.

The file's metadata holds it as JSON, under `huggingface`. Damaged metadata say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from transforms.core.vocabulary import MAX_CLASSES

_KEY = b"huggingface"


@dataclass(frozen=True)
class Features:
    """The columns of which the metadata say what they hold.

    Attributes:
        images: columns of images.
        labels: columns of labels, or of lists of labels, each with the names of the classes.
    """

    images: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def features_of(schema: pa.Schema) -> Features:
    """Returns what the metadata of a file say of its columns."""
    try:
        found = json.loads((schema.metadata or {})[_KEY])["info"]["features"].items()
        columns = {name: feature for name, feature in found if name in schema.names}
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return Features()
    names = {name: _class_names(feature) for name, feature in columns.items()}
    images = tuple(name for name, feature in columns.items() if _kind(feature) == "Image")
    return Features(images, {name: found for name, found in names.items() if found})


def _class_names(feature: Any) -> tuple[str, ...]:
    """Returns the names of a ClassLabel, or of a list of them; empty if it is none, or its names are not usable."""
    if isinstance(feature, list) and len(feature) == 1:
        (feature,) = feature
    elif _kind(feature) in ("Sequence", "List", "LargeList"):
        feature = feature.get("feature")
    names = feature.get("names") if _kind(feature) == "ClassLabel" else None
    if not isinstance(names, list) or len(names) > MAX_CLASSES or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)


def _kind(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None
