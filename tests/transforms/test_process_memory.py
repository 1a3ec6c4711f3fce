"""Freed blocks leave a process that returns them, and stay in one that keeps them, or does not ask."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import re, sys
from pathlib import Path
from transforms import process

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

for function in sys.argv[1:]:
    getattr(process, function)()
b"x" * (30 << 20)  # freed at once: from now on glibc takes blocks up to this size from its heap
blocks = [bytes([number]) * (1 << 20) for number in range(32)]
held = resident()
del blocks[:-1]
print(held - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
@pytest.mark.parametrize(
    ("functions", "returned"),
    [
        (["return_freed"], (28, 40)),
        (["keep_freed"], (-4, 4)),
        (["return_freed", "keep_freed"], (-4, 4)),  # a worker before and after it has loaded its model
        ([], (-4, 4)),
    ],
)
def test_freed_blocks_leave_a_process_that_returns_them(functions, returned):
    told = subprocess.run([sys.executable, "-c", SCRIPT, *functions], check=True, stdout=subprocess.PIPE, text=True)
    low, high = returned
    assert low < float(told.stdout) < high
