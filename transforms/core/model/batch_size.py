"""How many steps one model call takes: the fastest number on this device, and fewer once its memory runs out.

`compile_calibrated`: too small a batch leaves a device idle between calls, too large a one falls out of its caches or
its memory. Sizes are tried upwards, each with as many batches in flight as the job will have, until one is slower
than the one before or does not fit; if the smallest does not fit, half of it, and so on. The choice is kept in a file,
so that every run of the same model on the same machine packs alike, and its rows come out the same to the bit.

`StepLadder`: each call that runs out of memory halves the batch. This is for good: what did not fit once may not fit
again, and every try costs time. Nothing is lost: calls of any size are cut into pieces that fit, and a batch of steps
that did not fit is left to the caller, who cuts it anew. Simultaneous calls share the memory, so that one that fails
says nothing of its own size alone: the batch is halved once the calls beside it have ended, and a batch of one is
refused only after it failed with no other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from transforms.core.cache_folder import cache_folder
from transforms.core.model.classifier import Classifier
from transforms.core.model.step import CompiledStep, compile_step, device_name
from transforms.core.model.step_batch import StepBatch, midpoints
from transforms.core.stable_hash import cache_key

T = TypeVar("T")

SIZES = {"CPU": (4, 8), "GPU": (16, 32, 64, 128, 256)}
"""Sizes to try, smallest first; on the CPUs measured, 16 was no faster than 8 (76 against 78), and took 0.5 GB more."""

_GAIN = 1.05  # a larger batch costs memory: it must pay
_CALLS = 5


def compile_calibrated(classifier: Classifier, in_flight: int) -> CompiledStep:
    """Returns the compiled step of `classifier` at the batch size that is fastest on this device.

    Args:
        classifier: the loaded model.
        in_flight: how many batches run at once.
    """
    kind, name = device_name()
    key = cache_key(f"{classifier.digest} {kind} {name} {in_flight}")
    path = cache_folder("batch") / f"{key}.json"
    if size := _remembered(path):
        return compile_step(classifier, size)
    smallest, *larger = SIZES[kind]
    ladder = StepLadder(compile_step(classifier, smallest))
    try:
        rate = ladder.call(lambda step: steps_a_second(step, in_flight))
    except MemoryError:
        return ladder.step  # one step for each thread does not fit; whether one alone does, the first call will show
    best = ladder.step
    for size in larger if best.batch == smallest else ():
        try:
            candidate = best.with_batch(size)
            found = steps_a_second(candidate, in_flight)
        except MemoryError:
            break
        if found < _GAIN * rate:
            break
        best, rate = candidate, found
    chosen = _remember(path, {"batch": best.batch, "steps_a_second": round(rate, 2), "device": name}) or best.batch
    return best if chosen == best.batch else best.with_batch(chosen)


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

    def leave(self, gradients: np.ndarray) -> np.ndarray:
        """Returns any number of gradients in path space `[n, ...path space]` as gradients of raw pixels.

        Raises:
            MemoryError: not even one gradient fits.
        """
        return self._in_pieces(lambda step, piece: step.leave(piece), gradients)

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


def steps_a_second(step: CompiledStep, in_flight: int, calls: int = _CALLS) -> float:
    """Returns the best rate of full batches of `step`, `in_flight` of them at once: other work can only slow it."""
    generator = np.random.default_rng(0)
    end = generator.random(step.path_shape, np.float32)
    batch = StepBatch.of_path(np.zeros_like(end), end, midpoints(step.batch), weight=1.0, target=0)

    def call(_: int) -> None:
        step.run(batch)

    with ThreadPoolExecutor(in_flight) as threads:
        list(threads.map(call, range(in_flight)))
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            list(threads.map(call, range(in_flight)))
            seconds.append(time.perf_counter() - start)
    return in_flight * step.batch / min(seconds)


def _remembered(path: Path) -> int:
    """Returns the size in an earlier choice's file; 0 where there is none that can be used."""
    try:
        size = json.loads(path.read_text())["batch"]
    except (OSError, ValueError, TypeError, KeyError):
        return 0
    return size if isinstance(size, int) and 1 <= size <= max(map(max, SIZES.values())) else 0


def _remember(path: Path, choice: dict[str, object]) -> int:
    """Keeps a choice and returns the size that stands: the first that can be used of workers that measured at once.

    Returns 0 where the cache cannot be written; the next start measures again.
    """
    temporary = path.with_suffix(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(choice))
        with contextlib.suppress(OSError):  # another worker was first, or the file system has no hard links
            os.link(temporary, path)
        if not _remembered(path):
            os.replace(temporary, path)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
    return _remembered(path)


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
