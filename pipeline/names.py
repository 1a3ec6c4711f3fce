"""Stored names of metrics and slices → display names, the same in the verdict and in the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transforms.core.statistics.slices import Slice, is_overflow

METRICS = {
    "score": "Score",
    "mask_share": "Share inside the mask",
    "pointing_hit": "Pointing game hits",
    "insertion_auc": "Insertion AUC",
    "deletion_auc": "Deletion AUC",
    "convergence_delta": "Convergence delta",
    "relative_delta": "Delta over change of score",
    "error_estimate": "Estimated error of the map",
    "steps": "Gradient steps",
    "positive_share": "Speaks for the class",
    "gini": "Concentration (Gini)",
    "entropy": "Spread (entropy)",
    "center_row": "Center, from the top",
    "center_col": "Center, from the left",
    "border_share": "Share near the border",
    "label_difference": "Value less label",
    "grid": "Mean map",
    "grid_rank": "Ranking of cells",
    "cells": "Most changed cell",
    "signed_cells": "For or against the class, in a cell",
    "channel_share": "Color channels",
    "anywhere": "A place that differs from picture to picture",
}

KINDS = {
    "all": "All images",
    "predicted": "Predicted as",
    "target": "Also explained as",
    "label": "Labeled",
    "wrong": "Wrong predictions",
    "confusion": "Mistaken:",
    "shard": "Shards",
}

PLACES = (
    ("top left corner", "top edge", "top right corner"),
    ("left edge", "center", "right edge"),
    ("bottom left corner", "bottom edge", "bottom right corner"),
)
"""The ninths of a picture, row by row."""

_ALONE = ("all", "wrong")
"""Kinds with a single slice, whose name is that of the kind."""


def explained_name(row: Mapping[str, Any]) -> str:
    """Returns what a row explains: its class or output, or the score if that is of no class.

    >>> explained_name({"target": 3, "target_name": "", "target_rank": 0})
    '3'
    """
    if row["target_name"] is None and row.get("target_rank") is None:
        return "score"
    return row["target_name"] or str(row["target"])


def label_text(row: Mapping[str, Any]) -> str:
    """Returns an image's label as text, a name, several or a number; empty if it has none.

    >>> label_text({"label_name": None, "label_value": 0.25})
    '0.25'
    """
    value = row.get("label_value")
    return row.get("label_name") or ("" if value is None else f"{value:g}")


def metric_name(name: str) -> str:
    """Returns the display name of a metric.

    >>> metric_name("gini")
    'Concentration (Gini)'
    """
    return METRICS.get(name, name.replace("_", " ").capitalize())


def kind_name(kind: str) -> str:
    """Returns the display name of a kind of slice."""
    return KINDS.get(kind, kind.removeprefix("field:").replace("_", " ").capitalize())


def member_name(kind: str, value: str, name: str) -> str:
    """Returns the display name of a slice among those of its kind; empty if it is the only one.

    >>> member_name("predicted", "", "other")
    'all others'
    """
    if is_overflow(Slice(kind, value, name)):
        return "all others"
    return "" if kind in _ALONE else name or value


def slice_name(kind: str, value: str, name: str) -> str:
    """Returns the display name of a slice, with its kind.

    >>> slice_name("label", "281", "tabby")
    'Labeled tabby'
    """
    return f"{kind_name(kind)} {member_name(kind, value, name)}".strip()


def place_name(cells: Iterable[tuple[int, int]], side: int) -> str:
    """Returns where cells of a grid lie, in words; of no cells, that the place differs.

    >>> place_name([(7, 0)], 8)
    'bottom left corner'

    Args:
        cells: (row, column) of each.
        side: cells a side.
    """
    found = list(cells)
    outside = [cell for cell in found if {0, side - 1} & set(cell)]
    if not found:
        return "different places"
    if side > 1 and len(outside) == len(found) == 4 * (side - 1):
        return "frame"
    rows, cols = (sum(cell[axis] for cell in found) / len(found) for axis in (0, 1))
    return PLACES[int(3 * (rows + 0.5) / side)][int(3 * (cols + 0.5) / side)]
