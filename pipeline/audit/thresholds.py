"""Thresholds from YAML: the packaged defaults, and a user's file over them."""

from __future__ import annotations

import dataclasses
import difflib
from importlib import resources
from typing import Any

import yaml

from pipeline.config import ConfigError
from transforms import storage
from transforms.core.drift.thresholds import Thresholds


def load_thresholds(uri: str = "") -> Thresholds:
    """Returns the default thresholds, with what the YAML file at `uri` changes.

    Raises:
        ConfigError: the file cannot be read, or a threshold is unknown or has a value that is not allowed.
    """
    values = yaml.safe_load(resources.files("pipeline.audit").joinpath("thresholds.yaml").read_text("utf-8"))
    if uri:
        given = _read(uri)
        _refuse_unknown(given, values)
        effects = given.pop("effects", {})
        if not isinstance(effects, dict):
            raise ConfigError(f"thresholds: effects: {effects!r} is not a mapping of metrics to numbers")
        _refuse_unknown(effects, values["effects"], "effects: ")
        values = values | given | {"effects": values["effects"] | effects}
    if not isinstance(values["alarms"], list):
        raise ConfigError(f"thresholds: alarms: {values['alarms']!r} is not a list of topics")
    thresholds = Thresholds(**values | {"alarms": tuple(map(str, values["alarms"]))})
    if problems := thresholds.problems():
        raise ConfigError("\n".join(f"thresholds: {problem}" for problem in problems))
    return thresholds


def to_json(thresholds: Thresholds) -> dict[str, Any]:
    """Returns thresholds as JSON values, by the names of the YAML file."""
    return dataclasses.asdict(thresholds) | {"alarms": list(thresholds.alarms)}


def _read(uri: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(storage.read_bytes(uri))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"thresholds: {uri}: {error}") from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"thresholds: {uri}: is not a mapping of thresholds to values")
    return content or {}


def _refuse_unknown(given: dict[str, Any], known: dict[str, Any], below: str = "") -> None:
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            raise ConfigError(f"thresholds: {below}{name}: is not a threshold{hint}")
