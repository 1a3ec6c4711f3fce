"""Files by URI on local disk, `s3://`, `gs://` and `hdfs://`, through pyarrow's file systems.

Everything written here is atomic: a reader sees a whole file or none. Endpoints other than the
clouds' own come from the environment (`AWS_ENDPOINT_URL`, `STORAGE_EMULATOR_HOST`), so a
URI consists of scheme, bucket and path only, and `?` is a wildcard as in any glob.

Reading and listing raise FileNotFoundError or a StorageError, which names the URI, and no other error of the storage:
so an OSError of a parser that reads from here is about the content. Requests that fail temporarily are repeated.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import IO, Any

from pyarrow import fs as pafs

from transforms.core.errors import UsageError
from transforms.storage_errors import RefusedError as RefusedError
from transforms.storage_errors import StorageError as StorageError
from transforms.storage_errors import UnavailableError as UnavailableError
from transforms.storage_errors import ask
from transforms.storage_errors import is_passing as is_passing

_REMOTE = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^/]*)(.*)", re.DOTALL)
_WILDCARD = re.compile(r"[*?[]")
_READ_AHEAD = 1 << 20
_HIDDEN = ".ig-audit-"
_OBJECT_STORES = ("s3", "gcs", "abfs")  # an object becomes visible once it is complete


def is_remote(uri: str) -> bool:
    """Returns whether `uri` is anything but a local path.

    >>> is_remote("gs://photos/cats"), is_remote("photos/cats"), is_remote("file:///photos")
    (True, False, False)
    """
    return bool(_REMOTE.match(uri)) and not uri.startswith("file://")


def join(base: str, *names: str) -> str:
    """Returns the URI of `names` below `base`.

    >>> join("s3://audits/", "nights", "manifest.json")
    's3://audits/nights/manifest.json'
    """
    return "/".join(["" if base == "/" else base.rstrip("/"), *names])


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system that holds `uri`, and the path on it.

    Raises:
        ValueError: no file system has this scheme.
        OSError: the file system cannot be reached.
    """
    remote = None if uri.startswith("file://") else _REMOTE.match(uri)
    if remote is None:
        return _local(), os.path.abspath(os.path.expanduser(uri.removeprefix("file://")))
    filesystem, root = _connect(remote[1])
    return filesystem, (root.rstrip("/") + remote[2].rstrip("/")) or "/"


@functools.lru_cache(maxsize=1)
def _local() -> pafs.FileSystem:
    return pafs.LocalFileSystem()


