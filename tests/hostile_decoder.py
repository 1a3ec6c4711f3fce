"""Stands for the decoder in a guard process: does what the first word of the bytes says, else decodes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import numpy as np

from transforms.core.image import decode as real
from transforms.core.image.decode import DecodeError, Decoding
from transforms.core.record import Pixels

__all__ = ["DecodeError", "decode", "decode_mask"]


def decode(data: bytes, size: tuple[int, int], how: Decoding) -> Pixels:
    word, _, rest = data.partition(b" ")
    if word == b"loop":
        while True:
            pass
    if word == b"sleep":  # within C, all signals but those of the system blocked
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        ctypes.CDLL(None).sleep(600)
    if word == b"segv":
        ctypes.string_at(0)
    if word == b"abort":
        os.abort()
    if word == b"exit":
        os._exit(3)
    if word == b"once":  # is killed from outside the first time: the rest is a file that remembers
        if not os.path.exists(rest):
            open(rest, "wb").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return Pixels(np.full([*size, 3], 0.5, np.float32), *size)
    if word == b"grow":
        kept = []
        while True:
            kept.append(bytearray(1 << 20))
    if word == b"raise":
        raise RuntimeError("a fault of the decoder itself")
    if word == b"small":
        return Pixels(np.zeros([1, 1, 3], np.float32), 1, 1)
    if word == b"deaf":  # does not end by its own alarm
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            pass
    if word == b"print":
        print("to the pipe, if it could", flush=True)
        os.write(1, b"x" * 100)
        sys.stderr.write("noise")
        data = rest
    if word == b"pid":
        return Pixels(np.zeros([*size, 3], np.float32), os.getpid(), 1)
    return real.decode(data, size, how)


def decode_mask(data: bytes, extent: tuple[int, int], size: tuple[int, int], how: Decoding) -> np.ndarray:
    if data.startswith(b"segv"):
        ctypes.string_at(0)
    return real.decode_mask(data, extent, size, how)
