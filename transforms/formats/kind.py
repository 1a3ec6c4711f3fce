"""What a file holds: a format of shards, or a picture, by its name or else by its first bytes."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from transforms import storage
from transforms.core.image.identify import is_picture
from transforms.core.vocabulary import IMAGE_EXTENSIONS
from transforms.formats.stream import compression_of
from transforms.formats.tfrecord_header import is_header

OTHER = "other"
"""What is neither, by its name: notes beside the pictures, and camera files, whose preview would be decoded."""

_NAMES = (
    ("files", re.compile(rf"\.({'|'.join(IMAGE_EXTENSIONS)})$", re.IGNORECASE)),
    ("tfrecord", re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$", re.IGNORECASE)),
    ("webdataset", re.compile(r"\.(tar|tar\.gz|tgz)$", re.IGNORECASE)),
    ("parquet", re.compile(r"\.(parquet|pq)$", re.IGNORECASE)),
    (OTHER, re.compile(r"\.(txt|md|html?|csv|tsv|jsonl?|ya?ml|xml|log|py|ipynb|pdf|mat|db|ini|sh)$", re.IGNORECASE)),
    (OTHER, re.compile(r"\.(dng|nef|cr[23]|arw|raf|rw2|orf|pef|srw)$", re.IGNORECASE)),
)
_HEAD_BYTES = 4096
_TAR_MAGIC = slice(257, 262)
_REQUESTS = 32  # simultaneously: an object store takes tens of milliseconds for each


def by_name(name: str) -> str | None:
    """Returns the format that a file's name shows, `files` for a picture, or OTHER; None if it shows nothing.

    >>> by_name("a.JPG"), by_name("a.tar"), by_name("a.txt"), by_name("a")
    ('files', 'webdataset', 'other', None)
    """
    hidden = name.startswith(".")
    return next((kind for kind, pattern in _NAMES if pattern.search(name) and not (hidden and kind == "files")), None)


def detect(uri: str) -> str | None:
    """Returns the format of the file at `uri`, by its name or else by its first bytes; None if it is unknown."""
    shown = by_name(uri.rpartition("/")[2])
    if shown not in (None, OTHER):
        return shown
    kind = by_content(uri)
    return None if shown == OTHER and kind == "files" else kind


def detect_all(uris: Sequence[str]) -> list[str | None]:
    """Returns the format of each file, by its name or else by its first bytes; None for OTHER, which is not read."""
    kinds = [by_name(uri.rpartition("/")[2]) for uri in uris]
    unknown = [uri for uri, kind in zip(uris, kinds, strict=True) if kind is None]
    read = iter(each(_by_content_if_there, unknown))
    return [next(read) if kind is None else None if kind == OTHER else kind for kind in kinds]


def each(look: Callable[[str], str | None], uris: Sequence[str]) -> list[str | None]:
    """Returns what `look` returns for each file, many of which are looked at simultaneously."""
    with ThreadPoolExecutor(_REQUESTS, "detect") as threads:
        return list(threads.map(look, uris))


def by_content(uri: str) -> str | None:
    """Returns the format of the file at `uri` by its first bytes; None if it is unknown."""
    first = head = storage.read_bytes(uri, limit=_HEAD_BYTES)
    if compression := compression_of(head):
        with contextlib.suppress(zlib.error):  # raised if it is damaged
            head = zlib.decompressobj(compression).decompress(head, _HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[_TAR_MAGIC] == b"ustar":
        return "webdataset"
    if is_header(head):
        return "tfrecord"
    return "files" if is_picture(first) else None


def _by_content_if_there(uri: str) -> str | None:
    try:
        return by_content(uri)
    except FileNotFoundError:  # it was listed, but is gone
        return None
