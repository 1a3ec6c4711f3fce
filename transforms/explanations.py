"""Explanations: what a notebook gets, as a sequence, as arrays and as pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import PIL.Image

from transforms.core.image.baseline import Baseline
from transforms.core.maps.render import attribution_mask, clip_percentile, colorize, false_color, overlay
from transforms.core.record import Attribution, Explanation
from transforms.text import fit

_SHOWN = 8
"""Most images that a notebook shows by itself."""

_PREDICTIONS = 3
_NAME_WIDTH, _CAPTION_WIDTH = 32, 72


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Sequence[Explanation]):
    """The explanations of some images, in their order: indexed and iterated like a list, or taken as arrays.

    Arrays are of the first target of each image; `explanations[i].attributions` has all of them.

    Attributes:
        items: one for each image.
        class_names: of the model, by class index.
        baselines: of the settings.
        input_shape: `(height, width, channels)` of one image.
    """

    items: tuple[Explanation, ...]
    class_names: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    input_shape: tuple[int, int, int]

    @property
    def maps(self) -> np.ndarray:
        """The attributions, float32 `[n, height, width, channels]`, in units of the score."""
        return np.array([first.values for first in self._first], np.float32).reshape(-1, *self.input_shape)

    @property
    def scores(self) -> np.ndarray:
        """The score of each image's target, float64 `[n]`."""
        return np.array([first.score for first in self._first], np.float64)

    @property
    def errors(self) -> np.ndarray:
        """The estimated L1 error of each map over its L1 norm, float64 `[n]`; NaN if the rule estimates none."""
        return np.array([first.error_estimate for first in self._first], np.float64)

    @property
    def deltas(self) -> np.ndarray:
        """The sum of each map less the difference of its scores, float64 `[n]`."""
        return np.array([first.convergence_delta for first in self._first], np.float64)

    @property
    def targets(self) -> np.ndarray:
        """The class index that each map explains, `[n]`."""
        return np.array([first.target for first in self._first])

    @property
    def names(self) -> list[str]:
        """The names of the classes that the maps explain, `[n]`."""
        return [self._name(first.target) for first in self._first]

    def plot(self) -> PIL.Image.Image:
        """Returns the panels of TensorFlow's tutorial, original, baseline, attribution mask and overlay, as a picture.

        A notebook displays it; `.save("cat.png")` writes it. Of many images, the first eight are drawn, a row each.

        Raises:
            ValueError: there are no images.
        """
        from transforms.core.maps.render.panels import Panel, draw_panels  # drawing takes a second to load

        if not self.items:
            raise ValueError("there are no explanations to plot")
        shown = self.items[:_SHOWN]
        panels = []
        for item in shown:
            original = false_color(item.pixels.array)
            mask = _mask(item.attributions[0])
            panels += [
                Panel(self._original(item), original),
                Panel(f"Baseline: {self._baseline()}", false_color(self._baseline_of(item))),
                Panel(f"Attribution mask: {self._score(item.attributions[0])}", mask),
                Panel("Overlay", overlay(original, mask)),
            ]
        left_out = f"the first {len(shown)} of {len(self)} images" if len(self) > len(shown) else ""
        png = draw_panels(panels, left_out, columns=2 if len(shown) == 1 else 4)
        picture = PIL.Image.open(io.BytesIO(png))
        picture.load()
        return picture

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self.items[index], self.class_names, self.baselines, self.input_shape)
        return self.items[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.items)

    def __repr__(self) -> str:
        if not self.items:
            return "Explanations(no images)"
        shape = "×".join(map(str, self.input_shape))
        return f"Explanations({_count(len(self), 'image')} of {shape}, {self._range()}, {self._convergence()})"

    def _repr_html_(self) -> str:
        rows = "".join(self._row(item) for item in self.items[:_SHOWN])
        more = f"<p>… and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        head = "<tr><th>image<th>overlay<th>explained<th>score<th>of the baseline<th>error<th>predictions<th>label</tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>{more}"

    @property
    def _first(self) -> Iterator[Attribution]:
        return (item.attributions[0] for item in self.items)

    def _name(self, target: int | None) -> str:
        return "" if target is None else self.class_names[target]

    def _range(self) -> str:
        scores = self.scores
        return f"scores {scores.min():.4g} to {scores.max():.4g}" if len(self) > 1 else f"score {scores[0]:.4g}"

    def _convergence(self) -> str:
        if all(first.error_estimate is None for first in self._first):
            return "errors not estimated"
        open_ended = sum(not first.converged for first in self._first)
        errors = f"errors up to {self.errors.max():.2g}"
        return f"{errors}, {open_ended:,} not converged" if open_ended else errors

    def _baseline(self) -> str:
        first, count = self.baselines[0], sum(baseline.count for baseline in self.baselines)
        return _short(first.name) + ("" if count == 1 else f", the first of {count}")

    def _baseline_of(self, item: Explanation) -> np.ndarray:
        return self.baselines[0].make(item.pixels.array, item.image.id)[0]

    def _label(self, item: Explanation) -> str:
        """Returns what the image's label says: the names of one class or several, or a number."""
        label: Any = item.label
        if isinstance(label, tuple):
            return ", ".join(_short(self._name(each)) for each in label)
        return "" if label is None else _short(self._name(label)) if isinstance(label, int) else f"{label:g}"

    def _original(self, item: Explanation) -> str:
        label = self._label(item)
        return f"Original: {label}" if label else "Original"

    def _score(self, attribution: Attribution) -> str:
        name = _short(self._name(attribution.target))
        return f"{name} {attribution.score:.4g}".strip()

    def _row(self, item: Explanation) -> str:
        """Returns a row of the table; every text in it may come from data, and is escaped."""
        first, picture = item.attributions[0], false_color(item.pixels.array)
        predictions = ", ".join(f"{_short(each.name)} {each.probability:.3f}" for each in item.predictions[:3])
        texts = (
            _short(self._name(first.target)),
            f"{first.score:.4g}",
            f"{first.baseline_score:.4g}",
            _error(first),
            predictions,
            self._label(item),
        )
        cells = "".join(f"<td>{html.escape(text)}" for text in texts)
        alternative = fit(item.image.id, _CAPTION_WIDTH)
        return f"<tr><td>{_img(picture, alternative)}<td>{_img(overlay(picture, _mask(first)), '')}{cells}</tr>"


def _error(attribution: Attribution) -> str:
    if attribution.error_estimate is None:
        return "not estimated"
    return f"{attribution.error_estimate:.2g}" + ("" if attribution.converged else ", not converged")


def _short(name: str) -> str:
    """Returns a name from data, printable and not too long."""
    return fit(name, _NAME_WIDTH, start=_NAME_WIDTH // 2)


def _mask(attribution: Attribution) -> np.ndarray:
    """Returns the sum of a map's magnitudes over channels in color, float `[height, width, 3]` in [0, 1]."""
    return colorize(clip_percentile(attribution_mask(attribution.values)))


def _img(picture: np.ndarray, alternative: str) -> str:
    """Returns a picture, float `[height, width, 3]` in [0, 1], inline."""
    stream = io.BytesIO()
    PIL.Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    text = html.escape(alternative)
    return f'<img src="data:image/png;base64,{data}" alt="{text}" title="{text}" style="height:112px">'


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
