"""Freed blocks leave the process, which they don't where nobody asks for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import re, sys
from pathlib import Path
from pipeline.memory import return_freed_blocks

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

if sys.argv[1] == "asked":
    return_freed_blocks()
b"x" * (30 << 20)  # freed at once: from now on glibc takes blocks up to this size from its heap
blocks = [bytes([number]) * (1 << 20) for number in range(32)]
held = resident()
del blocks[:-1]
print(held - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc isn't glibc's")
@pytest.mark.parametrize(("asked", "returned"), [("asked", (28, 40)), ("left alone", (-4, 4))])
def test_freed_blocks_are_given_back_where_asked(asked, returned):
    told = subprocess.run([sys.executable, "-c", SCRIPT, asked], check=True, stdout=subprocess.PIPE, text=True).stdout
    low, high = returned
    assert low < float(told) < high
