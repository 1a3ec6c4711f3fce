"""Attribution maps → pictures.

In reading order: `mask` (what of a map is shown: polarity, clipping, clean-up, outlines), `color` (numbers →
colours, and colours over a picture), `panels` (pictures and curves in one PNG).
"""

from transforms.core.render.color import BLUE, GREEN, ORANGE, RED, colorize, colorize_signed, overlay, tint
from transforms.core.render.mask import (
    POLARITIES,
    attribution_mask,
    clean_up,
    clip_mass,
    clip_percentile,
    outlines,
    signed_map,
)
from transforms.core.render.panels import Curve, Panel, draw_panels

__all__ = [
    "BLUE",
    "GREEN",
    "ORANGE",
    "POLARITIES",
    "RED",
    "Curve",
    "Panel",
    "attribution_mask",
    "clean_up",
    "clip_mass",
    "clip_percentile",
    "colorize",
    "colorize_signed",
    "draw_panels",
    "outlines",
    "overlay",
    "signed_map",
    "tint",
]
