"""Errors that end a thread, and the processes below this one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def thread_errors(handle: Callable[[threading.ExceptHookArgs], bool]) -> Iterator[None]:
    """Passes errors that end a thread during the block to `handle`; those for which it returns False are reported."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not handle(arguments):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def descendants(pid: int | None = None) -> list[int]:
    """Returns the ids of the processes below process `pid`, or below this one; parents before their children.

    Empty on a system without /proc.
    """
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):  # not a process, or no longer one
            with open(f"/proc/{int(name)}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = [os.getpid() if pid is None else pid]
    for process in found:
        found.extend(children.get(process, ()))
    return found[1:]


def end_processes(command: str) -> None:
    """Kills the processes below this one whose command line contains `command`, and all below them."""
    roots = [pid for pid in descendants() if command in _command_line(pid)]
    for pid in [process for root in roots for process in (root, *descendants(root))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
