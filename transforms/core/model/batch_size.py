"""The batch size that makes most steps a second: measured once per model and device, then remembered.

Too small a batch leaves a device idle between calls, too large a one falls out of its caches or its
memory. Sizes are tried upwards, each with as many batches in flight as the job will have, until one is
slower than the one before or doesn't fit; if the smallest doesn't fit, half of it, and so on. The choice is
kept in a file, so that every run of the same model on the same machine packs alike, and its rows come out the
same to the bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from transforms.core.cache_folder import cache_folder
from transforms.core.model.classifier import Classifier
from transforms.core.model.ladder import StepLadder
from transforms.core.model.step import CompiledStep, compile_step, device_name
from transforms.core.stable_hash import cache_key

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
        return ladder.step  # one step for each thread doesn't fit; whether one alone does, the first call will show
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


def steps_a_second(step: CompiledStep, in_flight: int, calls: int = _CALLS) -> float:
    """Returns the best rate of full batches of `step`, `in_flight` of them at once: other work can only slow it."""
    generator = np.random.default_rng(0)
    ends = generator.random((1, *step.path_shape), np.float32)
    alphas = ((np.arange(step.batch) + 0.5) / step.batch).astype(np.float32)
    weights, zeros = np.ones(step.batch, np.float32), np.zeros(step.batch, np.int32)

    def call(_: int) -> None:
        step.run(np.zeros_like(ends), ends, zeros, alphas, weights, zeros, zeros)

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

    Returns 0 where the cache can't be written; the next start measures again.
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
