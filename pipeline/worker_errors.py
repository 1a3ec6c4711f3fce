"""Ends a job with a one-line error if one of its worker processes dies or fails.

An exception of a worker process arrives as the text of a traceback, with any runner; an exception of a worker in this
process, with Beam's step in its message. Beam's FnApiRunner detects most deaths, and each of its threads prints a
traceback. If a worker dies before its data channel is open, or after its last output, the runner waits forever.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Iterator

import grpc

from transforms import process
from transforms.core.errors import JobError, UsageError

PATIENCE_SECONDS = 20.0
"""How long Beam may take to detect a death by itself."""

WORKER = "apache_beam.runners.worker.sdk_worker_main"
"""The module that Beam's worker processes run, which is in their command lines."""

_MESSAGE = (
    "a worker process ended in the middle of its work: killed, or out of memory; the same command with --resume "
    "continues"
)
_NOTICED = "Channel closed prematurely"
_TRACE = "Traceback (most recent call last):"
_STEP = " [while running "
_NO_THREAD = "can't start new thread"
_STARTER = "run_worker"  # Beam's thread that starts a worker process and raises if that fails
_STARTERS_SECONDS = 5.0
_ITS_THREADS = ("apache_beam", "grpc")
_FAULT = re.compile(
    r"(Assertion|Attribute|Index|Key|Name|NotImplemented|Recursion|Type|UnboundLocal|Value|ZeroDivision)Error\b"
)
_WATCHERS = (
    "apache_beam.runners.common",
    "apache_beam.runners.worker.data_plane",
    "apache_beam.runners.portability.fn_api_runner.worker_handlers",
    "apache_beam.runners.portability.local_job_service",  # repeats what workers report
)


@contextlib.contextmanager
def plain_errors(local: bool) -> Iterator[None]:
    """Ends the block with a one-line error if a worker process failed or, in a `local` job, died.

    A death is reported after `PATIENCE_SECONDS` at the latest, but only the main thread can be interrupted. Before a
    local job is interrupted, its worker processes are killed, since Beam would wait for their work. If IG_AUDIT_DEBUG
    is set, Beam's tracebacks are shown.

    Raises:
        JobError: a worker failed or died, or the runner did.
    """
    try:
        with _watched() if local else contextlib.nullcontext():
            yield
    except (OSError, MemoryError, RuntimeError) as error:
        raise JobError(_words(error, local)) from error
    except grpc.FutureTimeoutError as error:  # has no message of its own
        raise JobError("no job server answered: is it running, and is --job_endpoint its address?") from error
    except Exception as error:
        if _STEP not in _text(error):
            raise
        raise JobError(_words(error, local)) from error


def _words(error: Exception, local: bool) -> str:
    text = _text(error)
    if local and _NOTICED in text:
        return _MESSAGE
    if _TRACE in text:
        return _last_words(text)
    if _STEP in text:
        ours = isinstance(error, JobError | UsageError) or type(error) is RuntimeError
        return _failed(text if ours else f"{type(error).__name__}: {text}")
    return f"{text or type(error).__name__}; the same command with --resume continues"


def _text(error: Exception) -> str:
    """Returns the message; `str` of a KeyError would add quotes."""
    return error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else str(error)


def _last_words(trace: str) -> str:
    """Returns the message of the last exception in the text of a traceback, which a runner's text may follow."""
    *_, last = trace.split(_TRACE)
    lines = itertools.dropwhile(_leads_there, last.splitlines())
    return _failed("\n".join(itertools.takewhile(lambda line: not _leads_there(line), lines)))


def _failed(text: str) -> str:
    words = text.partition(_STEP)[0].removeprefix("RuntimeError: ")  # Beam's prefix of what it cannot rebuild
    words = re.sub(rf"^{JobError.__module__}\.\w+: ", "", words)
    words = words.replace(_NO_THREAD, f"{_NO_THREAD}: out of memory, or of processes")
    why = ", by a fault of ig-audit" if _FAULT.match(words) else ""
    return f"a worker failed{why}: {words}; IG_AUDIT_DEBUG=1 shows where, the same command with --resume continues"


def _leads_there(line: str) -> bool:
    return not line or line[0].isspace()


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Interrupts the main thread if a worker died and the block does not end soon after; hides Beam's tracebacks."""
    quiet = not os.environ.get("IG_AUDIT_DEBUG")
    timers: list[threading.Timer] = []
    with process.interruptible(lambda: process.end_processes(WORKER)) as block:

        def handle(arguments: threading.ExceptHookArgs) -> bool:
            if arguments.thread and arguments.thread.name == _STARTER and waits:
                timers.append(threading.Timer(PATIENCE_SECONDS, block.interrupt, [JobError(_MESSAGE)]))
                timers[-1].daemon = True
                timers[-1].start()
            return quiet and _is_beams(arguments)

        waits = threading.current_thread() is threading.main_thread()
        with process.thread_errors(handle), _quiet_loggers() if quiet else contextlib.nullcontext():
            try:
                yield
            except BaseException:
                _await_starters()  # whose errors are those of the workers that were ended
                raise
            finally:
                for timer in timers:
                    timer.cancel()


def _await_starters() -> None:
    """Waits a few seconds for Beam's threads that start workers, or a late error would be printed as a traceback."""
    end = time.monotonic() + _STARTERS_SECONDS
    for thread in threading.enumerate():
        if thread.name == _STARTER and thread is not threading.current_thread():
            thread.join(max(0.0, end - time.monotonic()))


def _is_beams(arguments: threading.ExceptHookArgs) -> bool:
    """Returns whether the thread runs Beam's code: whether its first frame, after those of `threading`, is Beam's."""
    trace = arguments.exc_traceback
    while trace and trace.tb_frame.f_globals.get("__name__") == threading.__name__:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return module.partition(".")[0] in _ITS_THREADS


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _WATCHERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
