"""An image on its way to its explanation, phase by phase; each holds the one before, and nothing that is not known yet.

    Image ─→ Decoded ─→ Predicted ─→ Pending, until all of its paths are integrated ─→ Explanation

In each phase, an image may become a `Failure` instead.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.core.explain.content import content_digest
from transforms.core.explain.label import Resolved
from transforms.core.path.integrate import Integral
from transforms.core.record import Failure, Image, Pixels
from transforms.core.vocabulary import Stage


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as the model sees it.

    Attributes:
        image: as read.
        pixels: decoded, at the model's input size.
        label: what its label says: a class index, several, or a number; None if it has none.
        targets: classes to explain; empty if the settings choose them.
        label_problem: why the image's label names no class; empty if it does, or if there is none.
    """

    image: Image
    pixels: Pixels
    label: Resolved = None
    targets: tuple[int, ...] = ()
    label_problem: str = ""

    @functools.cached_property
    def content(self) -> str:
        """The digest of the picture."""
        return content_digest(self.image, self.pixels)


@dataclass(frozen=True, eq=False)
class Predicted:
    """A decoded image with what the model says of it.

    Attributes:
        decoded: the image.
        outputs: float32 `[classes]`, all finite.
        explained: what the score is made of, float32 `[…]`.
        targets: classes to explain, one at least.
    """

    decoded: Decoded
    outputs: np.ndarray
    explained: np.ndarray
    targets: tuple[int, ...]


class Pending:
    """A predicted image whose paths are being integrated."""

    def __init__(self, predicted: Predicted, baselines: int) -> None:
        """Takes the image and its number of baselines, each of which makes a path for each target."""
        self.predicted = predicted
        self.baseline_explained: list[np.ndarray] = []
        self._integrals: dict[int, list[Integral[Any]]] = {target: [] for target in predicted.targets}
        self._left = baselines * len(predicted.targets)

    @property
    def done(self) -> bool:
        """Whether all of its paths are integrated."""
        return not self._left

    def absorb(self, target: int, integral: Integral[Any]) -> None:
        """Adds the integral of one of a target's paths."""
        self._integrals[target].append(integral)
        self._left -= 1

    def take(self, target: int) -> Sequence[Integral[Any]]:
        """Returns a target's integrals, once: their keys hold this, and such a ring would wait for the collector."""
        return self._integrals.pop(target)


def failure(image: Image, stage: Stage, error: Exception) -> Failure:
    """Returns the failure of an image."""
    return Failure(image.id, image.shard, image.index, stage, type(error).__name__, str(error))


def relative_error(integrals: Sequence[Integral[Any]], values: np.ndarray) -> float | None:
    """Returns the estimated L1 error of the mean of integrals over its L1 norm; None if the rule estimates none.

    Args:
        integrals: one for each baseline.
        values: float64 `[height, width, channels]`: their mean.
    """
    errors = []
    for integral in integrals:
        if integral.error_estimate is None:
            return None
        norm = float(np.abs(integral.values).sum())
        errors.append(integral.error_estimate * norm if norm else 0.0)
    norm = float(np.abs(values).sum())
    return float(np.mean(errors) / norm) if norm else 0.0


def mean_path(paths: list[np.ndarray]) -> np.ndarray:
    """Returns the steps `[n, 3]` that all `paths` share by alpha, averaged over them."""
    if len(paths) == 1:
        return paths[0]
    shared = sorted(set.intersection(*(set(path[:, 0].tolist()) for path in paths)))
    picked = [path[np.isin(path[:, 0], np.array(shared, np.float32))] for path in paths]
    return np.asarray(np.mean(picked, axis=0, dtype=np.float64), np.float32)
