"""How the steps of a model run fastest on this device: with which passes, in which batches, how many of them at once.

A pass that makes steps faster on one processor makes them slower on another. So those of which both was measured are
left out in turn, and stay out if steps are faster without. Then sizes of the batch are tried upwards, until one is
slower than the one before or does not fit; if the smallest does not fit, half of it, and so on: too small a batch
leaves a device idle between calls, too large a one falls out of its caches or its memory. At last, one batch at a time.
Each candidate takes turns with the best so far, so that a busy machine is busy for both, and none is begun that would
not end in time.

The choice is kept in a file, and the first stands: every run of the same model on the same machine compiles and packs
alike, and its rows come out the same to the bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transforms.core.cache_folder import cache_folder
from transforms.core.model.batch_size import StepLadder
from transforms.core.model.classifier import Classifier
from transforms.core.model.step import ALL, CompiledStep, compile_step, device_name
from transforms.core.model.step_batch import StepBatch, midpoints
from transforms.core.stable_hash import cache_key

SIZES = {"CPU": (4, 8), "GPU": (16, 32, 64, 128, 256)}
"""Sizes to try, smallest first; on the CPUs measured, 16 was no faster than 8 (76 against 78), and took 0.5 GB more."""

OPTIONAL = ("cut_stem", "pointwise_gradients")
"""Passes that were slower on one machine and faster on another; those that matter most first."""

_SECONDS = 15.0
"""Of the processor, for all candidates together: a machine that is busy with other work tries as many. Two cores need
two thirds of that by the clock."""

_GAIN_OF_SIZE = 1.05  # a larger batch costs memory: it must pay
_CALLS = 4


@dataclass(frozen=True)
class Way:
    """How steps run.

    Attributes:
        batch: steps in one model call.
        in_flight: how many calls run at once.
        left_out: passes of `OPTIONAL` that make steps slower, with what was measured.
    """

    batch: int
    in_flight: int
    left_out: tuple[tuple[str, str], ...] = ()

    def compile(self, classifier: Classifier) -> CompiledStep:
        """Returns the compiled step of `classifier`."""
        reasons = dict(self.left_out)
        return compile_step(classifier, self.batch, tuple(name for name in ALL if name not in reasons), reasons)


@dataclass(frozen=True)
class Calibrated:
    """A compiled step, and how many of its calls run at once."""

    step: CompiledStep
    in_flight: int


def compile_calibrated(classifier: Classifier, in_flight: int, batch_size: int = 0) -> Calibrated:
    """Returns the compiled step of `classifier` in the way that is fastest on this device.

    Args:
        classifier: the loaded model.
        in_flight: how many batches may run at once.
        batch_size: steps in a batch, with all passes and as many batches at once as may be; 0 takes what is fastest.
    """
    if batch_size:
        return Calibrated(compile_step(classifier, batch_size), in_flight)
    kind, device = device_name()
    path = cache_folder("batch") / f"{cache_key(f'way {classifier.digest} {kind} {device} {in_flight}')}.json"
    if way := _remembered(path, in_flight):
        return Calibrated(way.compile(classifier), way.in_flight)
    search = _Search(classifier, kind, in_flight)
    if not search.fits:  # one step for each thread does not; whether one alone does, the first call will show
        return Calibrated(search.step, in_flight)
    search.run()
    stands = _remember(path, search.way, in_flight, device) or search.way
    return Calibrated(search.step if stands == search.way else stands.compile(classifier), stands.in_flight)


class _Search:
    """The search for the fastest way.

    Attributes:
        way: the fastest so far.
        step: compiled that way.
        fits: whether as many steps fit into the device's memory.
    """

    def __init__(self, classifier: Classifier, kind: str, in_flight: int) -> None:
        self._ends = time.process_time() + _SECONDS
        self._longest = 0.0
        self._classifier = classifier
        self._clock = time.process_time if kind == "CPU" else time.perf_counter
        self._sizes = SIZES[kind]
        ladder = StepLadder(compile_step(classifier, self._sizes[0]))
        try:
            ladder.call(lambda step: rates([(step, in_flight)], calls=1))
            self.fits = True
        except MemoryError:
            self.fits = False
        self.step = ladder.step
        self.way = Way(self.step.batch, in_flight)

    def run(self) -> None:
        """Tries the other ways."""
        for name in OPTIONAL:
            if any(entry.name == name and entry.applied for entry in self.step.report):
                self._try_without(name)
        sizes = self._sizes[1:] if self.way.batch == self._sizes[0] else ()
        for size in sizes:
            way = dataclasses.replace(self.way, batch=size)
            if not self._try(way, functools.partial(self.step.with_batch, size), _GAIN_OF_SIZE):
                break
        if self.way.in_flight > 1:
            self._clock = time.perf_counter  # fewer at once leave cores idle, which are not counted
            self._try(dataclasses.replace(self.way, in_flight=1), lambda: self.step)

    def _try_without(self, name: str) -> None:
        way = dataclasses.replace(self.way, left_out=(*self.way.left_out, (name, "slower")))
        if found := self._try(way, lambda: way.compile(self._classifier)):
            reason = f"slower here: {found[0]:.3g} steps a second with it, {found[1]:.3g} without"
            self.way = dataclasses.replace(way, left_out=(*way.left_out[:-1], (name, reason)))
            self.step = self.step.with_reason(name, reason)

    def _try(self, way: Way, compiled: Callable[[], CompiledStep], gain: float = 1.0) -> tuple[float, float] | None:
        """Takes another way if it is faster by `gain`, and returns the rates then, before and now."""
        begin = time.process_time()
        if begin + self._longest > self._ends:
            return None
        try:
            step = compiled()
            before, now = rates([(self.step, self.way.in_flight), (step, way.in_flight)], self._clock)
        except MemoryError:
            return None
        finally:
            self._longest = max(self._longest, time.process_time() - begin)
        if now <= gain * before:
            return None
        self.way, self.step = way, step
        return before, now


def rates(
    ways: Sequence[tuple[CompiledStep, int]], clock: Callable[[], float] = time.perf_counter, calls: int = _CALLS
) -> list[float]:
    """Returns the median rate of full batches of each step, in steps a second.

    They take turns, so that other work slows them alike. As the adaptive rule wants it, each gradient is a sum of its
    own, and taken back to pixels.

    Args:
        ways: steps, with how many of their batches run at once.
        clock: of the seconds; on a CPU that other work shares, the processor's tell more than the wall's.
        calls: of each.
    """
    seconds: list[list[float]] = [[] for _ in ways]
    with ThreadPoolExecutor(max(in_flight for _, in_flight in ways)) as threads:
        for _ in range(calls + 1):
            for (step, in_flight), taken in zip(ways, seconds, strict=True):
                start = clock()
                list(threads.map(_take, [step] * in_flight))
                taken.append(clock() - start)
    medians = [float(np.median(taken[1:])) for taken in seconds]  # the first call optimizes the graph
    return [in_flight * step.batch / median for (step, in_flight), median in zip(ways, medians, strict=True)]


def steps_a_second(step: CompiledStep, in_flight: int, calls: int = _CALLS) -> float:
    """Returns the median rate of full batches of `step`, `in_flight` of them at once."""
    return rates([(step, in_flight)], calls=calls)[0]


def _take(step: CompiledStep) -> None:
    """Evaluates a full batch of a path, each gradient a sum of its own."""
    end = np.random.default_rng(0).random(step.path_shape, np.float32)
    batch = StepBatch.of_path(np.zeros_like(end), end, midpoints(step.batch), weight=1.0, target=0)
    sums = step.run(dataclasses.replace(batch, segments=np.arange(step.batch, dtype=np.int32))).sums
    step.leave(np.stack(list(sums)))


def _remembered(path: Path, in_flight: int) -> Way | None:
    """Returns the way in a file; None if there is no such file, or it is damaged."""
    try:
        found = json.loads(path.read_text())
        way = Way(found["batch"], found["in_flight"], tuple((str(name), str(why)) for name, why in found["left_out"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    most = {"batch": max(map(max, SIZES.values())), "in_flight": in_flight}
    if not all(type(n := getattr(way, name)) is int and 1 <= n <= limit for name, limit in most.items()):
        return None
    return way if {name for name, _ in way.left_out} <= set(OPTIONAL) else None


def _remember(path: Path, way: Way, in_flight: int, device: str) -> Way | None:
    """Keeps a way and returns the one that stands: the first that can be used of workers that measured at once.

    Returns None where the cache cannot be written; the next start measures again.
    """
    temporary = path.with_suffix(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps({**dataclasses.asdict(way), "device": device}))
        with contextlib.suppress(OSError):  # another worker was first, or the file system has no hard links
            os.link(temporary, path)
        if not _remembered(path, in_flight):
            os.replace(temporary, path)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
    return _remembered(path, in_flight)
