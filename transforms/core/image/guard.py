"""Decoding in guard processes, so that a hostile image costs no more than itself: `decode` and `decode_mask`.

An image that crashes its decoder, or takes too much time or memory, raises a DecodeError, and the next image has
a fresh process. Pixels are those of `decode`, bit for bit. `guard_process` runs in the guard process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np

from transforms.core.image import guard_process
from transforms.core.image.decoding import DecodeError, Decoding
from transforms.core.record import Pixels
from transforms.core.vocabulary import DECODE_BYTES, DECODE_BYTES_A_PIXEL, DECODE_SECONDS, MAX_PIXELS

_GRACE = 5.0
_START_SECONDS = 120.0
_PIPE_BYTES = 1 << 20
_START = (
    "import sys; sys.path[:] = sys.argv[5:]; from transforms.core.image.guard_process import main; main(sys.argv[1:5])"
)


class Guards:
    """Decodes in guard processes, which are started when needed and reused for the next images.

    Safe to call from several threads. A process forked from this one starts guards of its own.
    """

    def __init__(
        self,
        most: int,
        how: Decoding = Decoding(),
        seconds: float | None = None,
        memory: int | None = None,
        decoder: str = "transforms.core.image.decode",
    ) -> None:
        """Starts nothing yet.

        Args:
            most: the most guards that run simultaneously.
            how: how pictures become pixels.
            seconds: time limit for an image; None derives it from `max_pixels`.
            memory: bytes by which a guard may grow; None derives them from `max_pixels`.
            decoder: module whose `decode` and `decode_mask` the guards call.
        """
        self._how = how
        self._seconds = DECODE_SECONDS * max(1.0, how.max_pixels / MAX_PIXELS) if seconds is None else seconds
        limit = DECODE_BYTES + DECODE_BYTES_A_PIXEL * how.max_pixels if memory is None else memory
        self._arguments = [decoder, str(self._seconds), str(limit)]
        self._turns = threading.BoundedSemaphore(most)
        self._idle: list[_Guard] = []
        weakref.finalize(self, _close, self._idle)  # at exit of the interpreter too

    def decode(self, data: bytes, size: tuple[int, int]) -> Pixels:
        """Returns what `decode.decode` returns.

        Raises:
            DecodeError: as there; or decoding crashed, or took too long or too much memory.
            RuntimeError: no guard can be started.
        """
        head = guard_process.request(False, size, (0, 0), self._how, len(data))
        array = np.empty((*size, self._how.channels), np.float32)
        height, width = self._ask(head, data, array)
        return Pixels(array, height, width)

    def decode_mask(self, data: bytes, extent: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Returns what `decode.decode_mask` returns.

        Raises:
            DecodeError: as there; or decoding crashed, or took too long or too much memory.
            RuntimeError: no guard can be started.
        """
        head = guard_process.request(True, size, extent, self._how, len(data))
        array = np.empty(size, np.uint8)
        try:
            self._ask(head, data, array)
        except DecodeError as error:
            text = str(error)
            raise DecodeError(text if text.startswith("mask: ") else f"mask: {text}") from error
        return array != 0

    def close(self) -> None:
        """Ends the guards; a later call starts new ones."""
        _close(self._idle)

    def _ask(self, head: bytes, data: bytes, array: np.ndarray) -> tuple[int, int]:
        """Fills `array`; returns height and width of the original.

        After a crash the image is retried once: the system, short of memory, may have killed the process.
        """
        with self._turns:
            for last in (False, True):
                guard = self._take()
                try:
                    answer = guard.ask(head, data, array, self._seconds + _GRACE)
                except _EndedError as error:
                    hung = error.signal == signal.SIGALRM
                    if hung or last:
                        why = f"took more than {self._seconds:g} s" if hung else f"crashed ({error})"
                        raise DecodeError(f"decoding it {why}") from error
                else:
                    self._idle.append(guard)
                    break
        if isinstance(answer, str):
            raise DecodeError(answer)
        return answer

    def _take(self) -> _Guard:
        """Returns a guard that no other thread uses."""
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                guard = self._idle.pop()
                if guard.ours and guard.alive:
                    return guard
                guard.end()
        return _Guard(self._arguments)


def _close(guards: list[_Guard]) -> None:
    while guards:
        with contextlib.suppress(IndexError):
            guards.pop().end()


class _EndedError(Exception):
    """A guard has ended; `signal` is the signal that killed it, 0 if none did."""

    def __init__(self, code: int) -> None:
        self.signal = max(0, -code)
        super().__init__(signal.Signals(self.signal).name if self.signal else f"exit code {code}")


class _Guard:
    """One guard process, and the pipes to it."""

    def __init__(self, arguments: list[str]) -> None:
        paths = [path for path in (*sys.path, str(Path(__file__).resolve().parents[3])) if path]
        self._owner = os.getpid()
        # -I: only this process's sys.path; no threads, as a guard decodes one image at a time.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *arguments, str(self._owner), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a guard process without pipes")
        self._requests, self._replies = self._process.stdin, self._process.stdout
        for pipe in (self._requests, self._replies):
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(AttributeError, OSError):  # Linux only; refused beyond the user's quota
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._receive(memoryview(bytearray(len(guard_process.READY))), time.monotonic() + _START_SECONDS)
        except (EOFError, OSError) as error:
            raise RuntimeError(f"a guard process for decoding cannot be started: {self.end()}") from error

    @property
    def ours(self) -> bool:
        """Whether this process started it, rather than the process that it was forked from."""
        return self._owner == os.getpid()

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.poll() is None

    def ask(self, head: bytes, data: bytes, array: np.ndarray, seconds: float) -> tuple[int, int] | str:
        """Fills `array` and returns height and width of the original, or returns the reason of a failure.

        Raises:
            _EndedError: the guard ended, or was killed because its answer was malformed or late.
        """
        deadline = time.monotonic() + seconds
        try:
            self._send(head, deadline)
            self._send(data, deadline)
            reply = bytearray(guard_process.REPLY.size)
            self._receive(memoryview(reply), deadline)
            done, height, width, length = guard_process.REPLY.unpack(reply)
            if not done:
                text = bytearray(min(length, 1 << 16))
                self._receive(memoryview(text), deadline)
                return text.decode("utf-8", "replace")
            if length != array.nbytes:
                raise EOFError
            self._receive(array.data.cast("B"), deadline)
            return height, width
        except TimeoutError as error:  # its own alarm did not fire
            self.end(kill=True)
            raise _EndedError(-signal.SIGALRM) from error
        except (EOFError, OSError) as error:
            raise _EndedError(self.end(kill=False)) from error
        except BaseException:  # its pending answer would be taken for the answer to the next request
            self.end(kill=True)
            raise

    def end(self, kill: bool = False) -> int:
        """Ends the process, reaps it, and returns its exit code; a process started by another one is left alone."""
        self._requests.close()
        self._replies.close()
        if not self.ours:
            self._process.returncode = 0  # otherwise Popen would warn
            return 0
        if kill:
            self._process.kill()
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            _await(self._requests.fileno(), select.POLLOUT, deadline)
            left = left[os.write(self._requests.fileno(), left) :]

    def _receive(self, left: memoryview, deadline: float) -> None:
        while left:
            _await(self._replies.fileno(), select.POLLIN, deadline)
            count = os.readv(self._replies.fileno(), [left])
            if not count:
                raise EOFError
            left = left[count:]


def _await(pipe: int, event: int, deadline: float) -> None:
    """Returns when `pipe` can be read or written, or its other end is closed.

    Raises:
        TimeoutError: neither happened before `deadline`.
    """
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1e3):
        raise TimeoutError