@functools.lru_cache(maxsize=64)
def _connect(authority: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a `scheme://host` and the path of its root; a store's region is looked up once."""
    scheme, _, host = authority.partition("://")
    emulator = os.environ.get("STORAGE_EMULATOR_HOST") or os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT")
    if emulator and scheme in ("gs", "gcs"):  # without this, Arrow looks for credentials, which emulators do not have
        kind, _, endpoint = emulator.rpartition("://")
        return pafs.GcsFileSystem(anonymous=True, scheme=kind or "http", endpoint_override=endpoint.rstrip("/")), host
    try:
        return pafs.FileSystem.from_uri(authority)
    except ValueError as error:
        raise UsageError(f"{authority}: not a location that this job can open ({error})") from error


def size(uri: str) -> int | None:
    """Returns the size of the file at `uri` in bytes, or None if there is no such file."""
    info = _info(uri)
    return info.size if info.type == pafs.FileType.File else None


def is_folder(uri: str) -> bool:
    """Returns whether `uri` is a folder (in an object store: a prefix of at least one object)."""
    return _info(uri).type == pafs.FileType.Directory


def _info(uri: str) -> pafs.FileInfo:
    def look() -> pafs.FileInfo:
        filesystem, path = resolve(uri)
        return filesystem.get_file_info(path)

    return ask(uri, look)


def names(folder: str) -> list[str]:
    """Returns the sorted names of the files directly below `folder`; empty if it is missing."""
    return sorted(name for name, _ in _files(folder, recursive=False))


def folders(folder: str) -> list[str]:
    """Returns the sorted names of the folders directly below `folder`; empty if it is missing."""
    if folder.startswith(("gs://", "gcs://")):  # lists only folders that someone created; objects need none
        return sorted({name.partition("/")[0] for name in walk(folder) if "/" in name})
    found = _listing(folder, recursive=False)
    return sorted(info.base_name for info in found if info.type == pafs.FileType.Directory)


def walk(folder: str) -> list[str]:
    """Returns the sorted paths, relative to `folder`, of all files below it; empty if it is missing."""
    return sorted(name for name, _ in _files(folder, recursive=True))


def _files(folder: str, recursive: bool) -> Iterator[tuple[str, pafs.FileInfo]]:
    head = len(resolve(folder)[1].rstrip("/")) + 1
    for info in _listing(folder, recursive):
        if info.type == pafs.FileType.File:
            yield info.path[head:], info


def _listing(folder: str, recursive: bool) -> list[pafs.FileInfo]:
    def look() -> list[pafs.FileInfo]:
        filesystem, path = resolve(folder)
        return filesystem.get_file_info(pafs.FileSelector(path, recursive=recursive, allow_not_found=True))

    return ask(folder, look)


def fingerprint(uri: str) -> str:
    """Returns a hex digest of the names, sizes and modification times of the file `uri`, or of all files below it.

    Raises:
        FileNotFoundError: there is nothing at `uri`.
    """
    files = sorted(_files(uri, recursive=True), key=lambda file: file[0]) if is_folder(uri) else [("", _info(uri))]
    if not files or files[0][1].type == pafs.FileType.NotFound:
        raise FileNotFoundError(f"{uri}: nothing there")
    listing = "\n".join(f"{name}\t{info.size}\t{info.mtime_ns}" for name, info in files)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def sizes(uri: str) -> dict[str, int]:
    """Returns the sizes in bytes of all files below the folder `uri` by relative path; of a single file, by ""."""
    return {name: info.size for name, info in _files(uri, recursive=True)} if is_folder(uri) else {"": _info(uri).size}


def has_wildcard(pattern: str) -> bool:
    """Returns whether `pattern` contains one of `*`, `?` and `[`."""
    return bool(_WILDCARD.search(pattern))


def split_wildcard(pattern: str) -> tuple[str, str]:
    """Returns the folder before the first component with a wildcard, and the rest of the pattern.

    >>> split_wildcard("data/2026-*/train-?.tar")
    ('data', '2026-*/train-?.tar')
    """
    parts = pattern.split("/")
    first = next(position for position, part in enumerate(parts) if has_wildcard(part))
    folder = "/".join(parts[:first])
    return folder or ("/" if pattern.startswith("/") else "."), "/".join(parts[first:])


def glob(pattern: str) -> list[str]:
    """Returns the sorted URIs of the files that match `pattern`, as a shell would.

    `*`, `?` and `[…]` stay within one component of the path, `**` spans any number of them, and none
    matches a leading dot. If there is a file named exactly `pattern`, it is the only match.
    """
    if size(pattern) is not None:
        return [pattern]
    if not has_wildcard(pattern):
        return []
    folder, rest = split_wildcard(pattern)
    wanted = rest.split("/")
    below = names(folder) if len(wanted) == 1 and rest != "**" else walk(folder)
    return [join(folder, name) for name in below if _matches(name.split("/"), wanted)]


def _matches(parts: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return not parts
    visible = bool(parts) and (not parts[0].startswith(".") or wanted[0].startswith("."))
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or (visible and _matches(parts[1:], wanted))
    return visible and fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


def open_read(uri: str) -> Any:
    """Returns a binary, seekable stream of the file at `uri`, which reads ahead if each request costs a round trip.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be read; reading from the stream raises it, too.
    """
    return io.BufferedReader(_File(uri), _READ_AHEAD if is_remote(uri) else io.DEFAULT_BUFFER_SIZE)


class _File(io.RawIOBase):
    """A file that is read by position, so that a failed read can be repeated.

    Never requests bytes at or beyond the end: Google's store answers that with an error, even for a seek.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self._position = uri, 0
        self._stream, self._size = ask(uri, self._open)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self._size - self._position)]
        count = ask(self._uri, lambda: self._fill(wanted)) if len(wanted) else 0
        self._position += count
        return count

    def readall(self) -> bytes:
        blocks = []
        while self._position < self._size:
            blocks.append(ask(self._uri, lambda: self._block(self._size - self._position)))
            if not blocks[-1]:
                break
            self._position += len(blocks[-1])
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _open(self) -> tuple[Any, int]:
        filesystem, path = resolve(self._uri)
        if is_remote(self._uri):
            stream = filesystem.open_input_file(path)
            return stream, stream.size()
        file = io.FileIO(path)
        if not file.seekable():
            raise RefusedError(f"{self._uri}: cannot be read (it is a pipe or a terminal, not a file)")
        return file, os.fstat(file.fileno()).st_size

    def _fill(self, buffer: memoryview) -> int:
        if isinstance(self._stream, io.FileIO):
            return os.preadv(self._stream.fileno(), [buffer], self._position)
        data = self._block(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _block(self, most: int) -> bytes:
        if isinstance(self._stream, io.FileIO):
            return os.pread(self._stream.fileno(), most, self._position)
        return self._stream.read_at(most, self._position)


def read_bytes(uri: str, limit: int | None = None) -> bytes:
    """Returns the content of the file at `uri`; at most `limit` bytes of it.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with open_read(uri) as stream:
        return stream.read() if limit is None else stream.read(limit)


@contextlib.contextmanager
def write_atomic(uri: str) -> Iterator[IO[bytes]]:
    """Opens a binary stream whose content appears at `uri` completely or, on an error, not at all.

    The content goes to a hidden temporary file first: of a local target beside it, to replace it;
    of a remote target on local disk, to be uploaded.
    """
    filesystem, path = resolve(uri)
    remote = is_remote(uri)
    folder = tempfile.gettempdir() if remote else os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"{_HIDDEN}{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if remote:
            try:
                _upload(temporary, filesystem, path)
            except OSError as error:  # some stores do not name the file
                raise type(error)(f"{uri}: cannot be written ({error})") from error
        else:
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def is_temporary(name: str) -> bool:
    """Returns whether a file of this name was made by `write_atomic`, which was killed if the file is still there."""
    return name.startswith(_HIDDEN) and name.endswith(".tmp")


def _upload(source: str, filesystem: pafs.FileSystem, path: str) -> None:
    """Copies a local file to `path`; through a hidden name if a partially written file would be visible."""
    direct = filesystem.type_name in _OBJECT_STORES
    target = path if direct else os.path.join(os.path.dirname(path), os.path.basename(source))
    pafs.copy_files(source, target, source_filesystem=_local(), destination_filesystem=filesystem)
    if not direct:
        with contextlib.suppress(FileNotFoundError):  # HDFS does not rename over a file
            filesystem.delete_file(path)
        filesystem.move(target, path)


def write_bytes(uri: str, content: bytes) -> None:
    """Writes `content` to `uri` atomically."""
    with write_atomic(uri) as stream:
        stream.write(content)


def create(uri: str, content: bytes) -> None:
    """Writes `content` to a new local file; of several simultaneous attempts, one succeeds.

    Raises:
        FileExistsError: the file exists already.
    """
    path = resolve(uri)[1]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as stream:
        stream.write(content)


def delete(uri: str) -> None:
    """Deletes the file at `uri` if it exists."""
    filesystem, path = resolve(uri)
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_file(path)
