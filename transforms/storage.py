"""Files by URI on local disk, `s3://`, `gs://` and `hdfs://`, through pyarrow's file systems.

Imports no Beam, so that `verify`, `show`, `report` and `compare` start fast. Everything written here
is atomic: a reader sees a whole file or none.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

from pyarrow import fs as pafs

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")


def is_remote(uri: str) -> bool:
    """Returns whether `uri` names something else than a local path."""
    return bool(_SCHEME.match(uri)) and not uri.startswith("file://")


def join(base: str, *names: str) -> str:
    """Returns the URI of `names` below `base`; a query string of `base` stays at the end."""
    head, mark, query = base.partition("?") if is_remote(base) else (base, "", "")
    return "/".join([head.rstrip("/") or "/", *names]).replace("//", "/", int(head == "/")) + mark + query


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system that holds `uri`, and the path on it.

    Raises:
        ValueError: the scheme is unknown or the URI malformed.
    """
    if not is_remote(uri):
        path = uri.removeprefix("file://")
        return _local(), os.path.abspath(os.path.expanduser(path))
    try:
        return _remote(uri)
    except Exception as error:
        raise ValueError(f"{uri}: not a URI this job can open ({error})") from error


@functools.lru_cache(maxsize=1)
def _local() -> pafs.FileSystem:
    return pafs.LocalFileSystem()


@functools.lru_cache(maxsize=4096)
def _remote(uri: str) -> tuple[pafs.FileSystem, str]:
    return pafs.FileSystem.from_uri(uri)


def size(uri: str) -> int | None:
    """Returns the size of the file at `uri` in bytes, or None where there is no such file."""
    filesystem, path = resolve(uri)
    info = filesystem.get_file_info(path)
    return info.size if info.type == pafs.FileType.File else None


def is_folder(uri: str) -> bool:
    """Returns whether `uri` is a folder (in an object store: a prefix with something below)."""
    filesystem, path = resolve(uri)
    return filesystem.get_file_info(path).type == pafs.FileType.Directory


def names(folder: str) -> list[str]:
    """Returns the sorted names of the files right below `folder`; empty where it is missing."""
    filesystem, path = resolve(folder)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == pafs.FileType.File)


def walk(folder: str) -> list[str]:
    """Returns the sorted paths, relative to `folder`, of all files below it."""
    filesystem, path = resolve(folder)
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    head = len(path.rstrip("/")) + 1
    return sorted(info.path[head:] for info in found if info.type == pafs.FileType.File)


def glob(pattern: str) -> list[str]:
    """Returns the sorted URIs of the files that match `pattern` (`*`, `?`, `[…]`, `**`).

    A pattern without wildcards yields itself if that file exists.
    """
    if not any(mark in pattern.partition("?endpoint")[0] for mark in "*?["):
        return [pattern] if size(pattern) is not None else []
    head, mark, query = pattern.partition("?") if is_remote(pattern) and "=" in pattern else (pattern, "", "")
    folder, rest = _fixed_prefix(head)
    expression = _expression(rest)
    base = folder + mark + query
    deep = "/" in rest or "**" in rest
    below = walk(base) if deep else names(base)
    return [join(base, name) for name in below if expression.match(name)]


def _fixed_prefix(pattern: str) -> tuple[str, str]:
    parts = pattern.split("/")
    for position, part in enumerate(parts):
        if any(mark in part for mark in "*?["):
            return "/".join(parts[:position]) or ("/" if pattern.startswith("/") else "."), "/".join(parts[position:])
    raise ValueError(f"{pattern}: no wildcard")


def _expression(rest: str) -> re.Pattern[str]:
    pieces = []
    for part in rest.split("/"):
        if part == "**":
            pieces.append("(?:[^/]+/)*")
        else:
            pieces.append(fnmatch.translate(part).removesuffix(r"\Z").removesuffix(r"\z").replace(".*", "[^/]*") + "/")
    return re.compile("".join(pieces).removesuffix("/") + r"\Z")


def open_read(uri: str) -> Any:
    """Returns a binary, seekable stream of the file at `uri`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    filesystem, path = resolve(uri)
    return filesystem.open_input_file(path)


def read_bytes(uri: str, limit: int | None = None) -> bytes:
    """Returns the content of the file at `uri`; at most `limit` bytes of it."""
    with open_read(uri) as stream:
        return stream.read(limit) if limit is not None else stream.read()


@contextlib.contextmanager
def write_atomic(uri: str) -> Iterator[IO[bytes]]:
    """Opens a binary stream whose content appears at `uri` whole, or, on an error, not at all.

    Locally: a hidden temporary file beside the target, synced, then renamed over it. Elsewhere: a
    local spool file that is uploaded on success (object stores show an object only when complete).
    """
    filesystem, path = resolve(uri)
    remote = is_remote(uri)
    folder = tempfile.gettempdir() if remote else os.path.dirname(path)
    if not remote:
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if remote:
            pafs.copy_files(temporary, path, source_filesystem=_local(), destination_filesystem=filesystem)
        else:
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def write_bytes(uri: str, content: bytes) -> None:
    """Writes `content` to `uri` atomically."""
    with write_atomic(uri) as stream:
        stream.write(content)


def delete(uri: str) -> None:
    """Deletes the file at `uri` if it is there."""
    filesystem, path = resolve(uri)
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_file(path)
