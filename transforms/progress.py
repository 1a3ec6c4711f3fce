"""Meter: how far a run on this machine is, told across threads and processes through a folder.

Beam shows its counters only when a local runner is done, and a part file only when its chunk is. So
each process appends what it did to a file of its own, and the launcher adds them up.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Progress:
    """What a run has done so far, in images."""

    planned: int
    attributed: int
    failed: int
    resumed: int


@dataclass(frozen=True)
class Meter:
    """Counts images into `folder`; does nothing where `folder` is empty (workers elsewhere)."""

    folder: str = ""

    def add(self, planned: int = 0, attributed: int = 0, failed: int = 0, resumed: int = 0) -> None:
        """Adds to the counts."""
        if self.folder:
            line = f"{planned} {attributed} {failed} {resumed}\n"
            with _LOCK, open(os.path.join(self.folder, str(os.getpid())), "a", encoding="ascii") as stream:
                stream.write(line)

    def read(self) -> Progress:
        """Returns the counts of all processes."""
        totals = [0, 0, 0, 0]
        for name in os.listdir(self.folder) if self.folder else ():
            with open(os.path.join(self.folder, name), encoding="ascii") as stream:
                for line in stream:
                    if line.endswith("\n"):
                        totals = [total + int(count) for total, count in zip(totals, line.split(), strict=True)]
        return Progress(*totals)
