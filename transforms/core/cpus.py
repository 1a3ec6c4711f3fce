"""How many processors this process may use: not those of the machine, of which it may have been given a few."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Returns the number of processors that this process may use, by its affinity and the quotas of its cgroups."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # on other systems than Linux
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min([allowed, *_quotas()])))


def _quotas() -> list[float]:
    """Returns the processors' worth of time that each cgroup (version 2) above this process allows it."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    found = []
    for own in (line.removeprefix("0::/") for line in lines if line.startswith("0::/")):
        for group in (_GROUPS / own, *(_GROUPS / parent for parent in Path(own).parents)):
            try:
                quota, period = (group / "cpu.max").read_text().split()
                found.append(int(quota) / int(period))
            except (OSError, ValueError, ZeroDivisionError):  # not there, or `max`
                continue
    return found
