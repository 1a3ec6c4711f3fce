"""The headers of Parquet pages, looked at before Arrow acts on them.

Arrow allocates what a page's header claims, before it has read or unpacked a byte: a damaged or hostile file of a few
kilobytes would cost gigabytes. A header is a Thrift struct in the compact protocol
(parquet-format/src/main/thrift/parquet.thrift, `PageHeader`), of which only the two sizes matter here.
"""

from __future__ import annotations

import os
from typing import IO, Any

from transforms.formats.shard import ShardError

MAX_PAGE_BYTES = 1 << 30
"""The most that a page may hold, unpacked; writers make pages of about a megabyte, or of a thousand rows."""

_HEADER_BYTES = 1 << 10
_MAX_HEADER_BYTES = 1 << 24
_MAX_DEPTH = 8
_UNPACKED, _STORED = 2, 3
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)


def check_pages(stream: IO[bytes], column: Any) -> None:
    """Refuses a column chunk in which a page claims more than the file or `MAX_PAGE_BYTES` can hold.

    Args:
        stream: the shard; its position is left anywhere.
        column: pyarrow's `ColumnChunkMetaData`.

    Raises:
        ShardError: a page's header is damaged, or claims too much.
    """
    size = stream.seek(0, os.SEEK_END)
    first = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < first:
        first = column.dictionary_page_offset
    position, end = first, first + column.total_compressed_size
    if not 0 <= position <= end <= size:
        raise ShardError(f"a column claims bytes {position} to {end} of a file of {size}")
    while position < end:
        length, unpacked, stored = _header(stream, position)
        if not 0 <= stored <= size - position - length:
            raise ShardError(f"a page at byte {position} claims {stored} bytes, which the file doesn't hold")
        if not 0 <= unpacked <= MAX_PAGE_BYTES:
            raise ShardError(f"a page at byte {position} unpacks to {unpacked} bytes, more than {MAX_PAGE_BYTES}")
        position += length + stored


def _header(stream: IO[bytes], position: int) -> tuple[int, int, int]:
    """Returns the length of the page header at `position`, and the page's size unpacked and as stored."""
    count = _HEADER_BYTES
    while True:
        stream.seek(position)
        data = stream.read(count)
        reader = _Compact(data)
        try:
            sizes = reader.numbers()
            return reader.position, sizes[_UNPACKED], sizes[_STORED]
        except IndexError:  # the header is longer than what was read: it may hold statistics
            if len(data) < count or count >= _MAX_HEADER_BYTES:
                raise ShardError(f"the header of the page at byte {position} is cut") from None
            count *= 16
        except KeyError:
            raise ShardError(f"the header of the page at byte {position} is damaged") from None


class _Compact:
    """Reads Thrift's compact protocol from `data`; an IndexError says that it goes on behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def numbers(self) -> dict[int, int]:
        """Returns the integer fields of the struct that begins here, and moves behind it.

        Raises:
            KeyError: what is there isn't a struct.
        """
        found, field = {}, 0
        while (head := self._byte()) & 15 != _STOP:
            field = field + (head >> 4) if head >> 4 else self._integer()
            if head & 15 in (_I16, _I32, _I64):
                found[field] = self._integer()
            else:
                self._skip(head & 15, _MAX_DEPTH)
        return found

    def _skip(self, kind: int, depth: int) -> None:
        """Moves behind a value."""
        if not depth:
            raise KeyError(kind)
        if kind in (_I16, _I32, _I64):
            self._integer()
        elif kind in (_BYTE, _DOUBLE):
            self._move({_BYTE: 1, _DOUBLE: 8}[kind])
        elif kind == _BINARY:
            self._move(self._varint())
        elif kind == _STRUCT:
            while (head := self._byte()) & 15 != _STOP:
                if not head >> 4:
                    self._integer()
                self._skip(head & 15, depth - 1)
        elif kind not in (_TRUE, _FALSE):
            raise KeyError(kind)  # a page header holds no lists and no maps

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _move(self, count: int) -> None:
        self.position += count
        if self.position > len(self._data):
            raise IndexError(self.position)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise KeyError(value)

    def _integer(self) -> int:
        """Returns a signed integer, which is stored zigzag."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)
