"""Lets a job end in a line when one of its worker processes dies, or fails.

What a worker process raises arrives as the text of a trace, whatever the runner. Beam's FnApiRunner notices most
deaths, and every thread of it tells a trace. A worker that dies before its data channel is open, or after its last
output, it waits for without an end.
"""

from __future__ import annotations

import contextlib
import itertools
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
_TRACE = "Traceback (most recent call last):"
_STEP = " [while running "
_NO_THREAD = "can't start new thread"
_STARTER = "run_worker"  # Beam's thread that starts a worker process and raises where that fails
_SIGNAL = signal.SIGUSR1
_WATCHERS = (
    "apache_beam.runners.common",
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
    "apache_beam.runners.portability.local_job_service",  # tells again what workers told
)


class _DeadWorkerError(RuntimeError):
    """What the waiting main thread is woken with."""


@contextlib.contextmanager
def told_plainly(local: bool) -> Iterator[None]:
    """Ends the block with one line where a worker process failed or, in a `local` job, died.

    A death is told at the latest after `PATIENCE_SECONDS`; only in the main thread can a wait be ended. With
    IG_AUDIT_DEBUG set Beam's traces are shown.

    Raises:
        RuntimeError: a worker process failed or died.
    """
    with contextlib.ExitStack() as watching:
        if local:
            watching.enter_context(_quiet(bool(os.environ.get("IG_AUDIT_DEBUG"))))
            watching.enter_context(_woken_up())
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, _DeadWorkerError) or (local and _NOTICED in str(error)):
                raise RuntimeError(_MESSAGE) from error
            if _TRACE in str(error):
                raise RuntimeError(_last_words(str(error))) from error
            raise


def _last_words(trace: str) -> str:
    """Returns the message of the last exception in the text of a trace, after which a runner may tell its own."""
    *_, last = trace.split(_TRACE)
    lines = itertools.dropwhile(_leads_there, last.splitlines())
    words = "\n".join(itertools.takewhile(lambda line: not _leads_there(line), lines)).partition(_STEP)[0]
    words = words.removeprefix("RuntimeError: ")  # Beam puts it before what it can't build again
    words = words.replace(_NO_THREAD, f"{_NO_THREAD}: out of memory, or of processes")
    return f"a worker failed: {words}; IG_AUDIT_DEBUG=1 shows where, the same command with --resume goes on"


def _leads_there(line: str) -> bool:
    return not line or line[0].isspace()


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
