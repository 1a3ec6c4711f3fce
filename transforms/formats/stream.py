"""A shard as a stream of exact reads and cheap skips, decompressed on the fly if it is compressed (gzip or zlib)."""

from __future__ import annotations

import contextlib
import contextvars
import gzip
import os
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from transforms import storage
from transforms.formats.shard import ShardError
from transforms.formats.tfrecord_header import is_header

_HEAD_BYTES = 512
_BLOCK_BYTES = 1 << 16
_GZIP, _ZLIB = zlib.MAX_WBITS + 16, zlib.MAX_WBITS
_MAGIC = {b"\x1f\x8b\x08": _GZIP, b"\x78\x01": _ZLIB, b"\x78\x5e": _ZLIB, b"\x78\x9c": _ZLIB, b"\x78\xda": _ZLIB}
"""What a stream begins with: gzip of the only method there is, zlib of the largest window and each level."""


def compression_of(head: bytes) -> int:
    """Returns zlib's `wbits` for a shard that begins with `head`; 0 if it is not compressed.

    The length of a TFRecord may look like the beginning of a compressed stream, but not with its checksum.
    """
    found = next((bits for magic, bits in _MAGIC.items() if head.startswith(magic)), 0)
    return 0 if is_header(head) else found


_LEAST_READS = 1000
"""Reads that a glimpse allows whatever the time: enough to extrapolate from."""


@dataclass
class Glimpse:
    """A look at the beginning of a shard.

    Attributes:
        until: when it ends, on the monotonic clock.
        share: the share of the shard's bytes that was passed, from 0 to 1.
        complete: whether it reached the end of the shard, or of what can be read of it.
    """

    until: float
    share: float = 0.0
    complete: bool = True
    reads: int = 0


_GLIMPSE: contextvars.ContextVar[Glimpse | None] = contextvars.ContextVar("glimpse", default=None)


@contextlib.contextmanager
def glimpsing(seconds: float) -> Iterator[Glimpse]:
    """Within the block, shards that this thread reads seem to be cut off after `seconds`: a ShardError."""
    glimpse = Glimpse(time.monotonic() + seconds)
    token = _GLIMPSE.set(glimpse)
    try:
        yield glimpse
    finally:
        _GLIMPSE.reset(token)


class ShardStream:
    """Reads a shard from front to back.

    Offsets are those of the uncompressed content. No more than the requested bytes are held in memory.
    """

    def __init__(self, uri: str) -> None:
        """Opens the shard at `uri`.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: it cannot be read; the other methods raise it too.
        """
        self._raw = storage.open_read(uri)
        self._size = self._raw_size = self._raw.seek(0, os.SEEK_END)
        self._raw.seek(0)
        compression = compression_of(self._raw.read(_HEAD_BYTES))
        self._raw.seek(0)
        self._file = self._raw
        if compression:
            self._file = gzip.GzipFile(fileobj=self._raw) if compression == _GZIP else _ZlibFile(self._raw)
            self._size = sys.maxsize

    def __enter__(self) -> ShardStream:
        """Returns itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the shard."""
        if glimpse := _GLIMPSE.get():
            glimpse.share = 1.0 if glimpse.complete else min(1.0, self._raw.tell() / max(1, self._raw_size))
        self._file.close()
        self._raw.close()

    def tell(self) -> int:
        """Returns the offset of the next byte."""
        return self._file.tell()

    def read(self, count: int) -> bytes:
        """Returns the next `count` bytes, or none at the end of the shard.

        Raises:
            ShardError: the shard ends, or is damaged, before that.
        """
        position = self.tell()
        if glimpse := _GLIMPSE.get():
            _go_on(glimpse)
        if count > self._size - position > 0:
            raise _cut(position, count)
        with _told(position):
            data = self._file.read(count)
        if data and len(data) < count:
            raise _cut(position, count)
        return data

    def exactly(self, count: int) -> bytes:
        """Returns the next `count` bytes.

        Raises:
            ShardError: the shard ends, or is damaged, before that.
        """
        position = self.tell()
        data = self.read(count)
        if len(data) < count:
            raise _cut(position, count)
        return data

    def skip_to(self, offset: int) -> None:
        """Moves forward to `offset`, which may be the end of the shard.

        Raises:
            ShardError: the shard ends, or is damaged, before that.
        """
        position = self.tell()
        if offset > self._size:
            raise _cut(position, offset - position)
        with _told(position):
            reached = self._file.seek(offset)
        if reached < offset:
            raise _cut(position, offset - position)


class _ZlibFile:
    """The content of a zlib stream, as `gzip.GzipFile` gives that of a gzip stream; moves only forward."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._stream = zlib.decompressobj(_ZLIB)
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        """Returns the next `count` bytes, or as many as there are.

        Raises:
            EOFError: the stream is truncated.
            zlib.error: it is damaged.
        """
        blocks, left = [], count
        while left and (block := self._block(min(left, _BLOCK_BYTES))):
            blocks.append(block)
            left -= len(block)
        self._position += count - left
        return b"".join(blocks)

    def seek(self, offset: int) -> int:
        while self._position < offset and self.read(min(offset - self._position, _BLOCK_BYTES)):
            pass
        return self._position

    def close(self) -> None:
        pass  # the raw stream is the shard's to close

    def _block(self, most: int) -> bytes:
        """Returns the next bytes, at most so many; none at the end."""
        while not self._stream.eof:
            stored = self._stream.unconsumed_tail or self._raw.read(_BLOCK_BYTES)
            block = self._stream.decompress(stored, most)
            if block or self._stream.eof:
                return block
            if not stored:
                raise EOFError("the stream ends without its end mark")
        return b""


def _go_on(glimpse: Glimpse) -> None:
    """Raises ShardError once a glimpse is over."""
    glimpse.reads += 1
    if glimpse.reads > _LEAST_READS and time.monotonic() > glimpse.until:
        glimpse.complete = False
        raise ShardError("the rest was not looked at")


def _cut(position: int, count: int) -> ShardError:
    return ShardError(f"the shard ends within the {count} bytes from byte {position}")


@contextlib.contextmanager
def _told(position: int) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ShardError(
            f"the compressed stream (gzip or zlib) is damaged after byte {position} of its content: {error}"
        ) from error
