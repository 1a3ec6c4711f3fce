"""How accurate a map that is drawn is, in words: whether it has converged, or is of few steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.store.refined import MapOptions


def convergence(row: Mapping[str, Any], config: Mapping[str, Any], refined: MapOptions | None = None) -> str:
    """Returns what is known of the error of a map, as a clause.

    >>> convergence({"converged": True, "steps": 96}, {}, MapOptions(0.05, 512, "all", "float16"))
    'refined map, converged to 5 % in 96 steps'
    >>> convergence({"converged": None, "steps": 8}, {"rule": "shifted"})
    'map of 8 random steps, noisy on its own'

    Args:
        row: a row with `converged`, `error_estimate` and `steps`.
        config: the options of its run.
        refined: how the map was made, if it is a refined one.
    """
    steps, error = row.get("steps"), row.get("error_estimate")
    rule = config.get("rule", "adaptive")
    tolerance = refined.tolerance if refined else config.get("tolerance")
    name = "refined map" if refined else "map"
    if not refined and rule == "shifted":
        return f"{name} of {_count(steps, 'random ')}, noisy on its own"
    if not refined and rule != "adaptive":
        return f"{name} of {_count(steps)}, error about {_percent(error)}"
    if row.get("converged"):
        return f"{name}, converged to {_percent(tolerance)} in {_count(steps)}"
    return f"{name}, not converged: error about {_percent(error)} after {_count(steps)}"


def _count(steps: int | None, kind: str = "") -> str:
    if steps is None:
        return f"an unknown number of {kind}steps"
    return f"{steps:,} {kind}step{'' if steps == 1 else 's'}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.3g} %"
