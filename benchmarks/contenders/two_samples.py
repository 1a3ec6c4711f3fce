"""A program that tells two samples apart, in a process and an environment of its own.

It imports nothing of ig-audit. Requests and answers are JSON, a line each; samples lie in `.npz` files:

    {"detector": "mmd", "reference": "FILE.npz", "candidate": "FILE.npz"}
    answered by  {"scores": [0.1, …], "seconds": 0.3}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sample:
    """Rows of a night.

    Attributes:
        labels: int `[rows]`.
        signed: what each cell says for or against the class, float32 `[rows, cells]`.
        absolute: each cell's share of the attribution, float32 `[rows, cells]`.
        scalars: float32 `[rows, scalars]`.
    """

    labels: np.ndarray
    signed: np.ndarray
    absolute: np.ndarray
    scalars: np.ndarray

    @classmethod
    def read(cls, path: str) -> Sample:
        """Returns the rows in a file."""
        with np.load(path) as arrays:
            return cls(*(arrays[name] for name in ("labels", "signed", "absolute", "scalars")))

    def write(self, path: str) -> None:
        """Writes the rows to a file."""
        np.savez(path, labels=self.labels, signed=self.signed, absolute=self.absolute, scalars=self.scalars)


Detector = Callable[[Sample, Sample], np.ndarray]
"""Reference and candidate → scores, float `[units]`; the larger, the more a unit (a class, or one of its columns) has
changed."""


def by_class(reference: np.ndarray, candidate: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the rows of each class of the reference, as masks, from the labels of both."""
    for code in np.unique(reference):
        yield reference == code, candidate == code


def serve(detectors: Mapping[str, Detector]) -> None:
    """Answers requests until the input ends. What libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        samples = [Sample.read(request[name]) for name in ("reference", "candidate")]
        start = time.perf_counter()
        scores = detectors[request["detector"]](*samples)
        seconds = time.perf_counter() - start
        print(json.dumps({"scores": np.asarray(scores, float).tolist(), "seconds": seconds}), file=answers)


class Client:
    """The asking end."""

    def __init__(self, module: str, python: str, folder: Path) -> None:
        """Starts `python -m benchmarks.contenders.MODULE`.

        Args:
            module: the program.
            python: the interpreter.
            folder: where samples and the error stream are written.
        """
        self._folder, self._log = folder, folder / f"{module}.log"
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        quiet |= dict.fromkeys(threads, "1")  # threads that wait for one another take five times as long
        with open(self._log, "wb") as errors:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.contenders.{module}"],
                cwd=ROOT,
                env={**os.environ, **quiet},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def scores(self, detector: str, reference: Sample, candidate: Sample) -> tuple[list[float], float]:
        """Returns a detector's scores, and the seconds that it took.

        Raises:
            RuntimeError: the program ended.
        """
        request = {"detector": detector}
        for name, sample in (("reference", reference), ("candidate", candidate)):
            request[name] = str(self._folder / f"{name}.npz")
            sample.write(request[name])
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._log.stem} ended; the end of {self._log}:\n{self._log.read_text()[-2000:]}")
        found = json.loads(answer)
        return found["scores"], found["seconds"]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
