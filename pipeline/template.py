"""The options of a run as parameters of the Dataflow Flex Template.

python -m pipeline.template > templates/dataflow/metadata.json
"""

from __future__ import annotations

import json
import re
from typing import Any

from pipeline import config

_DESCRIPTION = "Which pixels an image classifier uses, class by class, over a whole data set, and whether that changed"
_NUMBER = r"[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?"
_PATTERNS = {int: "[0-9]+", float: _NUMBER, bool: "true|false"}
_STORED = r"gs://\S+"  # where Dataflow's workers can write
_SHOWN_FIRST = ("config", "class_names", "resume", "accelerator", "min_ram")


def metadata() -> dict[str, Any]:
    """Returns the content of `metadata.json`: the parameters of a launch, and their formats."""
    parameters = {name: _parameter(name) for name in config.options()}
    parameters["config"] = _described("config", "YAML file of further options; these parameters override it", _STORED)
    order = dict.fromkeys([*config.required(), *_SHOWN_FIRST, *parameters])
    return {
        "name": "ig-audit",
        "description": _DESCRIPTION,
        "parameters": [parameters[name] for name in order],
    }


def _parameter(name: str) -> dict[str, Any]:
    metadata = config.options()[name].metadata
    if metadata["choices"]:
        pattern = "|".join(re.escape(str(choice)) for choice in metadata["choices"])
    elif (metadata["low"] or 0) < 0:
        pattern = "-?[0-9]+"
    else:
        pattern = _STORED if name == "output" else _PATTERNS.get(config.type_of(name), ".+")
    several = "; a template parameter takes one value, give several in a config file"
    return _described(name, config.help_of(name) + several * (config.type_of(name) is tuple), pattern)


def _described(name: str, text: str, pattern: str) -> dict[str, Any]:
    described = {"name": name, "label": name.replace("_", " ").capitalize(), "helpText": text}
    return {**described, "isOptional": name not in config.required(), "regexes": [f"^({pattern})$"]}


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=2, ensure_ascii=False))
