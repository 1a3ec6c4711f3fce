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
    sizes = {name: len(each) for name, each in members.items()}
    header = {"format": _FORMAT, "sha256": _digest(sizes, content), "sizes": sizes}
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
    if _digest(sizes, content) != expected:
        raise DamagedError("its bytes are not those of its digest")
    members, start = {}, 0
    for name, size in sizes.items():
        members[name] = content[start : start + size]
        start += size
    return members


def _digest(sizes: Mapping[str, int], content: bytes) -> str:
    """Returns the sha256 in hex of an entry's members and their names."""
    total = hashlib.sha256(json.dumps(sizes).encode())
    total.update(content)
    return total.hexdigest()
