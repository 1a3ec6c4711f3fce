"""What becomes of freed memory. What is said of the C library holds for glibc; others are left alone.

Left alone, glibc maps each block of more than 128 KiB anew, until one is freed: from then on blocks of its size, up to
32 MiB, come from a heap, which keeps what is freed. Threads have heaps of their own, up to eight for each core.
"""

from __future__ import annotations

import ctypes
import platform

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)
_ALL = 2**31 - 1
_LARGE = 1 << 18
_MOST_BEFORE = 1 << 25  # to what some versions of glibc limit the size of blocks from the heap


def keep_freed() -> None:
    """Keeps freed memory for the next batch: for a process with a model.

    A gradient step allocates hundreds of tensors of megabytes: faulting their pages in again cost a tenth to a third of
    the time, and the threads' heaps 0.4 GB.
    """
    _set(_ALL)


def return_freed() -> None:
    """Returns freed blocks of 256 KiB and more to the system at once: for a process without a model.

    The launcher of a local job passes statistics between stages in blocks of many megabytes, by threads that come and
    go: what their heaps kept was a third of its memory. Arrow's own pool keeps what threads freed, too: it is not used.
    """
    _set(_LARGE)
    pa.set_memory_pool(pa.system_memory_pool())


def trim() -> None:
    """Returns all that is free now to the system."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _set(threshold: int) -> None:
    if _is_glibc():
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_M_MMAP_THRESHOLD, threshold), (_M_TRIM_THRESHOLD, threshold), (_M_ARENA_MAX, 1)):
            mallopt(parameter, value) or mallopt(parameter, min(value, _MOST_BEFORE))


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
