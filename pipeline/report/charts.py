"""Numbers → inline SVG charts, which take their colors from the page's style sheet, by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

_BINS = 36
_WIDTH, _HEIGHT = 280, 96
_SPARK_WIDTH, _SPARK_HEIGHT = 96, 24
_LEAST_SPAN = 0.2


@dataclass(frozen=True)
class Histogram:
    """How often a number fell into each bucket: `low`, `high` and `counts`, float `[n]`, sorted."""

    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray


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
    parts += _axis(low, high)
    return _svg("chart", _WIDTH, _HEIGHT + 20, parts)


def spark_line(values: Sequence[float | None]) -> Markup:
    """Returns an SVG of a number run by run, with a dot on the last; runs without rows are gaps."""
    found = np.array([np.nan if value is None else value for value in values], float)
    known = found[np.isfinite(found)]
    if not len(known):
        return Markup("")
    low, high = float(known.min()), float(known.max())
    room = _LEAST_SPAN * max(abs(low), abs(high), 1e-12) - (high - low)  # so that noise looks like noise
    low, high = (low - room / 2, high + room / 2) if room > 0 else (low, high)
    x = np.linspace(3, _SPARK_WIDTH - 3, max(len(found), 2))[: len(found)]
    y = _SPARK_HEIGHT - 3 - (found - low) / (high - low) * (_SPARK_HEIGHT - 6)
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


def _svg(name: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    content = Markup("").join(parts)
    return Markup('<svg class="{}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        name, width, height, content
    )


def _range(shown: Sequence[Histogram], mark: float | None) -> tuple[float, float]:
    """Returns the range that holds all but the outermost 0.5 % of each histogram on either side, and the mark."""
    lows = [_quantile(histogram.low, histogram.counts, 0.005) for histogram in shown]
    highs = [_quantile(histogram.high, histogram.counts, 0.995) for histogram in shown]
    if mark is not None:
        lows, highs = [*lows, mark], [*highs, mark * 1.05]
    low, high = min(lows), max(highs)
    low = 0.0 if 0 < low < 0.25 * high else low
    room = 0.1 * max(abs(low), abs(high), 1e-6) - (high - low)
    return (low - room / 2, high + room / 2) if room > 0 else (low, high)


def _quantile(bounds: np.ndarray, counts: np.ndarray, share: float) -> float:
    return float(np.quantile(bounds, share, weights=counts, method="inverted_cdf"))


def _axis(low: float, high: float) -> list[Markup]:
    line = Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    parts = [line.format(0, _WIDTH, _HEIGHT, _HEIGHT)]
    for tick in _ticks(low, high):
        at = f"{(tick - low) / (high - low) * _WIDTH:.1f}"
        text = f"{tick:g}".replace("-", "−")
        parts.append(line.format(at, at, _HEIGHT, _HEIGHT + 4))
        parts.append(Markup('<text class="tick" x="{}" y="{}">{}</text>').format(at, _HEIGHT + 16, text))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Returns three to six round numbers from `low` to `high`."""
    rough = (high - low) / 4
    unit = 10.0 ** np.floor(np.log10(rough))
    step = min((unit * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda step: abs(step - rough))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(step * position, 12) for position in range(first, last + 1)]


def _rebin(histogram: Histogram, edges: np.ndarray) -> np.ndarray:
    """Returns the share of rows in each bin; the outermost hold what is outside.

    Rows are taken as spread evenly in their buckets, so that bins narrower than these have no gaps.
    """
    bounds = np.stack([histogram.low, histogram.high], axis=1).ravel()
    held = np.stack([np.cumsum(histogram.counts) - histogram.counts, np.cumsum(histogram.counts)], axis=1).ravel()
    below = np.interp(edges, bounds, held)
    below[0], below[-1] = 0, held[-1]
    return np.diff(below) / held[-1]


def _steps(x: np.ndarray, y: np.ndarray, close: bool) -> str:
    points = "".join(f"V{height:.1f}H{right:.1f}" for height, right in zip(y, x[1:], strict=True))
    return f"M{x[0]:.1f} {_HEIGHT}{points}V{_HEIGHT}" + ("Z" if close else "")
