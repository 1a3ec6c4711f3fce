"""Iteration over the members of an untrusted tar archive, which holds one of them in memory at a time.

`tarfile` keeps every member that it has seen, reads extended headers of any size completely, and
ends silently at a damaged header; here each is bounded, and damage is reported. Supported are ustar, GNU
long names, and pax paths and sizes. Nothing is written to disk, so names and links can do no harm.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transforms.core.vocabulary import MAX_TAR_HEADER_BYTES
from transforms.formats.shard import ShardError
from transforms.formats.stream import ShardStream

_BLOCK = tarfile.BLOCKSIZE
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED = (*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]{1,256})=")
_MAX_SIZE = 1 << 62


@dataclass(frozen=True)
class Member:
    """A regular file of an archive.

    Attributes:
        name: its path.
        offset: position of its first header, in bytes.
        size: in bytes.
        data: its content, if it was wanted.
    """

    name: str
    offset: int
    size: int
    data: bytes | None


def members(stream: ShardStream, wanted: Callable[[str, int], bool]) -> Iterator[Member]:
    """Yields the regular files from the stream's position on, each once it is known to be complete.

    Args:
        stream: at the beginning of a header.
        wanted: returns whether to read a member's content, given its name and size.

    Raises:
        ShardError: a header is damaged or the archive is truncated.
    """
    offset = stream.tell()
    extended: dict[str, str] = {}
    while True:
        block = stream.read(_BLOCK)
        if not block:
            raise ShardError("the archive ends without its end mark")
        if not block.strip(b"\0"):
            _finish(stream)
            return
        header, begin = _header(block), stream.tell()
        if header.type in _EXTENDED:
            extended |= _extended(header, stream)
            stream.skip_to(begin + _padded(header.size))
            continue
        size = int(extended.get("size", header.size))
        if header.isreg():
            name = extended.get("path", header.name)
            data = stream.exactly(size) if wanted(name, size) else None
            stream.skip_to(begin + size)
            yield Member(name, offset, size, data)
        has_content = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES
        stream.skip_to(begin + (_padded(size) if has_content else 0))
        offset, extended = stream.tell(), {}


def _finish(stream: ShardStream) -> None:
    """Checks that the supposed end mark was not a hole in the archive, and that a gzip checksum is right."""
    while block := stream.read(_BLOCK):
        if block.strip(b"\0"):
            raise ShardError("the archive continues after its end mark")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError) as error:
        raise ShardError(f"the header of a member is damaged: {error}") from error
    if not 0 <= header.size < _MAX_SIZE or header.issparse():
        raise ShardError(f"a member of {header.size} bytes and type {header.type!r} cannot be read")
    return header


def _extended(header: tarfile.TarInfo, stream: ShardStream) -> dict[str, str]:
    """Returns the path and size that an extended header gives for the member that follows."""
    if header.size > MAX_TAR_HEADER_BYTES:
        raise ShardError(f"an extended header of {header.size} bytes is more than the {MAX_TAR_HEADER_BYTES} allowed")
    content = stream.exactly(header.size)
    if header.type in _PAX:
        return _pax(content)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.partition(b"\0")[0].decode("utf-8", "replace")}
    return {}


def _pax(content: bytes) -> dict[str, str]:
    """Returns the records of a pax header: `<length> <keyword>=<value>` and a newline each."""
    records = {}
    position, end = 0, len(content.rstrip(b"\0"))
    while position < end:
        record = _PAX_RECORD.match(content, position)
        if record is None or not record.end() < position + int(record[1]) <= end:
            raise ShardError("an extended header is damaged")
        position += int(record[1])
        records[record[2].decode("utf-8", "replace")] = content[record.end() : position - 1].decode("utf-8", "replace")
    if not re.fullmatch(r"[0-9]{1,18}", records.get("size", "0"), re.ASCII):
        raise ShardError("an extended header gives no valid size")
    return records


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
