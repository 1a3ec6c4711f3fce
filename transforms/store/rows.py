"""An explanation → the rows that are stored, one for each target."""

from __future__ import annotations

from transforms.core.explain.content import content_digest
from transforms.core.explain.settings import Settings
from transforms.core.image.decode import encode_thumbnail
from transforms.core.maps.importance import sum_cells, summarize_map, summarize_mask
from transforms.core.maps.quantize import quantize, reduce_channels
from transforms.core.record import Attribution, Explanation, Pixels, Row
from transforms.core.vocabulary import REFERENCE, REFERENCE_EXTRA, REFERENCED, SECOND_CELLS

_LETTERS = 200
"""Of a label that names no class: a vector may have thousands."""


def rows_of(explanation: Explanation, settings: Settings, names: tuple[str, ...]) -> list[Row]:
    """Returns one row for each of the explanation's targets, by the columns of the attributions schema.

    Args:
        explanation: what the attributor made of an image.
        settings: how maps are stored, and the cells of the importance grid.
        names: the model's class names.
    """
    image, pixels = explanation.image, explanation.pixels
    shared = {
        "image_id": image.id,
        "shard": image.shard,
        "index": image.index,
        "predictions": [dict(vars(prediction)) for prediction in explanation.predictions],
        "height": pixels.height,
        "width": pixels.width,
        "thumbnail": encode_thumbnail(pixels.array),
        "content": explanation.content or content_digest(image, pixels),
        "fields": list(image.fields),
        REFERENCE_EXTRA: explanation.reference_extra,
    } | _label_columns(explanation, names)
    rows = []
    for attribution in explanation.attributions:
        importance = summarize_map(attribution.values, settings.grid)
        rows.append(
            shared
            | {
                "target": attribution.target or 0,
                "target_name": None if attribution.target is None else names[attribution.target],
                "target_rank": attribution.rank,
                "score": attribution.score,
                "baseline_score": attribution.baseline_score,
                "convergence_delta": attribution.convergence_delta,
                "error_estimate": attribution.error_estimate,
                "converged": attribution.converged,
                "steps": attribution.steps,
                "path": attribution.path,
                "label_difference": _difference(explanation.label, attribution.score),
            }
            | _map_columns(attribution, settings)
            | _gradient_columns(attribution)
            | vars(importance)
            | vars(summarize_mask(attribution.values, pixels.mask))
            | vars(attribution.faithfulness)
            | _few_steps_columns(attribution, pixels, settings)
        )
    return rows


def _label_columns(explanation: Explanation, names: tuple[str, ...]) -> Row:
    """Returns the columns that say what an image's label is, of whichever kind."""
    label, decided = explanation.label, _named(explanation.decided, names)
    if isinstance(label, tuple):
        found = _named(label, names)
        joined = ", ".join(each["name"] for each in found)
        return {"label": None, "label_name": joined, "labels": found, "decided": decided}
    if isinstance(label, float):
        return {"label": None, "label_name": None, "label_value": label}
    name = _unusable(explanation) if label is None else names[label]
    return {"label": label, "label_name": name, "labels": None, "decided": decided, "label_value": None}


def _named(indices: tuple[int, ...], names: tuple[str, ...]) -> list[Row]:
    return [{"target": index, "name": names[index]} for index in indices]


def _difference(label: object, score: float) -> float | None:
    """Returns score − label, if the label is a number rather than a class."""
    return score - label if isinstance(label, float) else None


def _unusable(explanation: Explanation) -> str | None:
    """Returns the text of a label that names no class, or None if there is no label."""
    stored = explanation.image.label
    return str(stored)[:_LETTERS] if explanation.label_problem and stored is not None else None


def _few_steps_columns(attribution: Attribution, pixels: Pixels, settings: Settings) -> Row:
    """Returns what the second map and the reference map are like, where there are such."""
    second, reference = attribution.second, attribution.reference
    columns: Row = {SECOND_CELLS: None if second is None else sum_cells(second, settings.grid)}
    found: Row = {}
    if reference is not None:
        found = (
            vars(reference)
            | vars(summarize_map(reference.values, settings.grid))
            | vars(summarize_mask(reference.values, pixels.mask))
        )
    return columns | {REFERENCE + name: found.get(name) for name in REFERENCED}


def _map_columns(attribution: Attribution, settings: Settings) -> Row:
    """Returns the map as it is stored, if it is."""
    if settings.channels == "none":
        return {}
    stored = quantize(reduce_channels(attribution.values, settings.channels), settings.dtype)
    return {"attribution": stored.values, "scale": stored.scale}


def _gradient_columns(attribution: Attribution) -> Row:
    """Returns the plain gradient's magnitude, summed over channels, where there is one."""
    if attribution.gradient is None:
        return {}
    stored = quantize(reduce_channels(attribution.gradient, "abs_sum"), "int8")
    return {"gradient": stored.values, "gradient_scale": stored.scale}
