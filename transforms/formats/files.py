"""Plain image files; a shard is one folder.

An image's label is the name of its folder, except for images directly in the inputs'
common folder: `photos/cat/1.jpg` of the input `photos` is labeled `cat`, `photos/1.jpg` has no label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from transforms import storage
from transforms.core.record import Chunk, Failure, Image
from transforms.formats.kind import detect_all
from transforms.formats.label import StoredLabel, parse_label
from transforms.formats.shard import ReadOptions, RecordError, Shard, cut, failure


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a folder: lists it, and reads the first bytes of files whose names show nothing.

    Raises:
        FileNotFoundError: the folder no longer exists.
    """
    members = _members(shard)
    if not members and not storage.is_folder(shard.uri):
        raise FileNotFoundError(f"{shard.uri}: the folder no longer exists")
    for chunk in cut(shard, range(len(members)), options.chunk_images):
        yield replace(chunk, offset=0, members=tuple(members[chunk.start : chunk.start + chunk.count]), keyed=True)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order."""
    _, below, folder = chunk.name.rpartition("/")
    label = parse_label(folder) if below else StoredLabel()
    for index, name in enumerate(chunk.members, start=chunk.start):
        try:
            data = _content(storage.join(chunk.shard, name), options.max_bytes)
        except (FileNotFoundError, RecordError) as error:
            yield failure(chunk, index, name, error)
        except storage.RefusedError as error:  # of one image, not of the shard: as permanent as any record's
            yield failure(chunk, index, name, RecordError(str(error)))
        else:
            image_id = f"{chunk.name}#{name}"
            yield Image(image_id, chunk.shard, index, data, label.value, label_problem=label.problem)


def _members(shard: Shard) -> list[str]:
    """Returns the names of the folder's pictures that the inputs name."""
    names = [name for name in storage.names(shard.uri) if _wanted(name, shard.patterns)]
    kinds = detect_all([storage.join(shard.uri, name) for name in names])
    return [name for name, kind in zip(names, kinds, strict=True) if kind == "files"]


def _wanted(name: str, patterns: tuple[str, ...]) -> bool:
    """Returns whether a pattern matches; a leading dot only matches itself."""
    return any(fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".") for pattern in patterns)


def _content(uri: str, max_bytes: int) -> bytes:
    data = storage.read_bytes(uri, limit=max_bytes + 1)
    if len(data) > max_bytes:
        raise RecordError(f"the file is longer than the {max_bytes} bytes allowed")
    return data
