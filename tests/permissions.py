"""Modes of files as users meet them, who are not root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION = 0x20080522
_OVERRIDE = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def obeyed() -> Iterator[None]:
    """Lets this thread, and those that it starts, read no file whose mode forbids it, while the block runs."""
    if os.geteuid():
        yield
        return
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of the upper 32
    if libc.capget(header, sets):
        raise OSError("capget failed")
    before, sets[0] = sets[0], sets[0] & ~_OVERRIDE
    try:
        if libc.capset(header, sets):
            raise OSError("capset failed")
        yield
    finally:
        sets[0] = before
        libc.capset(header, sets)
