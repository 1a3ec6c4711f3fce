"""The page sizes that a Parquet file claims, checked before Arrow allocates them.

Arrow allocates the size in a page's header before it has read or unpacked a byte: a damaged or hostile file of a few
kilobytes would cost gigabytes. Footer and headers are Thrift structs in the compact protocol
(parquet-format/src/main/thrift/parquet.thrift: FileMetaData, PageHeader). They are read here, since pyarrow's own view
of a column crashes the process if its statistics are damaged (25.0).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Any

from transforms.core.vocabulary import MAX_COLUMN_VALUES, MAX_FOOTER_BYTES, MAX_PAGE_BYTES
from transforms.formats.shard import ShardError

_MAGIC_BYTES = 8
_HEADER_BYTES = 1 << 10
_MAX_DEPTH = 16
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _, _STRUCT = range(13)

# Fields, by the numbers of their structs.
_ROW_GROUPS, _COLUMNS, _COLUMN_METADATA = 4, 1, 3
_PATH, _TOTAL_STORED, _FIRST_DATA, _FIRST_DICTIONARY = 3, 7, 9, 11
_PAGE_UNPACKED, _PAGE_STORED = 2, 3
_OF_PAGES, _VALUES = (5, 7, 8), 1  # headers of data pages, dictionaries and data pages of version 2


@dataclass(frozen=True)
class ColumnChunk:
    """The byte range `start` to `end` of a row group's pages of one column; `name` is that of the top-level column."""

    name: str
    start: int
    end: int


def column_chunks(stream: IO[bytes]) -> list[list[ColumnChunk]]:
    """Returns the columns of each row group, as given by the footer.

    Raises:
        ShardError: the footer is damaged.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _MAGIC_BYTES))
    tail = stream.read(_MAGIC_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if not 0 < length <= min(size - _MAGIC_BYTES, MAX_FOOTER_BYTES):
        raise ShardError(f"a footer of {length} bytes; at most {MAX_FOOTER_BYTES} are allowed")
    stream.seek(size - _MAGIC_BYTES - length)
    try:
        footer = _Compact(stream.read(length)).struct()
        return [[_column(column) for column in group[_COLUMNS]] for group in footer.get(_ROW_GROUPS, ())]
    except (LookupError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ShardError(f"the footer is damaged: {error!r}") from error


def check_pages(stream: IO[bytes], column: ColumnChunk) -> None:
    """Checks that no page of a column chunk claims more bytes than the file holds, or `MAX_PAGE_BYTES` when unpacked.

    Together they may hold `MAX_COLUMN_VALUES` values: a few bytes can repeat one value billions of times in one row.

    Raises:
        ShardError: a page's header is damaged, or claims too much.
    """
    size = stream.seek(0, os.SEEK_END)
    if not 0 <= column.start <= column.end <= size:
        raise ShardError(f"a column claims bytes {column.start} to {column.end} of a file of {size}")
    position, values = column.start, 0
    while position < column.end:
        page = _page(stream, position)
        values += page.values
        if values > MAX_COLUMN_VALUES:
            raise ShardError(f"a column of {values} values in a row group, more than {MAX_COLUMN_VALUES}")
        if not 0 <= page.stored <= size - position - page.length:
            raise ShardError(f"a page at byte {position} claims {page.stored} bytes, more than the file has left")
        if not 0 <= page.unpacked <= MAX_PAGE_BYTES:
            raise ShardError(f"a page at byte {position} unpacks to {page.unpacked} bytes, more than {MAX_PAGE_BYTES}")
        position += page.length + page.stored


def _column(column: dict[int, Any]) -> ColumnChunk:
    claims = column[_COLUMN_METADATA]
    data = _number(claims, _FIRST_DATA)
    dictionary = _number(claims, _FIRST_DICTIONARY) if _FIRST_DICTIONARY in claims else 0
    start = dictionary if 0 < dictionary < data else data
    return ColumnChunk(claims[_PATH][0].decode(), start, start + _number(claims, _TOTAL_STORED))


def _number(fields: dict[int, Any], field: int) -> int:
    if not isinstance(fields[field], int):
        raise KeyError(field)
    return fields[field]


@dataclass(frozen=True)
class _Page:
    """What a page's header claims: its own length, the page's size unpacked and as stored, and its number of values."""

    length: int
    unpacked: int
    stored: int
    values: int


def _page(stream: IO[bytes], position: int) -> _Page:
    """Returns what the page header at `position` claims."""
    count = _HEADER_BYTES
    while True:
        stream.seek(position)
        data = stream.read(count)
        reader = _Compact(data)
        try:
            header = reader.struct()
            values = sum(abs(_number(header[kind], _VALUES)) for kind in _OF_PAGES if kind in header)
            return _Page(reader.position, _number(header, _PAGE_UNPACKED), _number(header, _PAGE_STORED), values)
        except IndexError:  # the header is longer than the bytes read: it may contain statistics
            if len(data) < count or count >= MAX_FOOTER_BYTES:
                raise ShardError(f"the header of the page at byte {position} is truncated") from None
            count *= 16
        except (KeyError, TypeError):
            raise ShardError(f"the header of the page at byte {position} is damaged") from None


class _Compact:
    """Reads Thrift's compact protocol from `data`.

    An IndexError means that a value continues beyond the end, a KeyError that it is invalid.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self, depth: int = _MAX_DEPTH) -> dict[int, Any]:
        """Returns the fields, by number, of the struct at the current position, and moves past it."""
        found: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) & 15 != _STOP:
            field = field + (head >> 4) if head >> 4 else self._integer()
            if field in found:
                raise KeyError(field)
            found[field] = self._value(head & 15, depth - 1)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth < 0:
            raise KeyError(kind)
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct(depth)
        if kind in (_LIST, _SET):
            return self._list(depth)
        return self._bytes({_BYTE: 1, _DOUBLE: 8}[kind])  # there are no maps in Parquet's structs

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        kind = _BYTE if head & 15 in (_TRUE, _FALSE) else head & 15  # which takes no bytes only as a field
        if count > len(self._data) - self.position:
            raise IndexError(count)
        return [self._value(kind, depth - 1) for _ in range(count)]

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _bytes(self, count: int) -> bytes:
        self.position += count
        if self.position > len(self._data):
            raise IndexError(self.position)
        return self._data[self.position - count : self.position]

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
        """Returns a signed integer, stored in zigzag encoding."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)
