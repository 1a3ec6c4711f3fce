"""The processors that this process may use, which can be fewer than the machine has, and what they can do."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_PROCESSORS = Path("/proc/cpuinfo")
_DECIDING = ("vendor_id", "model name", "flags", "CPU part", "Features")
"""Fields of the first processor, on x86 and on ARM."""


def usable_cpus() -> int:
    """Returns the number of processors that this process may use, by its affinity and the quotas of its cgroups."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # on systems other than Linux
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min([allowed, *_quotas()])))


def processor_features() -> str:
    """Returns what decides how this machine's processors round: their architecture, model and instructions."""
    try:
        text = _PROCESSORS.read_text(errors="replace").partition("\n\n")[0]
    except OSError:  # on systems other than Linux
        text = ""
    fields = dict(line.partition(":")[::2] for line in text.splitlines())
    known = {name.strip(): value.strip() for name, value in fields.items()}
    return " ".join([platform.system(), platform.machine(), *(known.get(name, "") for name in _DECIDING)])


def _quotas() -> list[float]:
    """Returns the CPU quota, in processors, of each cgroup (version 2) that contains this process."""
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
            except (OSError, ValueError, ZeroDivisionError):  # no such file, or `max`
                continue
    return found
