"""StepLadder: a compiled step that goes down to half its batch when the device runs out of memory.

Going down is for good: what didn't fit once may not fit again, and every try costs time. Nothing is lost:
the caller hands in the same steps again, in smaller batches.
"""

from __future__ import annotations

import threading

import numpy as np

from transforms.core.compile import CompiledStep


class StepLadder:
    """The compiled step that threads use now; smaller after each `descend`."""

    def __init__(self, step: CompiledStep) -> None:
        self._step = step
        self._lock = threading.Lock()

    @property
    def step(self) -> CompiledStep:
        """The step at the largest batch that is known to fit, or not known not to."""
        return self._step

    def descend(self, failed: CompiledStep, error: MemoryError) -> None:
        """Halves the batch, unless another thread has already left `failed` behind.

        Raises:
            MemoryError: a batch of one doesn't fit.
        """
        with self._lock:
            if self._step is not failed:
                return
            if failed.batch == 1:
                raise MemoryError(f"the model doesn't fit into the device's memory with a batch of one: {error}")
            self._step = failed.with_batch(failed.batch // 2)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's raw outputs `[n, classes]` for any number of images `[n, height, width, 3]`."""
        found: list[np.ndarray] = []
        done = 0
        while done < len(images):
            step = self._step
            try:
                found.append(step.outputs(images[done : done + step.batch]))
            except MemoryError as error:
                self.descend(step, error)
            else:
                done += step.batch
        return np.concatenate(found)
