"""A shard as a stream of exact reads and cheap skips, decompressed on the fly if it is gzipped."""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from types import TracebackType

from transforms import storage
from transforms.formats.shard import ShardError

_GZIP = b"\x1f\x8b"


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
        self._size = self._raw.seek(0, os.SEEK_END)
        self._raw.seek(0)
        compressed = self._raw.read(2) == _GZIP
        self._raw.seek(0)
        self._file = self._raw
        if compressed:
            self._file, self._size = gzip.GzipFile(fileobj=self._raw), sys.maxsize

    def __enter__(self) -> ShardStream:
        """Returns itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the shard."""
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


def _cut(position: int, count: int) -> ShardError:
    return ShardError(f"the shard ends within the {count} bytes from byte {position}")


@contextlib.contextmanager
def _told(position: int) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ShardError(f"the gzip stream is damaged after byte {position} of its content: {error}") from error
