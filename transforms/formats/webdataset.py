"""WebDataset shards: tar archives in which consecutive members with the same key form a sample.

A key is a member's path up to the first dot of its file name; in a shard in which this gives no sample with an image,
up to the last. A sample is `key.jpg` (or another kind of image, or what `image_member` names), with its label in
`key.cls` (a class index or name) or `key.json` (its `label`, `cls` or `class`); the fields to copy come from the JSON
too, and the image's mask from `key.mask.png`. Other members and hidden files are ignored, but a sample with a label
and no image is recorded as an error.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from transforms.core.errors import UsageError
from transforms.core.record import Chunk, Failure, Image
from transforms.core.stable_hash import stable_digest
from transforms.core.vocabulary import IMAGE_EXTENSIONS, MAX_KEY_BYTES, MAX_LABEL_BYTES
from transforms.formats.label import StoredLabel, parse_label, unusable
from transforms.formats.shard import ReadOptions, RecordError, Shard, ShardError, as_text, cut, failure
from transforms.formats.stream import ShardStream
from transforms.formats.tar import Member, members

_IMAGES = tuple(name for name in IMAGE_EXTENSIONS if name != "npy")  # arrays beside pictures are mostly features
_LABELS = ("cls", "json")
_MASK = "mask.png"
_JSON_LABELS = ("label", "cls", "class")
_SURVEYED = 10_000
_DESCRIBED = 20
_SHOWN = 5


@dataclass(frozen=True)
class _Sample:
    """Consecutive members of one key, by extension; `offset` is the position of the first, in bytes."""

    key: str
    offset: int
    members: dict[str, Member]


@dataclass(frozen=True)
class _Keys:
    """How the names of members become keys and extensions.

    Attributes:
        wanted: extensions of the image in the order of preference; empty for every kind of image.
        dotted: whether a key extends to the last dot, not to the first.
    """

    wanted: tuple[str, ...]
    dotted: bool = False

    @classmethod
    def of(cls, options: ReadOptions, dotted: bool = False) -> _Keys:
        texts = (text.strip().lower().lstrip(".") for text in options.image_member.split("|"))
        return cls(tuple(text for text in texts if text), dotted)

    def split(self, name: str) -> tuple[str, str]:
        """Returns the key and the lowercase extension of a member; both empty if it belongs to no sample.

        >>> _Keys(()).split("train/0001.jpg"), _Keys((), dotted=True).split("cat.0001.jpg")
        (('train/0001', 'jpg'), ('cat.0001', 'jpg'))
        """
        folder, slash, base = name.rpartition("/")
        stem, _, extension = base.partition(".")
        if self.dotted and stem:
            stem, _, extension = base.rpartition(".")
            if f"{stem}.{extension}".lower().endswith(f".{_MASK}"):
                stem, extension = stem.rpartition(".")[0], _MASK
        extension = extension.lower()
        known = extension.rpartition(".")[2] in _IMAGES + _LABELS or extension in self.wanted
        return (folder + slash + stem, extension) if stem and known else ("", "")

    def pictures(self, sample: _Sample) -> list[str]:
        """Returns the extensions of a sample's pictures that may be its image; one at most if some are wanted."""
        if self.wanted:
            return [extension for extension in self.wanted if extension in sample.members][:1]
        return [extension for extension in sample.members if extension in _IMAGES]

    def limit(self, name: str, options: ReadOptions) -> int:
        """Returns the most bytes that may be read of a member."""
        _, extension = self.split(name)
        if extension in _LABELS:
            return MAX_LABEL_BYTES
        return options.max_bytes if extension in (*(self.wanted or _IMAGES), _MASK) else -1


