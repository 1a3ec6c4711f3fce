"""Lets a local job end in a line when one of its worker processes dies.

Beam's FnApiRunner notices most deaths, and every thread of it tells a trace. A worker that dies before its data channel
is open, or after its last output, it waits for without an end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

PATIENCE_SECONDS = 20.0
"""How long Beam is given to notice by itself."""

_MESSAGE = (
    "a worker process ended in the middle of its work: killed, or out of memory; the same command with --resume goes on"
)
_NOTICED = "Channel closed prematurely"
_STARTER = "run_worker"  # Beam's thread that starts a worker process and raises where that fails
_SIGNAL = signal.SIGUSR1
_WATCHERS = (
    "apache_beam.runners.common",
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
)


class _DeadWorkerError(RuntimeError):
    """What the waiting main thread is woken with."""


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Ends the block with one line where a worker process died, at the latest after `PATIENCE_SECONDS`.

    Only in the main thread can a wait be ended. With IG_AUDIT_DEBUG set Beam's traces are shown.

    Raises:
        RuntimeError: a worker process died.
    """
    with _quiet(bool(os.environ.get("IG_AUDIT_DEBUG"))), _woken_up():
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, _DeadWorkerError) or _NOTICED in str(error):
                raise RuntimeError(_MESSAGE) from error
            raise


@contextlib.contextmanager
def _woken_up() -> Iterator[None]:
    """Wakes the main thread when a worker died and the block still isn't done some time later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    done, sending = threading.Event(), threading.Lock()  # a signal sent after the block would end the process
    hook, handler = threading.excepthook, signal.signal(_SIGNAL, _raise)

    def watch(arguments: threading.ExceptHookArgs) -> None:
        hook(arguments)
        if arguments.thread and arguments.thread.name == _STARTER and not done.wait(PATIENCE_SECONDS):
            with sending:
                if not done.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)

    threading.excepthook = watch
    try:
        yield
    finally:
        with sending:
            done.set()
        threading.excepthook = hook
        signal.signal(_SIGNAL, handler)


@contextlib.contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    if debug:
        yield
        return
    loggers, hook = [logging.getLogger(name) for name in _WATCHERS], threading.excepthook
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    threading.excepthook = lambda _: None
    try:
        yield
    finally:
        threading.excepthook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _raise(number: int, frame: FrameType | None) -> None:
    raise _DeadWorkerError(_MESSAGE)
