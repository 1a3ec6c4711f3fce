"""Attribution maps → pictures.

In reading order: `mask` (the part of a map that is shown: polarity, clipping, clean-up, outlines), `color` (numbers →
colors, and colors over a picture); and, imported by name because drawing takes a second to load, `panels`
(pictures and curves in one PNG).
"""

from transforms.core.maps.render.color import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    colorize,
    colorize_signed,
    false_color,
    overlay,
    tint,
)
from transforms.core.maps.render.mask import (
    POLARITIES,
    attribution_mask,
    clean_up,
    clip_mass,
    clip_percentile,
    outlines,
    signed_map,
)

__all__ = [
    "BLUE",
    "GREEN",
    "ORANGE",
    "POLARITIES",
    "RED",
    "attribution_mask",
    "clean_up",
    "clip_mass",
    "clip_percentile",
    "colorize",
    "colorize_signed",
    "false_color",
    "outlines",
    "overlay",
    "signed_map",
    "tint",
]
