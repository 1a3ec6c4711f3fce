"""How many steps one model call takes once a device's memory runs out: `StepLadder`.

Each call that runs out of memory halves the batch. This is for good: what did not fit once may not fit
again, and every try costs time. Nothing is lost: calls of any size are cut into pieces that fit, and a batch of steps
that did not fit is left to the caller, who cuts it anew. Simultaneous calls share the memory, so that one that fails
says nothing of its own size alone: the batch is halved once the calls beside it have ended, and a batch of one is
refused only after it failed with no other.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
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
            MemoryError: a batch of one does not fit.
        """
        with contextlib.suppress(MemoryError), self._gate.beside():
            return call() if step is self._step else None
        with self._gate.alone():
            if step is self._step and step.batch > 1:
                self._shrink()
            elif step is self._step:
                try:
                    return call()
                except MemoryError as error:
                    raise MemoryError(
                        f"the model does not fit into the device's memory with a batch of one: {error}"
                    ) from error
        return None

    def call(self, function: Callable[[CompiledStep], T]) -> T:
        """Returns what `function` makes with the step in use; calls it again with a smaller one when memory runs out.

        Raises:
            MemoryError: a batch of one does not fit.
        """
        while True:
            step = self._step
            found = self.attempt(step, functools.partial(function, step))
            if found is not None:
                return found

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's raw outputs `[n, classes]` for any number of images `[n, height, width, channels]`.

        Raises:
            MemoryError: not even one image fits.
        """
        return self._in_pieces(lambda step, piece: step.outputs(piece), images)

    def explained(self, images: np.ndarray) -> np.ndarray:
        """Returns what the score is made of, `[n, …]`, for any number of images `[n, height, width, 3]`.

        Raises:
            MemoryError: not even one image fits.
        """
        return self._in_pieces(lambda step, piece: step.explained(piece), images)

    def enter(self, images: np.ndarray) -> np.ndarray:
        """Returns where any number of images `[n, height, width, channels]` lie in path space, `[n, ...path space]`.

        Raises:
            MemoryError: not even one image fits.
        """
        return self._in_pieces(lambda step, piece: step.enter(piece), images)

    def leave(self, gradients: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Returns any number of gradients in path space `[...path space]` as gradients of raw pixels.

        Raises:
            MemoryError: not even one gradient fits.
        """
        if not self._step.is_cut:
            return gradients
        return list(self._in_pieces(lambda step, piece: step.leave(piece), np.stack(gradients)))

    def _shrink(self) -> None:
        self._step = self._step.with_batch(self._step.batch // 2)

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
