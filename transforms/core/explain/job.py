"""An image on its way to its explanation, phase by phase; each holds the one before, and nothing that is not known yet.

    Image or Asked ─→ Decoded ─→ Predicted ─→ Pending, until all of its paths are integrated ─→ Explanation

In each phase, an image may become a `Failure` instead.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.core.explain.content import content_digest
from transforms.core.explain.label import Resolved
from transforms.core.explain.purposes import Purpose
from transforms.core.record import Failure, Image, Pixels, ReferenceMap
from transforms.core.vocabulary import Stage

if TYPE_CHECKING:  # which imports TensorFlow
    from transforms.core.path.integrate import Integral


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

    def __init__(self, predicted: Predicted, baselines: int, purposes: tuple[Purpose, ...] = ("map",)) -> None:
        """Takes the image, its number of baselines, and the purposes of its maps; each map has a path a baseline."""
        self.predicted = predicted
        self.purposes = purposes
        self.baseline_explained: list[np.ndarray] = []
        pairs = itertools.product(predicted.targets, purposes)
        self._integrals: dict[tuple[int, Purpose], list[Integral[Any]]] = {pair: [] for pair in pairs}
        self._left = baselines * len(self._integrals)

    @property
    def done(self) -> bool:
        """Whether all of its paths are integrated."""
        return not self._left

    def absorb(self, target: int, purpose: Purpose, integral: Integral[Any]) -> None:
        """Adds the integral of one of a target's paths."""
        self._integrals[target, purpose].append(integral)
        self._left -= 1

    def take(self, target: int, purpose: Purpose = "map") -> Sequence[Integral[Any]]:
        """Returns a target's integrals, once: their keys hold this, and such a ring would wait for the collector.

        Returns none if the image was not chosen for the purpose.
        """
        return self._integrals.pop((target, purpose), ())

    def second_map(self, target: int) -> np.ndarray | None:
        """Returns a target's map by the second shift, float32, once; None if there is none, or it is not finite."""
        integrals = self.take(target, "second")
        values = _mean_values(integrals).astype(np.float32) if integrals else None
        return values if values is not None and np.isfinite(values).all() else None

    def reference_map(self, target: int, tolerance: float) -> ReferenceMap | None:
        """Returns a target's accurate map, once; None if there is none, or it is not finite."""
        integrals = self.take(target, "reference")
        mean = Mean.of(integrals, tolerance) if integrals else None
        if mean is None or mean.error_estimate is None or mean.converged is None or not np.isfinite(mean.values).all():
            return None
        return ReferenceMap(mean.values.astype(np.float32), mean.error_estimate, mean.converged, mean.steps)


def failure(image: Image, stage: Stage, error: Exception) -> Failure:
    """Returns the failure of an image."""
    return Failure(image.id, image.shard, image.index, stage, type(error).__name__, str(error))


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of a target's integrals over the baselines.

    Attributes:
        values: float64 `[height, width, channels]`.
        error_estimate: the bound of its L1 error over its L1 norm; None if the rule estimates none.
        converged: whether that is within the tolerance, and every integral converged; None likewise.
        steps: number of gradient evaluations.
    """

    values: np.ndarray
    error_estimate: float | None
    converged: bool | None
    steps: int

    @classmethod
    def of(cls, integrals: Sequence[Integral[Any]], tolerance: float) -> Mean:
        """Returns the mean of one integral for each baseline."""
        values = _mean_values(integrals)
        estimate = _relative_error(integrals, values)
        converged = None if estimate is None else estimate <= tolerance
        return cls(
            values,
            estimate,
            converged and all(integral.converged for integral in integrals),
            sum(integral.steps for integral in integrals),
        )


def _mean_values(integrals: Sequence[Integral[Any]]) -> np.ndarray:
    return np.asarray(np.mean([integral.values for integral in integrals], axis=0, dtype=np.float64))


def _relative_error(integrals: Sequence[Integral[Any]], values: np.ndarray) -> float | None:
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
