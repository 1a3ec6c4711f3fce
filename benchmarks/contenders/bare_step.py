"""The bare engine: full batches of the compiled step along real paths, as many in flight as the job has."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.contenders.process import Contender, Setup, serve
from transforms import worker
from transforms.core.explain.attributor import Attributor
from transforms.core.model.step_batch import StepBatch
from transforms.worker import AttributorSpec


class BareStep(Contender):
    """Runs the steps, and makes no maps of them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._attributor = functools.cache(self._make)

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> None:
        """Runs as many full batches as `steps` steps for each image need, of several images each."""
        attributor = self._attributor(batch)
        step = attributor.step
        ends = step.enter(images[: step.batch])
        slots = np.arange(step.batch, dtype=np.int32) % len(ends)
        starts, ends = ([step.place(point) for point in points] for points in (0 * ends, ends))
        alphas = np.linspace(0, 1, step.batch, dtype=np.float32)
        full = StepBatch(starts, ends, slots, alphas, np.ones_like(alphas), targets[slots].astype(np.int32), slots)
        calls = max(1, len(images) * steps // step.batch)
        with ThreadPoolExecutor(attributor.in_flight) as threads:
            for _ in threads.map(lambda _: step.run(full), range(calls)):
                pass

    def _make(self, batch: int) -> Attributor:
        return worker.attributor(AttributorSpec(self._setup.saved_model, batch_size=batch)).attributor


if __name__ == "__main__":
    serve(BareStep)
