"""Shards of images: what they are, how they are cut into chunks, and how a chunk is read.

In reading order: `shard` (options, shards, chunks, labels), `stream` (exact reads and skips), then a
module for each format, all with the same two functions, `plan(shard, options)` and `read(chunk,
options)`: `tfrecord` (with `example`), `webdataset` (with `tar`), `parquet` (with `pages`), `files`; `discover` tells
which is which. Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from transforms.core.record import Chunk, Failure, Image
from transforms.formats import files, parquet, tfrecord, webdataset
from transforms.formats.discover import detect, expand
from transforms.formats.shard import FORMATS, ReadOptions, Shard, ShardError, failure

__all__ = ["FORMATS", "ReadOptions", "Shard", "detect", "expand", "plan", "read"]

_MODULES: dict[str, ModuleType] = {
    "tfrecord": tfrecord,
    "webdataset": webdataset,
    "parquet": parquet,
    "files": files,
}


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard, in order; reads no pixels.

    Raises:
        FileNotFoundError: there is no such shard.
        ValueError: the shard's schema isn't what the options say.
    """
    yield from _MODULES[shard.format].plan(shard, options)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields the images of a chunk in order, or why one can't be read.

    Damage to the shard itself is one failure, which stands for all that comes after it.

    Raises:
        FileNotFoundError: the shard is gone.
        OSError: the storage fails.
    """
    damage = ShardError(chunk.damage) if chunk.damage else None
    index = chunk.start
    try:
        for item in _MODULES[chunk.format].read(chunk, options):
            yield item
            index = item.index + 1
    except ShardError as error:
        damage = error
    if damage is not None:
        yield failure(chunk, index, index, damage)
