"""Inputs (files, folders and globs) → shards, each in one of the formats."""

from __future__ import annotations

import contextlib
import glob as shell
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.vocabulary import INPUT_FORMATS
from transforms.formats.files import is_image_name
from transforms.formats.shard import Shard, ShardError
from transforms.formats.tfrecord import HEADER_BYTES, parse_header

_NAMES = (
    ("tfrecord", re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE)),
    ("webdataset", re.compile(r"\.(tar|tar\.gz|tgz)$", re.IGNORECASE)),
    ("parquet", re.compile(r"\.(parquet|pq)$", re.IGNORECASE)),
)
_HEAD_BYTES = 4096
_TAR_MAGIC = slice(257, 262)
_GZIP_WINDOW = 31


@dataclass(frozen=True)
class _Found:
    """The files that one input names.

    Attributes:
        text: the input as given.
        root: the folder that holds all of it.
        files: URIs.
        pattern: a glob of the file names that it selects within a folder.
        explicit: whether it names files, and not only a folder above them.
    """

    text: str
    root: str
    files: list[str]
    pattern: str
    explicit: bool


def expand(inputs: Sequence[str], input_format: str = "auto") -> list[Shard]:
    """Returns the shards that the inputs name, sorted by name.

    A folder stands for all shards and images below it, whatever else it contains, and all images directly
    in one folder are one shard. Names are relative to the folder that the inputs have in
    common, so they do not change if a data set moves; the name of a folder of images begins with the
    common folder's own name.

    Args:
        inputs: URIs of files and folders, and globs.
        input_format: one of `INPUT_FORMATS`, or `auto`.

    Raises:
        FileNotFoundError: an input matches nothing.
        ValueError: the format is unknown, or that of a file cannot be detected.
    """
    if input_format not in ("auto", *INPUT_FORMATS):
        raise UsageError(f"input_format: {input_format!r} is not one of auto, {', '.join(INPUT_FORMATS)}")
    found = [_find(text) for text in inputs]
    common = _common([_parts(item.root) for item in found])
    patterns: dict[tuple[str, str], set[str]] = {}
    for item in found:
        for uri, kind in _shards(item, input_format):
            patterns.setdefault((uri, kind), set()).update({item.pattern} if kind == "files" else ())
    shards = [
        Shard(uri, _name(uri, kind, common), kind, tuple(sorted(wanted))) for (uri, kind), wanted in patterns.items()
    ]
    return sorted(shards, key=lambda shard: (shard.name, shard.format))


def detect(uri: str) -> str | None:
    """Returns the format of the file at `uri`, by its name or else by its first bytes; None if it is unknown."""
    return _by_name(uri) or _by_content(uri)


def _find(text: str) -> _Found:
    uri = text.rstrip("/") if storage.is_remote(text) else os.path.abspath(storage.resolve(text)[1])
    folder, name = _split(uri)
    if storage.size(uri) is not None:
        return _Found(text, folder, [uri], shell.escape(name), explicit=True)
    if storage.is_folder(uri):
        visible = [path for path in storage.walk(uri) if not re.search(r"(^|/)\.", path)]
        return _Found(text, uri, [storage.join(uri, path) for path in visible], "*", explicit=False)
    if storage.has_wildcard(uri):
        root, _ = storage.split_wildcard(uri)
        return _Found(text, root, storage.glob(uri), "*" if name == "**" else name, explicit=True)
    raise FileNotFoundError(f"there is no {text}")


def _shards(item: _Found, input_format: str) -> Iterator[tuple[str, str]]:
    """Yields URI and format of each shard of an input; a folder of images as often as it has images."""
    empty = True
    for uri in item.files:
        kind = _format(uri, input_format, item.explicit)
        if kind is not None:
            empty = False
            yield (_split(uri)[0] if kind == "files" else uri), kind
    if empty:
        wanted = "images or shards" if input_format == "auto" else f"input of the format {input_format}"
        raise FileNotFoundError(f"no {wanted} at {item.text}")


def _format(uri: str, input_format: str, explicit: bool) -> str | None:
    """Returns the format of a file, or None if the file is not part of the input."""
    trusted = explicit and input_format not in ("auto", "files")
    kind = _by_name(uri) or input_format if trusted else detect(uri)
    if kind is None and explicit and input_format == "auto":
        raise UsageError(f"cannot detect the format of {uri}; give input_format, one of {', '.join(INPUT_FORMATS)}")
    return kind if input_format in ("auto", kind) else None


def _by_name(uri: str) -> str | None:
    if is_image_name(_split(uri)[1]):
        return "files"
    return next((kind for kind, pattern in _NAMES if pattern.search(uri)), None)


def _by_content(uri: str) -> str | None:
    head = storage.read_bytes(uri, limit=_HEAD_BYTES)
    with contextlib.suppress(zlib.error):  # raised if it is not gzipped
        head = zlib.decompressobj(_GZIP_WINDOW).decompress(head, _HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[_TAR_MAGIC] == b"ustar":
        return "webdataset"
    try:
        parse_header(head[:HEADER_BYTES])
    except ShardError:
        return None
    return "tfrecord"


def _name(uri: str, kind: str, common: list[str]) -> str:
    """Returns a shard's name: its path below the common folder or, for images, below that folder's parent."""
    above = len(common) - 1 if kind == "files" else len(common)
    return "/".join(_parts(uri)[max(above, 0) :]).strip("/") or "/"


def _common(folders: list[list[str]]) -> list[str]:
    """Returns the components that all folders begin with."""
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))
    return [parts[0] for parts in same]


def _split(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    return folder or "/", name


def _parts(uri: str) -> list[str]:
    return uri.rstrip("/").split("/")
