"""Interrupting the main thread: by an exception from any thread, or by a signal that asks the process to end.

An exception that is raised in the middle of foreign code may be wrapped or swallowed there: Beam turns a
KeyboardInterrupt into a RuntimeError. So an interrupted block raises the original exception, whatever its body raises.

The signal between threads is SIGURG, the only one of POSIX that is ignored by default and unused by terminals: one that
arrives after the block cannot end the process, and needs no lock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_WAKE = signal.SIGURG
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SAME_SECONDS = 0.5  # `timeout` and terminals send a signal twice: to the process, and to its group

_open: list[Interruption] = []  # of the main thread, the outermost first


class Interrupted(KeyboardInterrupt):
    """A signal asks the process to end: SIGINT, SIGTERM or SIGHUP."""


class Interruption:
    """A block that can be interrupted.

    Attributes:
        error: the exception that interrupted it, if any; the block raises it at its end.
    """

    def __init__(self, first: Callable[[], None]) -> None:
        """Takes a function that the main thread calls before any block interrupts it."""
        self.error: BaseException | None = None
        self._first = first
        self._raised = False

    def interrupt(self, error: BaseException) -> None:
        """Raises `error` in the main thread if that is in the block; may be called from any thread, at any time.

        A block of another thread continues, and raises `error` at its end. The first error counts.
        """
        self.error = self.error or error
        if self in _open:
            signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)


@contextlib.contextmanager
def interruptible(first: Callable[[], None] = lambda: None) -> Iterator[Interruption]:
    """Yields the `Interruption` of the block; blocks nest, and each can be interrupted from within an inner one.

    Args:
        first: called in the main thread before the block is interrupted; stops whatever the thread would wait for.
    """
    block = Interruption(first)
    if threading.current_thread() is not threading.main_thread():
        try:
            yield block
        finally:
            _end(block)
        return
    depth = len(_open)
    before = None if _open else signal.signal(_WAKE, _wake)
    try:
        try:
            _open.append(block)
            yield block
        finally:
            del _open[depth:]
    finally:  # once more, as an outer block may have been interrupted right before
        del _open[depth:]
        if before is not None:
            signal.signal(_WAKE, before)
        _end(block)


@contextlib.contextmanager
def ending_by_signals() -> Iterator[None]:
    """Ends the block with `Interrupted` on SIGINT, SIGTERM or SIGHUP; a second one kills the process.

    A signal that is already ignored, as under `nohup`, stays ignored. In threads other than the main one, nothing
    changes.

    Raises:
        Interrupted: one of the signals has arrived.
    """
    with interruptible() as block:
        if block not in _open:
            yield
            return
        arrived = 0.0

        def end(number: int, _: FrameType | None) -> None:
            nonlocal arrived
            if block.error is None:
                arrived = time.monotonic()
                block.error = Interrupted(signal.Signals(number).name)
                _interrupt()
            elif time.monotonic() - arrived > _SAME_SECONDS:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        before = {number: signal.getsignal(number) for number in _ENDING}
        ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
        try:
            for number in ours:
                signal.signal(number, end)
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])


def _wake(number: int, frame: FrameType | None) -> None:
    _interrupt()


def _interrupt() -> None:
    """Raises the error of the outermost interrupted block, once."""
    for block in list(_open):
        if block.error is not None and not block._raised:
            block._raised = True
            for inner in reversed(_open):
                inner._first()
            raise block.error


def _end(block: Interruption) -> None:
    if block.error is not None:
        raise block.error
