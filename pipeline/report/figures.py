"""Numbers → the page's pictures: maps of cells as tiny PNGs, photographs as JPEGs, charts as inline SVG.

Maps are drawn in one colour whose opacity is the number, so that zero is the page's own background, light or dark.
Charts take their colours from the page's style sheet, by class.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
from markupsafe import Markup

from transforms.core.decode import decode, encode_thumbnail, resize_bilinear
from transforms.core.render import BLUE, ORANGE, attribution_mask, clip_percentile, colorize, overlay

_PHOTOGRAPH_SIDE = 192
_BINS = 36
_SCALE_PIXELS = 65
_WIDTH, _HEIGHT = 280, 96
_SPARK_WIDTH, _SPARK_HEIGHT = 96, 24


@dataclass(frozen=True)
class Histogram:
    """How often a number fell into each bucket: `low`, `high` and `counts`, float `[n]`, sorted."""

    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray


def map_image(cells: Sequence[float], top: float) -> str:
    """Returns a square map of shares as a data URI, a pixel a cell; `top` and more is full colour."""
    values = _square(cells)
    return _png(np.full(values.shape + (3,), ORANGE), values / top if top else values)


def difference_image(cells: Sequence[float], top: float) -> str:
    """Returns a square map of changes as a data URI: more is orange, less is blue, `top` is full colour."""
    values = _square(cells)
    colors = np.where(values[:, :, None] > 0, ORANGE, BLUE)
    return _png(colors, np.abs(values) / top if top else values)


def scale_image(signed: bool) -> str:
    """Returns the colour scale of maps as a data URI, from 0 or, where `signed`, from less to more."""
    values = np.linspace(-1.0 if signed else 0.0, 1.0, _SCALE_PIXELS)[None]
    return _png(np.where(values[:, :, None] >= 0, ORANGE, BLUE), np.abs(values))


def photograph(thumbnail: bytes) -> str:
    """Returns a stored thumbnail as a data URI of a small JPEG.

    Raises:
        DecodeError: it is no picture.
    """
    return _jpeg(decode(thumbnail, None).array)


def overlaid(thumbnail: bytes, values: np.ndarray) -> str:
    """Returns the thumbnail with the mask of an attribution map laid over it, as a data URI.

    Raises:
        DecodeError: the thumbnail is no picture.
    """
    mask = clip_percentile(attribution_mask(values))
    image = resize_bilinear(decode(thumbnail, None).array, *mask.shape)
    return _jpeg(np.asarray(overlay(image, colorize(mask)), np.float32))


def histogram_chart(this: Histogram, reference: Histogram | None, mark: float | None = None) -> Markup:
    """Returns an SVG of the share of rows by value: this run filled, the reference as a line, a mark dashed."""
    shown = [this] if reference is None else [this, reference]
    low, high = _range(shown, mark)
    edges = np.linspace(low, high, _BINS + 1)
    shares = [_rebin(histogram, edges) for histogram in shown]
    top = max(float(share.max()) for share in shares) or 1.0
    x = (edges - low) / (high - low) * _WIDTH
    heights = [_HEIGHT * (1 - share / top) for share in shares]
    parts = [Markup('<path class="bars" d="{}"/>').format(_steps(x, heights[0], close=True))]
    if reference is not None:
        parts.append(Markup('<path class="reference" d="{}"/>').format(_steps(x, heights[1], close=False)))
    if mark is not None:
        at = f"{(mark - low) / (high - low) * _WIDTH:.1f}"
        parts.append(Markup('<line class="mark" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(at, _HEIGHT))
    for tick in _ticks(low, high):
        at = f"{(tick - low) / (high - low) * _WIDTH:.1f}"
        parts.append(Markup('<line class="axis" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(at, _HEIGHT, _HEIGHT + 4))
        parts.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(at, _HEIGHT + 16, f"{tick:g}"))
    parts.append(Markup('<line class="axis" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(_WIDTH, _HEIGHT))
    return _svg("chart", _WIDTH, _HEIGHT + 20, parts)


def spark_line(values: Sequence[float | None]) -> Markup:
    """Returns an SVG of a number night by night, with a dot on the last; nights without rows are gaps."""
    found = np.array([np.nan if value is None else value for value in values], float)
    known = found[np.isfinite(found)]
    if not len(known):
        return Markup("")
    low, high = float(known.min()), float(known.max())
    x = np.linspace(3, _SPARK_WIDTH - 3, max(len(found), 2))[: len(found)]
    y = _SPARK_HEIGHT - 3 - (found - low) / ((high - low) or 1.0) * (_SPARK_HEIGHT - 6)
    path, pen = "", "M"
    for across, down in zip(x, y, strict=True):
        if np.isfinite(down):
            path, pen = path + f"{pen}{across:.1f} {down:.1f}", "L"
        else:
            pen = "M"
    parts = [Markup('<path class="line" d="{}"/>').format(path)]
    if np.isfinite(y[-1]):
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(x[-1], y[-1]))
    return _svg("spark", _SPARK_WIDTH, _SPARK_HEIGHT, parts)


def _square(cells: Sequence[float]) -> np.ndarray:
    side = round(len(cells) ** 0.5)
    return np.asarray(cells, float).reshape(side, side)


def _png(colors: np.ndarray, opacity: np.ndarray) -> str:
    picture = np.concatenate([colors, np.clip(opacity, 0, 1)[:, :, None]], axis=2)
    stream = io.BytesIO()
    PIL.Image.fromarray(np.rint(picture * 255).astype(np.uint8), "RGBA").save(stream, "PNG", optimize=True)
    return _data_uri("image/png", stream.getvalue())


def _jpeg(array: np.ndarray) -> str:
    return _data_uri("image/jpeg", encode_thumbnail(array, _PHOTOGRAPH_SIDE))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _svg(name: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    content = Markup("").join(parts)
    return Markup('<svg class="{}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        name, width, height, content
    )


def _range(shown: Sequence[Histogram], mark: float | None) -> tuple[float, float]:
    """Returns the range that holds all but the outermost 0.5 % of each histogram on either side, and the mark."""
    lows, highs = [], []
    for histogram in shown:
        held = np.cumsum(histogram.counts) / histogram.counts.sum()
        lows.append(float(histogram.low[np.searchsorted(held, 0.005)]))
        highs.append(float(histogram.high[min(np.searchsorted(held, 0.995), len(held) - 1)]))
    if mark is not None:
        lows, highs = [*lows, mark], [*highs, mark * 1.05]
    low, high = min(lows), max(highs)
    low = 0.0 if 0 < low < 0.25 * high else low
    room = 0.1 * max(abs(low), abs(high), 1e-6) - (high - low)
    return (low - room / 2, high + room / 2) if room > 0 else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Returns three to six round numbers from `low` to `high`."""
    rough = (high - low) / 4
    unit = 10.0 ** np.floor(np.log10(rough))
    step = unit * min((factor for factor in (1, 2, 2.5, 5, 10)), key=lambda factor: abs(factor * unit - rough))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(step * position, 12) for position in range(first, last + 1)]


def _rebin(histogram: Histogram, edges: np.ndarray) -> np.ndarray:
    """Returns the share of rows in each bin; what lies outside counts in the outermost bins."""
    middles = (histogram.low + histogram.high) / 2
    bins = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(bins, histogram.counts, len(edges) - 1) / histogram.counts.sum()


def _steps(x: np.ndarray, y: np.ndarray, close: bool) -> str:
    points = "".join(f"V{height:.1f}H{right:.1f}" for height, right in zip(y, x[1:], strict=True))
    return f"M{x[0]:.1f} {_HEIGHT}{points}V{_HEIGHT}" + ("Z" if close else "")
