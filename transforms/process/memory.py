"""Whether freed memory is kept or returned to the system; glibc's settings, without effect on other C libraries.

By default, glibc maps each block of more than 128 KiB anew until one is freed: from then on, blocks of its size, up to
32 MiB, come from a heap, which keeps freed blocks. Threads have heaps of their own, up to eight for each core.
"""

from __future__ import annotations

import ctypes
import platform

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)
_ALL = 2**31 - 1
_LARGE = 1 << 18
_MOST_BEFORE = 1 << 25  # the limit of some versions of glibc to the size of blocks from the heap


def keep_freed() -> None:
    """Keeps freed memory for the next batch: for a process with a model.

    A gradient step allocates hundreds of tensors of megabytes: faulting their pages in again cost a tenth to a third of
    the time, and the heaps of the threads cost 0.4 GB.
    """
    _set(_ALL)


def return_freed() -> None:
    """Returns freed blocks of 256 KiB and more to the system immediately: for a process without a model.

    The launcher of a local job passes statistics between stages in blocks of many megabytes, in short-lived threads:
    the blocks that their heaps kept were a third of its memory. Arrow's own pool keeps freed blocks too: it is unused.
    """
    _set(_LARGE)
    pa.set_memory_pool(pa.system_memory_pool())


def trim() -> None:
    """Returns all memory that is free now to the system."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _set(threshold: int) -> None:
    if _is_glibc():
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_M_MMAP_THRESHOLD, threshold), (_M_TRIM_THRESHOLD, threshold), (_M_ARENA_MAX, 1)):
            mallopt(parameter, value) or mallopt(parameter, min(value, _MOST_BEFORE))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
