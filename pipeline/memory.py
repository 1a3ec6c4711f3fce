"""How a process without a model gives memory back."""

from __future__ import annotations

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_BLOCK_BYTES = 1 << 18


def return_freed_blocks() -> None:
    """Makes freed blocks of 256 KiB and more go back to the system at once, where malloc is glibc's.

    Left alone, glibc raises that size to that of the largest block freed, up to 32 MiB, and keeps freed memory of twice
    that in each thread's arena; a launcher passes statistics between the stages of a local job in such blocks, by
    threads that come and go. Not for a process with a model: its step takes and frees large blocks all the time.
    """
    with contextlib.suppress(AttributeError):  # another libc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
