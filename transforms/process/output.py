"""Standard output and error that never end a command, whatever is printed and even if nobody reads it."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def steady_output() -> Iterator[None]:
    """Makes printing always succeed: escapes characters that the encoding lacks, discards output without a reader.

    Streams that are not those of the process, such as those of a test or a notebook, only escape.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _steady(sys.stdout, sys.__stdout__), _steady(sys.stderr, sys.__stderr__)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed by whoever started the process
                stream.flush()
        sys.stdout, sys.stderr = before


def _steady(stream: TextIO, original: TextIO | None) -> TextIO:
    if stream is not None and stream is original:
        stream.flush()
        raw = _ForgivingFile(stream.fileno(), "wb", closefd=False)
        buffered = io.BufferedWriter(raw)
        return io.TextIOWrapper(
            buffered, stream.encoding, "backslashreplace", line_buffering=stream is sys.__stderr__ or raw.isatty()
        )
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


class _ForgivingFile(io.FileIO):
    """A file that discards its data once the reader is gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes
