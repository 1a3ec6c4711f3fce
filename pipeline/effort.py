"""Efforts: what a run is for, as defaults of the options that decide its accuracy and its cost.

`map` makes maps to look at, each to tolerance. `audit` makes what statistics over many pictures need: few steps without
bias, accurate maps of a small share, and no stored maps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

EFFORTS = ("map", "audit")

_PRESETS: dict[str, dict[str, Any]] = {
    "map": {},
    "audit": {"rule": "shifted", "steps": 8, "reference_share": 0.02, "channels": "none"},
}
_OF_RULE = ("steps", "reference_share")
"""Options of an effort that go with its rule."""

_OF_MAPS = ("dtype", "gradient")
"""Options that say how maps are stored, if they are."""


def preset(effort: str, given: Collection[str] = (), rule: Any = None) -> dict[str, Any]:
    """Returns the defaults of an effort, without those that options given explicitly replace or contradict.

    >>> preset("audit", {"steps"})
    {'rule': 'shifted', 'reference_share': 0.02, 'channels': 'none'}

    Args:
        effort: one of EFFORTS; of any other, which its own check refuses, there are none.
        given: the names of the options that are given.
        rule: the value of `rule` if that is given: steps and share of an effort go with its own rule only.
    """
    values = dict(_PRESETS.get(effort, {}))
    left_out = set(given)
    if "rule" in given and rule != values.get("rule"):
        left_out.update(_OF_RULE)
    if left_out.intersection(_OF_MAPS):
        left_out.add("channels")
    return {name: value for name, value in values.items() if name not in left_out}


def words_of(values: Mapping[str, Any]) -> str:
    """Returns options with their values in a few words: `rule shifted, steps 8`."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def applied(effort: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that have the value that an effort sets."""
    return {name: value for name, value in _PRESETS[effort].items() if values.get(name) == value}


def is_rule_of(effort: str, rule: Any, steps: Any) -> bool:
    """Returns whether an effort sums paths by this rule and this number of steps."""
    values = _PRESETS[effort]
    return bool(values) and (rule, steps) == (values["rule"], values["steps"])
