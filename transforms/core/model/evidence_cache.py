"""What earlier looks at models showed, kept in a file for each model: a known one starts without another look."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from pathlib import Path

from transforms import __version__
from transforms.core.cache_folder import cache_folder
from transforms.core.model.evidence import Evidence
from transforms.core.model.options import ModelOptions
from transforms.core.stable_hash import cache_key

_OF_NO_OUTPUT = ("background", "class_names", "label_offset", "layer", "outputs", "score")


def recall(digest: str, options: ModelOptions) -> Evidence | None:
    """Returns what a model's outputs showed when it was first seen; None if it was not, or if the file is damaged.

    Args:
        digest: of the model.
        options: what the function is.
    """
    try:
        return Evidence.from_json(json.loads(_path(digest, options).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(digest: str, options: ModelOptions, evidence: Evidence) -> None:
    """Keeps what a model's outputs showed; does nothing if the cache cannot be written."""
    with contextlib.suppress(OSError):
        path = _path(digest, options)
        temporary = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            temporary.write_text(json.dumps(evidence.to_json()))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _path(digest: str, options: ModelOptions) -> Path:
    shaping = {name: value for name, value in dataclasses.asdict(options).items() if name not in _OF_NO_OUTPUT}
    shaping["operator"] = ":" in options.score  # which may take outputs that no other score can
    text = json.dumps([__version__, digest, shaping], sort_keys=True, default=str)
    return cache_folder("evidence") / f"{cache_key(text)}.json"
