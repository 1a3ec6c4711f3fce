"""The kinds of pictures that `show` draws of one stored row, each a few panels.

`tutorial`, `mask`, `overlay`, `interpolation` and `saturation` are those of TensorFlow's tutorial on integrated
gradients; `polarity`, `outlines` and `gradient` those of Keras' example; `signed` shows both signs in one map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.names import label_text
from transforms.core.errors import UsageError
from transforms.core.maps.render import (
    GREEN,
    RED,
    attribution_mask,
    clean_up,
    clip_mass,
    clip_percentile,
    colorize,
    colorize_signed,
    outlines,
    overlay,
    signed_map,
    tint,
)
from transforms.core.maps.render.panels import Curve, Panel
from transforms.core.record import Row

_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SIGNS = {"positive": GREEN, "negative": RED}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How pictures look; None leaves it to the kind.

    Attributes:
        cmap: name of a matplotlib color map: inferno, or, for signed maps, coolwarm.
        alpha: weight of the image in overlays, in [0, 1].
        percentile: of a map's values, shown at full intensity.
        polarity: which attributions count: both, positive or negative.
        clip_above: percentile of mass shown at full intensity (`polarity`: 99, `outlines`: 95).
        clip_below: percentile of mass left out (`polarity`: 0, `outlines`: 28).
        clean: whether to close gaps and remove specks (`outlines`: yes).
    """

    cmap: str | None = None
    alpha: float = 0.4
    percentile: float = 99.0
    polarity: str = "both"
    clip_above: float | None = None
    clip_below: float | None = None
    clean: bool | None = None


@dataclass(frozen=True)
class Subject:
    """What is drawn.

    Attributes:
        row: the stored row, with its map as float32.
        image: what the model saw, float `[height, width, 3]` in [0, 1], of the map's height and width.
        baseline: the baseline likewise.
        baseline_name: what it is called.
        channels: what is stored of a map's channels, see `quantize.reduce_channels`.
    """

    row: Row
    image: np.ndarray
    baseline: np.ndarray
    baseline_name: str
    channels: str


@dataclass(frozen=True)
class Kind:
    """How a kind of picture is drawn: its panels, and how many stand side by side."""

    draw: Callable[[Subject, Look], list[Panel | Curve]]
    columns: int = 2


def _tutorial(subject: Subject, look: Look) -> list[Panel | Curve]:
    baseline = Panel(f"Baseline: {subject.baseline_name}", subject.baseline)
    return [_original(subject), baseline, *_mask(subject, look), *_overlay(subject, look)]


def _mask(subject: Subject, look: Look) -> list[Panel | Curve]:
    title = "Attribution mask" if subject.channels == "all" else f"Attribution mask: |{subject.channels} of channels|"
    title += "" if look.polarity == "both" else f", {look.polarity} only"
    return [Panel(title, _colored(subject.row["attribution"], subject, look))]


def _overlay(subject: Subject, look: Look) -> list[Panel | Curve]:
    return [Panel("Overlay", overlay(subject.image, _colored(subject.row["attribution"], subject, look), look.alpha))]


def _signed(subject: Subject, look: Look) -> list[Panel | Curve]:
    _check_signs(subject, "kind: signed")
    colored = colorize_signed(signed_map(subject.row["attribution"]), look.cmap or "coolwarm", look.percentile)
    return [_original(subject), Panel("Signed attribution, zero in the middle of the colors", colored)]


def _polarity(subject: Subject, look: Look) -> list[Panel | Curve]:
    picture = subject.image / 2  # dark enough for the colors to show
    for sign in _signs(subject, look):
        picture = tint(picture, _clipped(subject, look, sign, above=99.0, below=0.0, clean=False), _SIGNS[sign])
    return [_original(subject), Panel(_legend(subject, look), picture)]


def _outlines(subject: Subject, look: Look) -> list[Panel | Curve]:
    picture = np.array(subject.image)
    for sign in _signs(subject, look):
        picture[outlines(_clipped(subject, look, sign, above=95.0, below=28.0, clean=True))] = _SIGNS[sign]
    return [_original(subject), Panel(_legend(subject, look), picture)]


def _interpolation(subject: Subject, look: Look) -> list[Panel | Curve]:
    change = subject.image - subject.baseline
    return [Panel(f"α = {alpha:g}", subject.baseline + alpha * change) for alpha in _ALPHAS]


def _saturation(subject: Subject, look: Look) -> list[Panel | Curve]:
    row, path = subject.row, subject.row["path"]
    if not path:
        raise UsageError("kind: saturation: no steps are stored; the paths of several baselines share none")
    alphas, scores, slopes = (np.array([step[name] for step in path]) for name in ("alpha", "score", "slope"))
    whole = np.concatenate([[row["baseline_score"]], scores, [row["score"]]])
    return [
        Curve("Score along the path", np.concatenate([[0], alphas, [1]]), whole, "α", "score"),
        Curve("Gradient along the path", alphas, slopes, "α", "d score / dα"),
    ]


def _gradient(subject: Subject, look: Look) -> list[Panel | Curve]:
    if "gradient" not in subject.row:
        raise UsageError("kind: gradient: the run stores no plain gradients; run with --gradient to have them")
    plain = _colored(subject.row["gradient"], subject, dataclasses.replace(look, polarity="both"))
    integrated = _colored(subject.row["attribution"], subject, look)
    return [
        Panel("Plain gradient at the image", plain),
        Panel("Integrated gradients", integrated),
        Panel("Overlay", overlay(subject.image, plain, look.alpha)),
        Panel("Overlay", overlay(subject.image, integrated, look.alpha)),
    ]


KINDS = {
    "tutorial": Kind(_tutorial),
    "mask": Kind(_mask, columns=1),
    "overlay": Kind(_overlay, columns=1),
    "signed": Kind(_signed),
    "polarity": Kind(_polarity),
    "outlines": Kind(_outlines),
    "interpolation": Kind(_interpolation, columns=len(_ALPHAS)),
    "saturation": Kind(_saturation),
    "gradient": Kind(_gradient),
}


def _original(subject: Subject) -> Panel:
    label = label_text(subject.row)
    return Panel(f"Original: {label}" if label else "Original", subject.image)


def _colored(values: np.ndarray, subject: Subject, look: Look) -> np.ndarray:
    if look.polarity == "negative":
        _check_signs(subject, "polarity: negative")
    return colorize(clip_percentile(attribution_mask(values, look.polarity), look.percentile), look.cmap or "inferno")


def _clipped(subject: Subject, look: Look, sign: str, above: float, below: float, clean: bool) -> np.ndarray:
    """Returns the mask of one sign, clipped by mass and cleaned as `look` says, or else as the kind does."""
    mask = clip_mass(
        attribution_mask(subject.row["attribution"], sign),
        above if look.clip_above is None else look.clip_above,
        below if look.clip_below is None else look.clip_below,
    )
    return clean_up(mask) if (clean if look.clean is None else look.clean) else mask


def _signs(subject: Subject, look: Look) -> list[str]:
    if look.polarity != "positive":
        _check_signs(subject, f"polarity: {look.polarity}")
    return list(_SIGNS) if look.polarity == "both" else [look.polarity]


def _legend(subject: Subject, look: Look) -> str:
    words = {"positive": "green speaks for the class", "negative": "red against"}
    return ", ".join(words[sign] for sign in _signs(subject, look))


def _check_signs(subject: Subject, what: str) -> None:
    if subject.channels == "abs_sum":
        raise UsageError(f"{what} needs signs, and the run stores magnitudes only (channels: abs_sum)")
