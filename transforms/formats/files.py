"""Plain image files; a shard is one folder.

An image's label is the name of its folder, except for images directly in the inputs'
common folder: `photos/cat/1.jpg` of the input `photos` is labeled `cat`, `photos/1.jpg` has no label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from transforms import storage
from transforms.core.record import Chunk, Failure, Image
from transforms.formats.shard import ReadOptions, RecordError, Shard, cut, failure, parse_label

_IMAGE_NAME = re.compile(r"[^.].*\.(jpe?g|png|webp|bmp|tiff?|gif)", re.IGNORECASE | re.DOTALL)


def is_image_name(name: str) -> bool:
    """Returns whether a file's name has an image's extension and does not begin with a dot."""
    return bool(_IMAGE_NAME.fullmatch(name))


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a folder; only lists it.

    Raises:
        FileNotFoundError: the folder no longer exists.
    """
    members = [name for name in storage.names(shard.uri) if is_image_name(name) and _wanted(name, shard.patterns)]
    if not members and not storage.is_folder(shard.uri):
        raise FileNotFoundError(f"{shard.uri}: the folder no longer exists")
    for chunk in cut(shard, range(len(members)), options.chunk_images):
        yield replace(chunk, offset=0, members=tuple(members[chunk.start : chunk.start + chunk.count]), keyed=True)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order."""
    _, below, folder = chunk.name.rpartition("/")
    label = parse_label(folder) if below else None
    for index, name in enumerate(chunk.members, start=chunk.start):
        try:
            data = _content(storage.join(chunk.shard, name), options.max_bytes)
        except (FileNotFoundError, RecordError) as error:
            yield failure(chunk, index, name, error)
        except storage.RefusedError as error:  # of one image, not of the shard: as permanent as any record's
            yield failure(chunk, index, name, RecordError(str(error)))
        else:
            yield Image(f"{chunk.name}#{name}", chunk.shard, index, data, label)


def _wanted(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _content(uri: str, max_bytes: int) -> bytes:
    data = storage.read_bytes(uri, limit=max_bytes + 1)
    if len(data) > max_bytes:
        raise RecordError(f"the file is longer than the {max_bytes} bytes allowed")
    return data
