"""An explanation → the rows that are stored, one for each target."""

from __future__ import annotations

from transforms.core.explain.settings import Settings
from transforms.core.image.decode import encode_thumbnail
from transforms.core.maps.importance import summarize_map, summarize_mask
from transforms.core.maps.quantize import quantize, reduce_channels
from transforms.core.record import Attribution, Explanation, Row

_LETTERS = 200
"""Of a label that names no class: a vector may have thousands."""


def rows_of(explanation: Explanation, settings: Settings, names: tuple[str, ...]) -> list[Row]:
    """Returns one row for each of the explanation's targets, by the columns of the attributions schema.

    Args:
        explanation: what the attributor made of an image.
        settings: how maps are stored, and the cells of the importance grid.
        names: the model's class names.
    """
    image, pixels, label = explanation.image, explanation.pixels, explanation.label
    shared = {
        "image_id": image.id,
        "shard": image.shard,
        "index": image.index,
        "label": label,
        "label_name": names[label] if label is not None else _unusable(explanation),
        "predictions": [dict(vars(prediction)) for prediction in explanation.predictions],
        "height": pixels.height,
        "width": pixels.width,
        "thumbnail": encode_thumbnail(pixels.array),
        "fields": list(image.fields),
    }
    rows = []
    for attribution in explanation.attributions:
        importance = summarize_map(attribution.values, settings.grid)
        stored = quantize(reduce_channels(attribution.values, settings.channels), settings.dtype)
        rows.append(
            shared
            | {
                "target": attribution.target,
                "target_name": names[attribution.target],
                "target_rank": attribution.rank,
                "score": attribution.score,
                "baseline_score": attribution.baseline_score,
                "convergence_delta": attribution.convergence_delta,
                "error_estimate": attribution.error_estimate,
                "converged": attribution.converged,
                "steps": attribution.steps,
                "attribution": stored.values,
                "scale": stored.scale,
                "path": attribution.path,
            }
            | _gradient_columns(attribution)
            | vars(importance)
            | vars(summarize_mask(attribution.values, pixels.mask))
            | vars(attribution.faithfulness)
        )
    return rows


def _unusable(explanation: Explanation) -> str | None:
    """Returns the text of a label that names no class, or None if there is no label."""
    stored = explanation.image.label
    return str(stored)[:_LETTERS] if explanation.label_problem and stored is not None else None


def _gradient_columns(attribution: Attribution) -> Row:
    """Returns the plain gradient's magnitude, summed over channels, where there is one."""
    if attribution.gradient is None:
        return {}
    stored = quantize(reduce_channels(attribution.gradient, "abs_sum"), "int8")
    return {"gradient": stored.values, "gradient_scale": stored.scale}
