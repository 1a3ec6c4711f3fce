"""What identifies a model: its files' content. Imports no TensorFlow, so a finished run is recognized fast."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path


def digest(path: Path) -> str:
    """Returns the sha256 hex over the sorted relative names and contents of a model's files."""
    total = hashlib.sha256()
    for name, file in sorted(_files(path)):
        total.update(f"{name}\0{_checksum(file)}\n".encode())
    return total.hexdigest()


def size(path: Path) -> int:
    """Returns the size of a model's files in bytes."""
    return sum(file.stat().st_size for _, file in _files(path))


def of_parts(parts: Iterable[bytes]) -> tuple[str, int]:
    """Returns the sha256 hex over the parts of a model that has no files, and their size in bytes."""
    total, length = hashlib.sha256(), 0
    for part in parts:
        total.update(f"{len(part)}\n".encode() + part)
        length += len(part)
    return total.hexdigest(), length


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
    for file in path.rglob("*"):
        if file.is_file():
            yield file.relative_to(path).as_posix(), file


def _checksum(file: Path) -> str:
    checksum = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()