@dataclass
class _Survey:
    """What planning learns of a shard's samples: whether any has an image and, if not, why."""

    samples: int = 0
    images: int = 0
    first_keys: dict[str, str] = field(default_factory=dict)
    recurring: bool = False
    together: tuple[str, ...] = ()
    labeled: tuple[str, ...] = ()

    def add(self, sample: _Sample, pictures: list[str]) -> None:
        """Takes note of the next sample.

        Raises:
            UsageError: it is the first, and has several pictures.
        """
        if len(pictures) > 1 and not self.samples:
            raise UsageError(_which_image(sample, pictures))
        self.samples += 1
        self.images += bool(pictures)
        if self.images or len(self.first_keys) > _SURVEYED:
            return
        dotted = [name for name in sample.members if "." in name and name != _MASK]
        self.recurring |= any(self.first_keys.setdefault(name, sample.key) != sample.key for name in dotted)
        if len(dotted) > 1 and not any(name.endswith(_LABELS) for name in dotted):
            self.together = self.together or tuple(dotted)
        if dotted and any(name in sample.members for name in _LABELS):
            self.labeled = self.labeled or tuple(dotted)

    def asks(self) -> tuple[str, ...]:
        """Returns extensions of which one must be the image: those of samples with a label, or that recur together."""
        return self.labeled or (self.together if self.recurring else ())


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard; reads only member headers.

    Image ids end in the keys unless one of these repeats or is longer than MAX_KEY_BYTES.

    Raises:
        UsageError: samples have several pictures, and `image_member` does not say which is the image.
    """
    chunks, survey = _plan(shard, options, dotted=False)
    if survey.first_keys and not survey.images:
        _check_question(shard, survey, options)
        dotted, second = _plan(shard, options, dotted=True)
        chunks = dotted if second.images else chunks
    yield from chunks


def _check_question(shard: Shard, survey: _Survey, options: ReadOptions) -> None:
    """Raises UsageError if the samples of a shard without an image have pictures, of which one may be the image."""
    if (names := survey.asks()) and not options.image_member:
        raise UsageError(
            f"image_member: the samples of {shard.name} have no image such as jpg, but {_some(names)}; name one, "
            f"or {names[0].rpartition('.')[2]} if each of them is an image of its own"
        )


def _plan(shard: Shard, options: ReadOptions, dotted: bool) -> tuple[list[Chunk], _Survey]:
    """Returns the chunks for one way to split names, and what was learned."""
    keys, survey, seen = _Keys.of(options, dotted), _Survey(), set()
    keyed = True

    def offsets(stream: ShardStream) -> Iterator[int]:
        nonlocal keyed
        for sample in _samples(stream, keys, lambda name, size: False):
            survey.add(sample, keys.pictures(sample))
            key = sample.key.encode()
            digest = stable_digest(sample.key, 12)  # a million long keys would take a gigabyte
            keyed = keyed and digest not in seen and len(key) <= MAX_KEY_BYTES
            if keyed:
                seen.add(digest)
            yield sample.offset

    with ShardStream(shard.uri) as stream:
        chunks = list(cut(shard, offsets(stream), options.chunk_images))
    return [replace(chunk, keyed=keyed, dotted=dotted) for chunk in chunks], survey


def describe(shard: Shard, options: ReadOptions) -> tuple[str, ...]:
    """Returns what is taken for granted of a shard, a sentence each; reads no more than its first samples' headers.

    Raises:
        UsageError: samples have several pictures, and `image_member` does not say which is the image.
        ShardError: the shard is damaged.
    """
    keys, survey = _Keys.of(options), _Survey()
    with ShardStream(shard.uri) as stream:
        for sample in itertools.islice(_samples(stream, keys, lambda name, size: False), _DESCRIBED):
            survey.add(sample, keys.pictures(sample))
            if survey.images:
                return ()
    _check_question(shard, survey, options)
    if not survey.first_keys:
        return ()
    return (f"samples: no image up to a file name's first dot in {shard.name}: keys end at the last",)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order.

    Raises:
        ShardError: the shard is damaged within the chunk.
    """
    keys = _Keys.of(options, chunk.dotted)
    with ShardStream(chunk.shard) as stream:
        stream.skip_to(chunk.offset)
        samples = _samples(stream, keys, lambda name, size: size <= keys.limit(name, options))
        for index in range(chunk.start, chunk.start + chunk.count):
            sample = next(samples, None)
            if sample is None:
                raise ShardError(f"the shard ends before sample {index}")
            key = sample.key if chunk.keyed else index
            try:
                image = _image(chunk, index, key, sample, keys.pictures(sample), options)
            except RecordError as error:
                yield failure(chunk, index, key, error)
            else:
                yield image


def _samples(stream: ShardStream, keys: _Keys, wanted: Callable[[str, int], bool]) -> Iterator[_Sample]:
    """Yields the samples from the stream's position on, including the one right before damage."""
    sample = None
    try:
        for member in members(stream, wanted):
            key, extension = keys.split(member.name)
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


def _image(
    chunk: Chunk, index: int, key: str | int, sample: _Sample, pictures: list[str], options: ReadOptions
) -> Image:
    if not pictures:
        asked = f"; image_member is {options.image_member}" if options.image_member else ""
        raise RecordError(f"a sample without an image: {sample.key:.200} has {_some(tuple(sample.members))}{asked}")
    if len(pictures) > 1:
        raise RecordError(_which_image(sample, pictures))
    data = _content(sample.members[pictures[0]], options.max_bytes)
    about, damage = _json(sample.members.get("json"))
    if damage and options.fields:
        raise RecordError(damage)
    label = _label(sample.members.get("cls"), about, damage)
    fields = tuple((name, as_text(about[name])) for name in options.fields if about.get(name) is not None)
    mask = _content(sample.members[_MASK], options.max_bytes) if _MASK in sample.members else None
    image_id = f"{chunk.name}#{key}"
    return Image(image_id, chunk.shard, index, data, label.value, fields, mask, label_problem=label.problem)


def _label(member: Member | None, about: dict[str, Any], damage: str) -> StoredLabel:
    """Returns the label of a sample: of its own member, or else of the JSON, which may be damaged."""
    if member is not None:
        return parse_label(member.data) if member.data is not None else unusable(_too_long(member, MAX_LABEL_BYTES))
    if damage:
        return unusable(damage)
    return parse_label(next((about[name] for name in _JSON_LABELS if name in about), None))


def _content(member: Member, limit: int) -> bytes:
    if member.data is None:
        raise RecordError(_too_long(member, limit))
    return member.data


def _too_long(member: Member, limit: int) -> str:
    return f"{member.name:.200}: {member.size} bytes are more than the {limit} allowed"


def _json(member: Member | None) -> tuple[dict[str, Any], str]:
    """Returns the content of a sample's JSON, and what is wrong with it."""
    if member is None:
        return {}, ""
    if member.data is None:
        return {}, _too_long(member, MAX_LABEL_BYTES)
    try:
        about = json.loads(member.data)
    except (ValueError, RecursionError) as error:
        return {}, f"{member.name:.200}: not JSON: {error}"
    return (about, "") if isinstance(about, dict) else ({}, f"{member.name:.200}: not a JSON object")


def _which_image(sample: _Sample, pictures: list[str]) -> str:
    return f"image_member: the sample {sample.key:.200} has several pictures, {_some(tuple(pictures))}; name one"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name:.80}" for name in names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)
