"""A contender in a process of its own: loads once, then answers JSON requests, a line each, with a line each.

    first line   Setup
    then         {"first": 0, "count": 4, "steps": 50, "batch": 16, "maps": "FILE.npy"}
    answered by  {"seconds": 3.1, "processor": 5.9}

so that contenders take turns with everything loaded, and cannot disturb one another's libraries.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Setup:
    """What every contender is given.

    Attributes:
        images: `.npy` file, float32 `[n, 224, 224, 3]` in [0, 1].
        targets: class to explain of each image.
        saved_model: the classifier as a SavedModel folder; gives logits.
        keras_model: the same as a `.keras` file.
        weights: the same as PyTorch weights.
        shards: TFRecord shard with the first `count` images, encoded, by `str(count)`.
        tolerance: of the adaptive rule.
    """

    images: str
    targets: tuple[int, ...]
    saved_model: str
    keras_model: str = ""
    weights: str = ""
    shards: dict[str, str] = field(default_factory=dict)
    tolerance: float = 0.05


class Contender(ABC):
    """A loaded implementation."""

    @abstractmethod
    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> Any:
        """Attributes images; this is what is timed.

        Args:
            images: float32 `[n, height, width, 3]` in [0, 1].
            targets: int64 `[n]`.
            steps: gradient evaluations an image; 0 for the adaptive rule.
            batch: evaluations in one model call; 0 where the contender decides.
        """

    def maps(self, result: Any) -> np.ndarray:
        """Returns what `attribute` made as float32 `[n, height, width, 3]`; not timed."""
        return np.asarray(result, np.float32)


def serve(make: type[Contender]) -> None:
    """Answers requests until the input ends. What libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setup = Setup(**json.loads(sys.stdin.readline()))
    images, targets = np.load(setup.images), np.array(setup.targets)
    contender = make(setup)  # type: ignore[call-arg]
    for line in sys.stdin:
        request = json.loads(line)
        chosen = slice(request["first"], request["first"] + request["count"])
        start, worked = time.perf_counter(), time.process_time()
        result = contender.attribute(images[chosen], targets[chosen], request["steps"], request["batch"])
        seconds, processor = time.perf_counter() - start, time.process_time() - worked
        if request["maps"]:
            np.save(request["maps"], contender.maps(result))
        print(json.dumps({"seconds": seconds, "processor": processor}), file=answers)


class Client:
    """The asking end.

    Attributes:
        startup: seconds from the start of the process to the end of its first image, at 50 steps.
    """

    def __init__(
        self,
        module: str,
        python: str,
        setup: Setup,
        log: Path,
        batch: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Starts `python -m benchmarks.contenders.MODULE`, and explains one image with it.

        Args:
            module: the contender.
            python: the interpreter.
            setup: what the contender is given.
            log: where its error stream goes.
            batch: of the first image.
            variables: environment variables it gets beyond ours.
        """
        self._log = log
        self._maps = log.with_suffix(".npy")
        start = time.perf_counter()
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.contenders.{module}"],
                cwd=ROOT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(variables or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._write(dataclasses.asdict(setup))
        self.seconds(0, 1, 50, batch)
        self.startup = time.perf_counter() - start

    def seconds(self, first: int, count: int, steps: int, batch: int) -> float:
        """Returns the seconds that `count` images from number `first` on took."""
        return self._ask(first, count, steps, batch, "")["seconds"]

    def times(self, first: int, count: int, steps: int, batch: int) -> tuple[float, float]:
        """Returns the seconds that images took by the clock, and those of the processor."""
        answer = self._ask(first, count, steps, batch, "")
        return answer["seconds"], answer["processor"]

    def maps(self, first: int, count: int, steps: int, batch: int) -> np.ndarray:
        """Returns the attributions, float32 `[count, height, width, 3]`."""
        self._ask(first, count, steps, batch, str(self._maps))
        return np.load(self._maps)

    def close(self) -> None:
        """Ends the process."""
        self._pipe(self._process.stdin).close()
        self._process.wait(timeout=60)

    def _ask(self, first: int, count: int, steps: int, batch: int, maps: str) -> dict[str, float]:
        self._write({"first": first, "count": count, "steps": steps, "batch": batch, "maps": maps})
        answer = self._pipe(self._process.stdout).readline()
        if not answer:
            raise RuntimeError(f"{self._log.stem} ended; the end of {self._log}:\n{self._log.read_text()[-2000:]}")
        return {name: float(seconds) for name, seconds in json.loads(answer).items()}

    def _write(self, message: dict[str, Any]) -> None:
        stdin = self._pipe(self._process.stdin)
        stdin.write(json.dumps(message) + "\n")
        stdin.flush()

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("the process has no pipes")
        return stream
