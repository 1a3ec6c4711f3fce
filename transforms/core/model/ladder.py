"""StepLadder: a compiled step that goes down to half its batch when the device runs out of memory.

Going down is for good: what didn't fit once may not fit again, and every try costs time. Nothing is lost: calls of any
size are cut into pieces that fit, and a batch of steps that didn't fit is left to the caller, who cuts it anew.

Calls that run side by side share the memory, so that one that fails says nothing of its own size alone. The batch is
halved once the calls that run beside have ended, and a batch of one is refused only after it failed with no other.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from transforms.core.model.step import CompiledStep

T = TypeVar("T")


class StepLadder:
    """The compiled step that threads use now; smaller after each call that ran out of memory."""

    def __init__(self, step: CompiledStep) -> None:
        self._step = step
        self._gate = _Gate()

    @property
    def step(self) -> CompiledStep:
        """The step at the largest batch that is known to fit, or not known not to."""
        return self._step

    def attempt(self, step: CompiledStep, call: Callable[[], T]) -> T | None:
        """Returns what `call` makes with `step`; None if a smaller step has taken its place, before the call or by it.

        Args:
            step: what was the ladder's step when the call was prepared.
            call: uses `step`, and no ladder; its result is not None.

        Raises:
            MemoryError: a batch of one doesn't fit.
        """
        with contextlib.suppress(MemoryError), self._gate.beside():
            return call() if step is self._step else None
        with self._gate.alone():
            if step is self._step and step.batch > 1:
                self._step = step.with_batch(step.batch // 2)
            elif step is self._step:
                try:
                    return call()
                except MemoryError as error:
                    raise MemoryError(
                        f"the model doesn't fit into the device's memory with a batch of one: {error}"
                    ) from error
        return None

    def call(self, function: Callable[[CompiledStep], T]) -> T:
        """Returns what `function` makes with the step in use; calls it again with a smaller one when memory runs out.

        Raises:
            MemoryError: a batch of one doesn't fit.
        """
        while True:
            step = self._step
            found = self.attempt(step, functools.partial(function, step))
            if found is not None:
                return found

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's raw outputs `[n, classes]` for any number of images `[n, height, width, 3]`.

        Raises:
            MemoryError: not even one image fits.
        """
        return self._in_pieces(lambda step, piece: step.outputs(piece), images)

    def enter(self, images: np.ndarray) -> np.ndarray:
        """Returns where any number of images `[n, height, width, 3]` lie in path space, `[n, ...path space]`.

        Raises:
            MemoryError: not even one image fits.
        """
        return self._in_pieces(lambda step, piece: step.enter(piece), images)

    def leave(self, gradients: np.ndarray) -> np.ndarray:
        """Returns any number of gradients in path space `[n, ...path space]` as gradients of raw pixels.

        Raises:
            MemoryError: not even one gradient fits.
        """
        return self._in_pieces(lambda step, piece: step.leave(piece), gradients)

    def _in_pieces(self, function: Callable[[CompiledStep, np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
        """Returns what `function` makes of `values` `[n, …]`, of at most a batch of them at a time."""
        found: list[np.ndarray] = []
        done = 0
        while done < len(values):
            step = self._step
            piece = self.attempt(step, functools.partial(function, step, values[done : done + step.batch]))
            if piece is not None:
                found.append(piece)
                done += len(piece)
        return found[0] if len(found) == 1 else np.concatenate(found)


class _Gate:
    """Lets calls run beside each other, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._closed = False

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Runs the block once no other runs alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Runs the block once all that run have ended; none begins before it ends."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._running)
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()
