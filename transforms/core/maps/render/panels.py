"""Pictures and curves in one PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_PANEL_INCHES = 3.6
_DPI = 120
_INK, _FAINT = "#222222", "#bbbbbb"


@dataclass(frozen=True)
class Panel:
    """A picture with its title: float `[height, width, 3]` in [0, 1]."""

    title: str
    picture: np.ndarray

    def draw(self, axis: Axes) -> None:
        """Draws the picture without axes."""
        axis.imshow(np.clip(self.picture, 0, 1), interpolation="nearest")
        axis.set_axis_off()


@dataclass(frozen=True)
class Curve:
    """Numbers `y` over `x` in [0, 1], float `[n]` each, with a title and labels."""

    title: str
    x: np.ndarray
    y: np.ndarray
    x_label: str
    y_label: str

    def draw(self, axis: Axes) -> None:
        """Draws the curve with a mark at each point, and a faint line at zero."""
        axis.axhline(0, color=_FAINT, linewidth=0.8)
        axis.plot(self.x, self.y, color=_INK, linewidth=1.2, marker=".", markersize=4)
        axis.set(xlim=(0, 1), xlabel=self.x_label, ylabel=self.y_label)
        axis.set_box_aspect(1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)


def draw_panels(panels: Sequence[Panel | Curve], caption: str = "", columns: int = 2) -> bytes:
    """Returns a PNG of `panels`, row by row, under a caption; text is shown literally, without markup."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_PANEL_INCHES * columns, _PANEL_INCHES * rows + 0.6), dpi=_DPI, layout="constrained")
    figure.suptitle(caption, fontsize=10, parse_math=False)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        axis.set_title(panel.title, fontsize=9, parse_math=False)
        panel.draw(axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
