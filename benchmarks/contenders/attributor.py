"""ig-audit's engine alone: an attributor as a worker makes it, on images in memory."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.contenders.process import Contender, Setup, serve
from transforms import worker
from transforms.core.explain.attributor import Attributor
from transforms.core.explain.settings import Settings
from transforms.core.record import Explanation
from transforms.worker import AttributorSpec


class InMemory(Contender):
    """Explains arrays: with `steps` by the midpoint rule, without by the adaptive one."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._attributor = functools.cache(self._make)

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> list[Explanation]:
        """See Contender."""
        return self._attributor(steps, batch).explain(images, targets)

    def maps(self, result: list[Explanation]) -> np.ndarray:
        """See Contender."""
        return np.stack([explanation.attributions[0].values for explanation in result])

    def _make(self, steps: int, batch: int) -> Attributor:
        settings = Settings(rule="midpoint", steps=steps) if steps else Settings(tolerance=self._setup.tolerance)
        return worker.attributor(
            AttributorSpec(self._setup.saved_model, settings=settings, batch_size=batch)
        ).attributor


if __name__ == "__main__":
    serve(InMemory)
