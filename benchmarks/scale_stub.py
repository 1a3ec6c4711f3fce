"""The model that costs nothing, for `benchmarks.scale`, and the worker that holds it and keeps an eye on itself."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np

from transforms import attribute
from transforms.attribute import AttributeChunks
from transforms.core.record import Attribution, Chunk, Explanation, Failure, Image, Pixels, Prediction
from transforms.store.parts import PartWriter

SIZE = 8
CLASSES = 1000
_WRONG = 5
"""One image in so many is predicted to be of the class after its label's."""
_POOL = 256
_NAMES = tuple(f"class {index}" for index in range(CLASSES))


class StubChunks(AttributeChunks):
    """AttributeChunks whose workers have a Stub."""

    folder = ""
    """Where workers leave their figures."""

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Any]:
        """Takes chunks; returns their results."""
        return chunks | beam.ParDo(_StubChunks(self, self.folder))


class _StubChunks(attribute._AttributeChunks):
    def __init__(self, stage: AttributeChunks, folder: str) -> None:
        super().__init__(stage)
        self._folder = folder

    def setup(self) -> None:
        super().setup()
        watch(self._folder)

    def attributor(self) -> Any:
        return _stub()


class Stub:
    """Stands for an Attributor: what belongs to an image's index comes from a pool."""

    def __init__(self) -> None:
        self.classifier = SimpleNamespace(names=_NAMES, input_shape=(SIZE, SIZE, 3), size_bytes=0)
        self.step = SimpleNamespace(report=())
        generator = np.random.default_rng(0)
        arrays = generator.random((_POOL, SIZE, SIZE, 3), np.float32)
        maps = generator.normal(0, 0.01, arrays.shape).astype(np.float32)
        self._pixels = [Pixels(array, SIZE, SIZE) for array in arrays]
        path = np.stack([np.linspace(0, 1, 16, dtype=np.float32)] * 3, axis=1)
        self._attributions = [
            Attribution(0, 0, values, float(score), 0.01, float(values.sum() - score), 0.03, True, 50, path)
            for values, score in zip(maps, generator.random(_POOL), strict=True)
        ]

    def attribute(
        self, images: Iterable[Image | Failure], on_batch: Callable[[int, float], None]
    ) -> Iterator[Explanation | Failure]:
        """Yields what belongs to each image."""
        for image in images:
            if isinstance(image, Failure) or not isinstance(image.label, int):
                raise ValueError(f"not a shard of this benchmark: {image}")
            number = image.index + 7919 * int(image.shard.rpartition("scale-")[2][:5])
            target = (image.label + (number // CLASSES % _WRONG == 0)) % CLASSES
            attribution = dataclasses.replace(self._attributions[number % _POOL], target=target)
            ranks = [(target + rank) % CLASSES for rank in range(5)]
            predictions = tuple(Prediction(one, _NAMES[one], 0.5 ** (rank + 1)) for rank, one in enumerate(ranks))
            yield Explanation(image, self._pixels[number % _POOL], image.label, predictions, (attribution,))


@functools.lru_cache(maxsize=1)
def _stub() -> Stub:
    return Stub()


@functools.lru_cache(maxsize=1)
def watch(folder: str) -> None:
    """Leaves this process's peak and processor seconds in `folder` from now on, those of some functions apart."""
    seconds: Counter[str] = Counter()
    _time(attribute, "rows_of", "make rows", seconds)
    _time(PartWriter, "flush", "store rows", seconds)
    _time(attribute._AttributeChunks, "_result", "summarise", seconds)

    def tell() -> None:
        path = Path(folder, str(os.getpid()))
        while path.parent.exists():
            told = {"peak MiB": peak_mib(), "cpu s": time.process_time(), "within": dict(seconds)}
            path.with_suffix(".new").write_text(json.dumps(told))
            path.with_suffix(".new").rename(path)
            time.sleep(0.5)

    threading.Thread(target=tell, daemon=True).start()


def worker_figures(folder: Path) -> dict[str, Any]:
    """Returns what the workers left in `folder`: the highest peak, and the sums of their seconds."""
    told = [json.loads(path.read_text()) for path in folder.iterdir() if not path.suffix]
    within: Counter[str] = Counter()
    for each in told:
        within.update(each["within"])
    return {
        "peak MiB": max(each["peak MiB"] for each in told),
        "cpu s": sum(each["cpu s"] for each in told),
        "within": dict(within),
    }


def peak_mib() -> float:
    """Returns the most memory that this process has held, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _time(owner: Any, name: str, phase: str, seconds: Counter[str]) -> None:
    """Replaces `owner.name` by itself with a clock of the thread's processor seconds."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            seconds[phase] += time.thread_time() - start

    setattr(owner, name, timed)
