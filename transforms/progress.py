"""Meter and Gauge: the progress of a run on this machine, shared by threads and processes through a folder.

Beam shows its counters only when a local runner has finished, and a part file appears only when its chunk has. So
each process appends its counts to a file of its own, and the launcher adds them up.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from transforms.core.errors import JobError

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Progress:
    """The progress of a run, in images.

    Attributes:
        planned: to be done.
        attributed: done by this run.
        failed: recorded as errors by this run.
        resumed: of chunks that an interrupted run had finished.
        reused: of chunks whose parts were taken from another run.
        unsampled: passed over, as they are not in the sample.
    """

    planned: int
    attributed: int
    failed: int
    resumed: int
    reused: int = 0
    unsampled: int = 0

    @property
    def done_here(self) -> int:
        """Images that this start of the run has finished with."""
        return self.attributed + self.failed + self.unsampled

    @property
    def done(self) -> int:
        """Images that need no more work, whoever did it."""
        return self.done_here + self.resumed + self.reused


@dataclass(frozen=True)
class Meter:
    """Counts images into `folder`; does nothing if `folder` is empty (workers elsewhere).

    The launcher deletes the folder however the job ends: a thread or process that still works stops then.
    """

    folder: str = ""

    def check(self) -> None:
        """Checks that the job has not ended; to be called before work is begun or written.

        Raises:
            JobError: it has ended.
        """
        if self.folder and not os.path.isdir(self.folder):
            raise JobError("the job has ended meanwhile")

    def add(
        self,
        planned: int = 0,
        attributed: int = 0,
        failed: int = 0,
        resumed: int = 0,
        reused: int = 0,
        unsampled: int = 0,
    ) -> None:
        """Adds to the counts."""
        if self.folder:
            line = f"{planned} {attributed} {failed} {resumed} {reused} {unsampled}\n"
            self.check()
            with _LOCK, open(os.path.join(self.folder, str(os.getpid())), "a", encoding="ascii") as stream:
                stream.write(line)


class Gauge:
    """Reads a meter, each line of it once."""

    def __init__(self, meter: Meter) -> None:
        """Takes the meter to read."""
        self._folder = meter.folder
        self._ends: dict[str, int] = {}
        self._totals = [0] * 6

    def read(self) -> Progress:
        """Returns the counts of all processes so far."""
        for name in os.listdir(self._folder) if os.path.isdir(self._folder) else ():
            with open(os.path.join(self._folder, name), "rb") as stream:
                stream.seek(self._ends.get(name, 0))
                whole, newline, _ = stream.read().rpartition(b"\n")
                self._ends[name] = self._ends.get(name, 0) + len(whole + newline)
            for line in whole.splitlines():
                self._totals = [total + int(count) for total, count in zip(self._totals, line.split(), strict=True)]
        return Progress(*self._totals)
