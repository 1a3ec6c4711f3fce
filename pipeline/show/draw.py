"""One image's attribution as a picture, from stored data alone: no model, no source image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.convergence import convergence
from pipeline.names import explained_name
from pipeline.show.pictures import KINDS, Look, Subject
from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.image.baseline import parse_baselines
from transforms.core.image.decode import Decoding, decode
from transforms.core.image.decoding import parse_alpha_color, parse_value_range
from transforms.core.image.resize import resize_bilinear
from transforms.core.maps.render import POLARITIES, false_color
from transforms.core.maps.render.panels import draw_panels
from transforms.core.record import Row
from transforms.core.vocabulary import CONTENT
from transforms.store import Provenance
from transforms.store.lookup import without_map
from transforms.store.refined import RefinedRow
from transforms.store.run import Run
from transforms.text import fit

_NUMBERS = (
    "score",
    "baseline_score",
    "convergence_delta",
    "channel_share",
    "error_estimate",
    "converged",
    "steps",
)
_COLUMNS = (
    "image_id",
    "label_name",
    "label_value",
    "predictions",
    "target_name",
    *_NUMBERS,
    CONTENT,
    "attribution",
    "gradient",
    "path",
    "thumbnail",
)
_OF_MAPS = (
    *_NUMBERS,
    "attribution",
    "scale",
    "path",
)
"""What a refined row has of its own; the rest is the run's."""

_WIDTH = 72


def show(
    run: Run,
    image_id: str,
    output: str,
    target: int | None = None,
    kind: str = "tutorial",
    look: Look | None = None,
) -> None:
    """Writes a PNG of some panels to `output`; by default four: original, baseline, attribution mask, overlay.

    Args:
        run: complete or not; if the image has a refined map, that one is drawn.
        image_id: as stored in `image_id`.
        output: path or URI of the PNG.
        target: class index, where several were attributed; by default the highest ranked.
        kind: one of KINDS.
        look: how the picture looks.

    Raises:
        FileNotFoundError: the run has no parts.
        ValueError: the image or the target is not in the run, no map of it is stored, or nothing else that the kind
            needs, or an option has a value that is not allowed.
    """
    look = look or Look()
    if kind not in KINDS:
        raise UsageError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    if look.polarity not in POLARITIES:
        raise UsageError(f"polarity: {look.polarity!r} is not one of {', '.join(POLARITIES)}")
    row = _select(run.find(image_id, _COLUMNS), target)
    config = run.provenance.config
    refined = _refined(run, row)
    made = refined.part.options if refined else None
    row = row | refined.row if refined else row
    if row.get("attribution") is None:
        raise without_map(run.uri, image_id)
    image = resize_bilinear(decode(row["thumbnail"], None).array, *row["attribution"].shape[:2])
    share = row["channel_share"]
    seen = _as_channels(image, image.shape[2] if share is None else len(share))
    baseline_name, baseline = _baseline(seen, image_id, run.provenance)
    channels = made.channels if made else config.get("channels", "all")
    subject = Subject(row, image, false_color(baseline), baseline_name, channels)
    panels = KINDS[kind].draw(subject, look)
    caption = f"{_caption(row)}; {convergence(row, config, made)}"
    storage.write_bytes(output, draw_panels(panels, caption, KINDS[kind].columns))


def _refined(run: Run, row: Row) -> RefinedRow | None:
    """Returns the refined row of the same image, target and content; None if there is none."""
    found = run.refined.find([row["image_id"]], _OF_MAPS) if run.refined else []
    same = ("target", CONTENT)
    return next((each for each in found if all(each.row[name] == row.get(name) for name in same)), None)


def _select(rows: list[Row], target: int | None) -> Row:
    for row in rows:
        if target is None or row["target"] == target:
            return row
    stored = ", ".join(f"{row['target']} ({explained_name(row)})" for row in rows)
    raise UsageError(f"target: {target} was not attributed for this image; stored are {stored}")


def _as_channels(thumbnail: np.ndarray, channels: int) -> np.ndarray:
    """Returns a thumbnail with the channels of the model's image, as far as it shows them; the others are 0."""
    missing = np.zeros((*thumbnail.shape[:2], max(0, channels - thumbnail.shape[2])), thumbnail.dtype)
    return np.concatenate([thumbnail[:, :, :channels], missing], axis=2)


def _baseline(image: np.ndarray, image_id: str, provenance: Provenance) -> tuple[str, np.ndarray]:
    """Returns the name and the picture, `[height, width, channels]`, of the run's first baseline (its first draw)."""
    baselines = parse_baselines(provenance.config["baseline"])
    first = baselines[0]
    if first.name.startswith("image:"):
        picture = decode(provenance.baseline_images[0], image.shape[:2], _decoding(provenance.config, image.shape[2]))
        first = first.with_image(picture.array)
    count = sum(baseline.count for baseline in baselines)
    name = first.name if count == 1 else f"{first.name}, the first of {count}"
    return fit(name, _WIDTH), first.make(image, image_id)[0]


def _decoding(config: Mapping[str, Any], channels: int) -> Decoding:
    """Returns how the run's pictures became pixels; earlier runs composited over black, and had no other ranges."""
    color, values = config.get("alpha_color", "black"), config.get("value_range", "")
    return Decoding(
        config["resize"],
        channels=channels,
        alpha_color=parse_alpha_color(color),
        value_range=parse_value_range(values),
    )


def _caption(row: Row) -> str:
    value = any(each.get("value") is not None for each in row.get("predictions") or ())
    gain = f"{'value' if value else 'score'} {row['score']:.4f}, of the baseline {row['baseline_score']:.4f}"
    return (
        f"{fit(row['image_id'], _WIDTH)}\n{fit(explained_name(row), _WIDTH)}: {gain}\n"
        f"delta {row['convergence_delta']:+.5f}"
    )
