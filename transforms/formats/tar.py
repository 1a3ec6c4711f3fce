"""A walk over the members of a tar archive that holds one of them at a time and trusts none.

`tarfile` keeps every member that it has seen, reads extended headers whole whatever their size, and
ends silently at a damaged header; here each is bounded, and damage is told. Understood are ustar, GNU
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
        offset: where its first header begins.
        size: in bytes.
        data: its content, where it was wanted.
    """

    name: str
    offset: int
    size: int
    data: bytes | None


def members(stream: ShardStream, wanted: Callable[[str, int], bool]) -> Iterator[Member]:
    """Yields the regular files from the stream's position on, each when all of it is known to be there.

    Args:
        stream: at the beginning of a header.
        wanted: tells from a member's name and size whether to read its content.

    Raises:
        ShardError: a header is damaged or the archive is cut.
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
    """Makes sure that what looked like the end mark was not a hole, and that a gzip checksum is right."""
    while block := stream.read(_BLOCK):
        if block.strip(b"\0"):
            raise ShardError("the archive goes on after its end mark")


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError) as error:
        raise ShardError(f"the header of a member is damaged: {error}") from error
    if not 0 <= header.size < _MAX_SIZE or header.issparse():
        raise ShardError(f"a member of {header.size} bytes and type {header.type!r} cannot be read")
    return header


def _extended(header: tarfile.TarInfo, stream: ShardStream) -> dict[str, str]:
    """Returns what an extended header says about the member that follows."""
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
