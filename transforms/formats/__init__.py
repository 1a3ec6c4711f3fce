"""Shards of images: how they are found, cut into chunks, and read chunk by chunk.

In reading order: `shard` (options, shards, chunks), `label` and `tensor` (stored values → labels, and images that are
arrays), `stream` (exact reads and skips), then a module for each format, all with the same two functions, `plan(shard,
options)` and `read(chunk, options)`: `tfrecord` (with `tfrecord_header` and `example`), `webdataset` (with `tar`),
`parquet` (with `features` and `pages`), `files`; `discover` (with `braces`) finds shards and detects their format.
Imports neither Beam nor TensorFlow.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from types import ModuleType

from transforms import storage
from transforms.core.record import Chunk, Failure, Image
from transforms.formats import files, parquet, tfrecord, webdataset
from transforms.formats.discover import Discovery, discover, expand
from transforms.formats.kind import detect
from transforms.formats.shard import ReadOptions, Shard, ShardError, damaged_chunk, failure

__all__ = [
    "STANDS_FOR",
    "Discovery",
    "ReadOptions",
    "Shard",
    "describe",
    "detect",
    "discover",
    "expand",
    "plan",
    "read",
]

_MODULES: dict[str, ModuleType] = {
    "tfrecord": tfrecord,
    "webdataset": webdataset,
    "parquet": parquet,
    "files": files,
}

STANDS_FOR = "; this row stands for "
"""Begins what the failure of a shard says of its images, after the reason."""

_LOOKS = 3


def describe(shards: Sequence[Shard], options: ReadOptions) -> tuple[str, ...]:
    """Returns what is taken for granted of the input, a sentence each, from a look at a shard of each format.

    It is the first, or the next few if that cannot be read, which the job records.

    Raises:
        UsageError: the options do not fit the shard.
    """
    found: list[str] = []
    for kind, look in (("parquet", parquet.describe), ("webdataset", webdataset.describe)):
        for shard in itertools.islice((shard for shard in shards if shard.format == kind), _LOOKS):
            with contextlib.suppress(ShardError, FileNotFoundError, storage.StorageError):
                found += look(shard, options)
                break
    return tuple(found)


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard, in order; reads no pixels.

    A shard that is missing or refused yields one chunk without images, which `read` turns into a failure.

    Raises:
        ValueError: the shard's schema does not match the options.
        UnavailableError: the storage fails.
    """
    planned = 0
    try:
        for chunk in _MODULES[shard.format].plan(shard, options):
            yield chunk
            planned = chunk.start + chunk.count
    except (FileNotFoundError, storage.RefusedError) as error:
        unknown = "how many more images it holds" if planned else "how many images it holds"
        yield damaged_chunk(shard, planned, f"{error}; {unknown} is unknown; --resume retries it")


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields the images of a chunk in order, and a failure for each that cannot be read.

    Damage to the shard itself yields one failure, which stands for everything after it. So does a shard that is missing
    or refused by now; its failure is a RefusedError, by which a resumed run recognizes what to retry.

    Raises:
        UnavailableError: the storage fails.
    """
    damage: Exception | None = ShardError(chunk.damage) if chunk.damage else None
    index, end = chunk.start, chunk.start + chunk.count
    try:
        for item in _MODULES[chunk.format].read(chunk, options) if chunk.count else ():
            yield item
            index = item.index + 1
    except ShardError as error:
        damage = error
    except (FileNotFoundError, storage.RefusedError) as error:
        what = f"{STANDS_FOR}{end - index} images, starting at index {index}"
        damage = storage.RefusedError(f"{error}{what}; --resume retries them")
    if damage is not None:
        yield failure(chunk, index, index, damage)
