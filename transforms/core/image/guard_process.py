"""The guard process: decodes one image after another, so that a hostile one can crash only this process.

A decoder that crashes, hangs or allocates without limit does it here. The process imports NumPy, Pillow and the
decoder, neither TensorFlow nor Beam, so that it starts in a fraction of a second. `guard` starts it and sends it
requests over pipes, in frames of fixed headers and counted bytes: nothing is unpickled on either side. It ends
with its parent, however that ends: at the end of its input, when another process has become its parent, and,
while it decodes, by an alarm that the system delivers.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import select
import signal
import struct
import sys
from types import ModuleType

import numpy as np
import PIL.AvifImagePlugin
import PIL.Image
import PIL.PngImagePlugin

from transforms.core.image.decoding import Decoding
from transforms.core.vocabulary import RESIZES

REQUEST = struct.Struct("<?4IBQI3B?2dQ")
"""Whether it is a mask; output height and width; height and width of a mask's image; then of the decoding: index in
RESIZES, the most pixels, channels, red, green and blue behind transparent pixels, whether there is a range of values,
and that range; the number of bytes."""

REPLY = struct.Struct("<?2IQ")
"""Whether it was decoded; height and width of the original; bytes of the pixels (float32, or bool for a mask) or of the
error message."""


def request(mask: bool, size: tuple[int, int], extent: tuple[int, int], how: Decoding, length: int) -> bytes:
    """Returns the head of a request for `length` bytes, which follow."""
    low, high = how.value_range or (0.0, 0.0)
    ranged, resize = how.value_range is not None, RESIZES.index(how.resize)
    return REQUEST.pack(
        mask, *size, *extent, resize, how.max_pixels, how.channels, *how.alpha_color, ranged, low, high, length
    )


READY = b"+"
TOO_LARGE = "takes more memory to decode than is allowed"

_LOOK_SECONDS = 5.0
_TEXT_BYTES = 2000


def main(arguments: list[str]) -> None:
    """Answers requests until there are no more.

    Args:
        arguments: name of the module with `decode` and `decode_mask`; time limit per image in seconds; bytes by which
            the process may grow; process id of the parent.
    """
    name, seconds, memory, parent = arguments
    decoder = importlib.import_module(name)
    pipes = os.dup(0), os.dup(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even from within a loop in C
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    _limit(int(memory))
    _lift_pillows_limits(int(memory))
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone
        os.write(pipes[1], READY)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):  # decoders print to standard error
            os.dup2(nowhere, descriptor)
        while True:
            _wait(pipes[0], int(parent))
            _answer(decoder, *pipes, float(seconds))


def _limit(memory: int) -> None:
    """Keeps this process from growing by more than `memory` bytes, and from leaving a core file.

    Memory is limited on Linux only: no other system enforces such a limit, and there is none then.

    Raises:
        OSError: Linux does not report how large the process is.
    """
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as stream:
            now = int(stream.read().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, now + memory)


def _lower(kind: int, most: int) -> None:
    """Lowers a soft limit to `most`; a lower one stays unchanged, and so does the hard limit."""
    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(kind, (most, hard))


def _lift_pillows_limits(memory: int) -> None:
    """Lifts Pillow's own limits: the caller's `max_pixels` and the `memory` of this process apply instead.

    AVIF is decoded by one thread: each thread takes address space, however small the picture is.
    """
    PIL.Image.MAX_IMAGE_PIXELS = None
    PIL.AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    PIL.PngImagePlugin.MAX_TEXT_CHUNK = PIL.PngImagePlugin.MAX_TEXT_MEMORY = memory


def _wait(pipe: int, parent: int) -> None:
    """Returns when there is a request.

    A child of the parent may hold the pipe open for longer than the parent lives.
    """
    while not select.select([pipe], [], [], _LOOK_SECONDS)[0]:
        if os.getppid() != parent:
            raise EOFError


def _answer(decoder: ModuleType, requests: int, replies: int, seconds: float) -> None:
    mask, size, extent, how, length = parse_request(_read(requests, REQUEST.size))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    data = _read(requests, length)
    original = (0, 0)
    try:
        if mask:
            array = decoder.decode_mask(data, extent, size, how)
        else:
            pixels = decoder.decode(data, size, how)
            array, original = pixels.array, (pixels.height, pixels.width)
        done, content = True, np.ascontiguousarray(array).data.cast("B")
    except MemoryError:
        done, content = False, memoryview(TOO_LARGE.encode())
    except decoder.DecodeError as error:
        done, content = False, memoryview(str(error).encode("utf-8", "backslashreplace")[:_TEXT_BYTES])
    _write(replies, REPLY.pack(done, *original, len(content)))
    _write(replies, content)
    signal.setitimer(signal.ITIMER_REAL, 0)


def parse_request(head: bytes) -> tuple[bool, tuple[int, int], tuple[int, int], Decoding, int]:
    """Returns what `request` was given."""
    mask, *sides, resize, max_pixels, channels, red, green, blue, ranged, low, high, length = REQUEST.unpack(head)
    how = Decoding(RESIZES[resize], max_pixels, channels, (red, green, blue), (low, high) if ranged else None)
    return mask, (sides[0], sides[1]), (sides[2], sides[3]), how, length


def _read(pipe: int, length: int) -> bytes:
    """Returns exactly `length` bytes.

    Raises:
        EOFError: there are fewer.
    """
    data = bytearray(length)
    left = memoryview(data)
    while left:
        count = os.readv(pipe, [left])
        if not count:
            raise EOFError
        left = left[count:]
    return bytes(data)


def _write(pipe: int, data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(pipe, left) :]


if __name__ == "__main__":
    main(sys.argv[1:])
