"""WebDataset shards: tar archives in which consecutive members with the same key form a sample.

A key is a member's path up to the first dot of its file name. A sample is `key.jpg` (or another kind of
image), with its label in `key.cls` (a class index or name) or `key.json` (its `label`, `cls` or
`class`); the fields to copy come from the JSON too, and the image's mask from `key.mask.png`. Other
members and hidden files are ignored, but a sample with a label and no image is recorded as an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from transforms.core.record import Chunk, Failure, Image
from transforms.core.stable_hash import stable_digest
from transforms.core.vocabulary import MAX_KEY_BYTES, MAX_LABEL_BYTES
from transforms.formats.shard import (
    ReadOptions,
    RecordError,
    Shard,
    ShardError,
    as_text,
    cut,
    failure,
    parse_label,
)
from transforms.formats.stream import ShardStream
from transforms.formats.tar import Member, members

_IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif")
_LABELS = ("cls", "json")
_MASK = "mask.png"
_JSON_LABELS = ("label", "cls", "class")


@dataclass(frozen=True)
class _Sample:
    """Consecutive members of one key, by extension; `offset` is the position of the first, in bytes."""

    key: str
    offset: int
    members: dict[str, Member]


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard; reads only member headers.

    Image ids end in the keys unless one of these repeats or is longer than MAX_KEY_BYTES.
    """
    keyed, seen = True, set()

    def offsets(stream: ShardStream) -> Iterator[int]:
        nonlocal keyed
        for sample in _samples(stream, lambda name, size: False):
            key = sample.key.encode()
            digest = stable_digest(sample.key, 12)  # a million long keys would take a gigabyte
            keyed = keyed and digest not in seen and len(key) <= MAX_KEY_BYTES
            if keyed:
                seen.add(digest)
            yield sample.offset

    with ShardStream(shard.uri) as stream:
        chunks = list(cut(shard, offsets(stream), options.chunk_images))
    yield from (replace(chunk, keyed=keyed) for chunk in chunks)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order.

    Raises:
        ShardError: the shard is damaged within the chunk.
    """
    with ShardStream(chunk.shard) as stream:
        stream.skip_to(chunk.offset)
        samples = _samples(stream, lambda name, size: size <= _limit(name, options))
        for index in range(chunk.start, chunk.start + chunk.count):
            sample = next(samples, None)
            if sample is None:
                raise ShardError(f"the shard ends before sample {index}")
            key = sample.key if chunk.keyed else index
            try:
                image = _image(chunk, index, key, sample, options)
            except RecordError as error:
                yield failure(chunk, index, key, error)
            else:
                yield image


def _samples(stream: ShardStream, wanted: Callable[[str, int], bool]) -> Iterator[_Sample]:
    """Yields the samples from the stream's position on, including the one right before damage."""
    sample = None
    try:
        for member in members(stream, wanted):
            key, extension = _split(member.name)
            if not key:
                continue
            if sample is not None and (key != sample.key or extension in sample.members):
                yield sample
                sample = None
            sample = sample or _Sample(key, member.offset, {})
            sample.members[extension] = member
    except ShardError:
        if sample is not None:
            yield sample
        raise
    if sample is not None:
        yield sample


def _split(name: str) -> tuple[str, str]:
    """Returns the key and the lowercase extension of a member; both empty if it belongs to no sample.

    >>> _split("train/0001.jpg")
    ('train/0001', 'jpg')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    extension = extension.lower()
    known = extension.rpartition(".")[2] in _IMAGES + _LABELS
    return (folder + slash + stem, extension) if stem and known else ("", "")


def _limit(name: str, options: ReadOptions) -> int:
    """Returns the most bytes that may be read of a member."""
    _, extension = _split(name)
    if extension in _LABELS:
        return MAX_LABEL_BYTES
    return options.max_bytes if extension in _IMAGES or extension == _MASK else -1


def _image(chunk: Chunk, index: int, key: str | int, sample: _Sample, options: ReadOptions) -> Image:
    extension = next((extension for extension in sample.members if extension in _IMAGES), None)
    if extension is None:
        held = ", ".join(sample.members)
        raise RecordError(f"a sample without an image: {sample.key:.200} has {held:.200}")
    data = _content(sample.members[extension], options.max_bytes)
    about = _json(sample.members["json"]) if "json" in sample.members else {}
    if "cls" in sample.members:
        label = parse_label(_content(sample.members["cls"], MAX_LABEL_BYTES))
    else:
        label = parse_label(next((about[name] for name in _JSON_LABELS if name in about), None))
    fields = tuple((name, as_text(about[name])) for name in options.fields if about.get(name) is not None)
    mask = _content(sample.members[_MASK], options.max_bytes) if _MASK in sample.members else None
    return Image(f"{chunk.name}#{key}", chunk.shard, index, data, label, fields, mask)


def _content(member: Member, limit: int) -> bytes:
    if member.data is None:
        raise RecordError(f"{member.name:.200}: {member.size} bytes are more than the {limit} allowed")
    return member.data


def _json(member: Member) -> dict[str, Any]:
    content = _content(member, MAX_LABEL_BYTES)
    try:
        about = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{member.name:.200}: not JSON: {error}") from error
    if not isinstance(about, dict):
        raise RecordError(f"{member.name:.200}: not a JSON object")
    return about
