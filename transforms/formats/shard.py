"""Shared by all formats: the options of reading, shards, and how a shard is cut into chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from transforms.core.option import option
from transforms.core.record import Chunk, Failure
from transforms.core.vocabulary import INPUT_FORMATS, MAX_BYTES


@dataclass(frozen=True)
class ReadOptions:
    """How shards are read; with `auto`, a shard's format is detected from its name and first bytes."""

    input_format: str = option(
        "auto", "format of the shards", ("auto", *INPUT_FORMATS), group="input", metavar="FORMAT"
    )
    chunk_images: int = option(256, "images in a chunk, the unit of work, retry and resume", low=1, group="input")
    limit: int = option(
        0,
        "audit a sample of so many images, in runs of neighbors chosen by a hash; 0 audits all",
        low=0,
        group="input",
        metavar="N",
    )
    image_feature: str = option(
        "image/encoded",
        "feature of a tf.Example that holds the image",
        group="input",
        metavar="FEATURE",
    )
    label_feature: str = option(
        "image/class/label",
        "feature of a tf.Example that holds the label: a number, a name, or several; '' for none",
        group="input",
        metavar="FEATURE",
    )
    height_feature: str = option(
        "image/height",
        "feature of a tf.Example that holds the height of an image given as raw bytes or as numbers",
        group="input",
        metavar="FEATURE",
    )
    width_feature: str = option("image/width", "its width", group="input", metavar="FEATURE")
    channels_feature: str = option(
        "image/channels",
        "its number of channels; an image without this feature has 1, 3 or 4",
        group="input",
        metavar="FEATURE",
    )
    image_column: str = option(
        "image",
        "Parquet column of images: binary, struct<bytes, path>, or arrays; if there is none of this name, the only one "
        "that Hugging Face's metadata calls an Image",
        group="input",
        metavar="COLUMN",
    )
    label_column: str = option(
        "label",
        "Parquet column of labels: numbers, names, lists or structs of these; '' for none; if there is none of this "
        "name, the only one that Hugging Face's metadata calls a ClassLabel",
        group="input",
        metavar="COLUMN",
    )
    image_member: str = option(
        "",
        "extension of a WebDataset sample's image, if samples have several pictures, such as left.png; several in the "
        "order of preference, as jpg|png",
        group="input",
        metavar="EXTENSION",
    )
    mask_feature: str = option(
        "",
        "feature of a tf.Example that holds an encoded mask, zero outside the object",
        group="input",
        metavar="FEATURE",
    )
    mask_column: str = option(
        "", "Parquet column of encoded masks, zero outside the object", group="input", metavar="COLUMN"
    )
    max_bytes: int = option(
        MAX_BYTES, "an encoded image (or a TFRecord) of more bytes is recorded as an error", low=1, group="input"
    )
    fields: tuple[str, ...] = option(
        (), "additional features, columns or JSON keys to copy into the rows as text", group="input", metavar="FIELD"
    )


@dataclass(frozen=True, order=True)
class Shard:
    """One input to plan.

    Attributes:
        uri: the file; for `files`, the folder.
        name: its path relative to the inputs' common folder; no two shards of a run share it.
        format: one of `INPUT_FORMATS`.
        patterns: globs of the folder's files that belong to the shard (`files` only).
    """

    uri: str
    name: str
    format: str
    patterns: tuple[str, ...] = ()


class ShardError(ValueError):
    """A shard is damaged: nothing after this point can be read."""


class RecordError(ValueError):
    """One record cannot be read; those after it can."""


def cut(shard: Shard, offsets: Iterable[int], chunk_images: int) -> Iterator[Chunk]:
    """Cuts a shard into chunks of `chunk_images` images; the last may be shorter.

    Args:
        shard: the shard.
        offsets: the position of each of its images. A `ShardError` raised on the way becomes the last
            chunk's damage; that chunk has no images if the damage precedes the first.
        chunk_images: the most images in one chunk.
    """
    start = count = first = 0
    damage = ""
    try:
        for offset in offsets:
            if count == chunk_images:
                yield _chunk(shard, start, count, first)
                start, count = start + count, 0
            first = first if count else offset
            count += 1
    except ShardError as error:
        damage = str(error)
    if count or damage:
        yield _chunk(shard, start, count, first, damage)


def damaged_chunk(shard: Shard, start: int, damage: str) -> Chunk:
    """Returns a chunk without images, for a shard that cannot be read from the image at `start` on."""
    return _chunk(shard, start, 0, 0, damage)


def _chunk(shard: Shard, start: int, count: int, offset: int, damage: str = "") -> Chunk:
    digest = hashlib.blake2s(f"{shard.format}\0{shard.name}".encode("utf-8", "surrogateescape"), digest_size=8)
    chunk_id = f"{digest.hexdigest()}-{start:08d}"
    return Chunk(chunk_id, shard.uri, shard.name, shard.format, start, count, offset, damage=damage)


def failure(chunk: Chunk, index: int, key: str | int, error: Exception) -> Failure:
    """Returns a record of the failure to read the image at `index` of the shard, whose id ends in `key`."""
    return Failure(f"{chunk.name}#{key}", chunk.shard, index, "read", type(error).__name__, str(error))


def as_text(value: object) -> str:
    """Returns a field's value as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
