"""One entry of a cache as bytes: named members behind a line of JSON with their sizes and sha256.

Nothing is unpickled, and an entry whose bytes are not those of its digest is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

_FORMAT = 1
_LONGEST_HEADER = 1 << 16


class DamagedError(ValueError):
    """Bytes are not an entry, or not as they were written; the text says in what way."""


def pack(members: Mapping[str, bytes]) -> bytes:
    """Returns an entry of these members.

    >>> unpack(pack({"facts": b"{}", "graph": b"abc"}))["graph"]
    b'abc'
    """
    content = b"".join(members.values())
    header = {
        "format": _FORMAT,
        "sha256": digest_of(content),
        "sizes": {key: len(each) for key, each in members.items()},
    }
    return json.dumps(header).encode() + b"\n" + content


def unpack(data: bytes) -> dict[str, bytes]:
    """Returns the members of an entry.

    Raises:
        DamagedError: the data are not what `pack` gave.
    """
    line, found, content = data[:_LONGEST_HEADER].partition(b"\n")
    try:
        header = json.loads(line) if found else None
        sizes = {str(name): int(size) for name, size in header["sizes"].items()}  # type: ignore[index]
        known, expected = header["format"] == _FORMAT, header["sha256"]  # type: ignore[index]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError("it does not begin as an entry does") from error
    content = data[len(line) + 1 :]
    if not known or min(sizes.values(), default=0) < 0 or sum(sizes.values()) != len(content):
        raise DamagedError("it is of another format or length")
    if digest_of(content) != expected:
        raise DamagedError("its bytes are not those of its digest")
    members, start = {}, 0
    for name, size in sizes.items():
        members[name] = content[start : start + size]
        start += size
    return members


def digest_of(content: bytes) -> str:
    """Returns the sha256 of bytes in hex."""
    return hashlib.sha256(content).hexdigest()
