"""What an input holds, found within seconds: its shards' images, counted or estimated, and where to look at some.

Parquet footers and listings of folders give exact counts. TFRecord and WebDataset shards are read header by header,
some of them as far as time allows; the rest is estimated from the bytes that their images take.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from transforms import formats, storage
from transforms.core.record import Chunk, Failure, Image
from transforms.core.stable_hash import stable_digest
from transforms.formats import ReadOptions, Shard
from transforms.formats.stream import glimpsing

_THREADS = 8
_SIZES = 2000
"""Shards of which the size is asked for; in an object store, each is a request."""

_RUN = 4
"""Images that are read in one place, at least: opening a shard costs more than reading a few neighbors."""

_PLACES = 64
"""Images between two places of a shard that is read header by header."""

_WHOLE = 1 << 40


@dataclass(frozen=True)
class Survey:
    """What an input holds.

    Attributes:
        images: number of images.
        exact: whether they were counted; otherwise they are an estimate.
        counted: number of images that were counted.
        places: runs of images all over the input, in an order that has nothing to do with their content.
    """

    images: int
    exact: bool
    counted: int
    places: tuple[Chunk, ...]


@dataclass(frozen=True)
class _Planned:
    """The beginning of a shard: its images, the share of the shard's bytes that they take, and whether it is all."""

    shard: Shard
    images: int
    share: float
    complete: bool
    chunks: tuple[Chunk, ...]


def survey(shards: Sequence[Shard], options: ReadOptions, seconds: float) -> Survey:
    """Returns what the shards hold.

    Args:
        shards: all shards of the input.
        options: how they are read.
        seconds: after which no further shard is looked at, and reading the headers of a shard stops; of one shard,
            some headers are read whatever the time.

    Raises:
        ValueError: a shard's schema does not match the options.
        UnavailableError: the storage fails.
    """
    ordered = sorted(shards, key=lambda shard: stable_digest(shard.name, 8))
    until = time.monotonic() + seconds
    most = seconds * min(_THREADS, len(ordered)) / max(1, len(ordered))

    def look(numbered: tuple[int, Shard]) -> _Planned | None:
        left = until - time.monotonic()
        if numbered[0] and left <= 0:
            return None
        return _plan(numbered[1], options, min(most, left))

    with ThreadPoolExecutor(_THREADS) as threads:
        planned = [found for found in threads.map(look, enumerate(ordered)) if found]
    images = sum(each.images for each in planned)
    exact = len(planned) == len(ordered) and all(each.complete for each in planned)
    total = images if exact else _extrapolate(planned, ordered)
    return Survey(total, exact, images, tuple(_places(planned)))


def read(
    places: Sequence[Chunk], options: ReadOptions, most: int, whole: int, seconds: float
) -> Iterator[Image | Failure]:
    """Yields images in some places, in their order.

    Args:
        places: where to look.
        options: how shards are read.
        most: images, about.
        whole: how many come with their pictures, at least, from as many places as possible; the others have no data, so
            that they take no memory.
        seconds: after which no further place is looked at, except the first.
    """
    until = time.monotonic() + seconds
    run = max(_RUN, -(-most // max(1, len(places))))
    ends = itertools.accumulate(min(run, place.count) for place in places)
    chosen = [place for place, end in zip(places, ends, strict=True) if end - min(run, place.count) < most]
    kept = -(-whole // max(1, len(chosen)))

    def look(numbered: tuple[int, Chunk]) -> list[Image | Failure]:
        number, place = numbered
        if number and time.monotonic() > until:
            return []
        found = formats.read(_first(place, run), options)
        return [item if position < kept else _without_data(item) for position, item in enumerate(found)]

    with ThreadPoolExecutor(_THREADS) as threads:
        for found in threads.map(look, enumerate(chosen)):
            yield from found


def _without_data(item: Image | Failure) -> Image | Failure:
    return dataclasses.replace(item, data=b"", mask=None) if isinstance(item, Image) else item


def _plan(shard: Shard, options: ReadOptions, seconds: float) -> _Planned:
    """Returns what of a shard can be found in `seconds`."""
    at_once = _WHOLE if shard.format in ("parquet", "files") else _PLACES
    with glimpsing(seconds) as glimpse:
        chunks = tuple(formats.plan(shard, dataclasses.replace(options, chunk_images=at_once)))
    share = 1.0 if glimpse.complete else glimpse.share
    if not glimpse.complete and chunks:  # the end of the glimpse looks like damage
        chunks = (*chunks[:-1], dataclasses.replace(chunks[-1], damage=""))
    return _Planned(shard, sum(chunk.count for chunk in chunks), share, glimpse.complete, chunks)


def _extrapolate(planned: Sequence[_Planned], shards: Sequence[Shard]) -> int:
    """Returns the number of images of all shards, from the beginnings of some."""
    sizes = _sizes(shards)
    rest = shards[len(planned) :]
    estimated = sum(each.images / each.share for each in planned if each.share)
    known = [(each, sizes[each.shard]) for each in planned if sizes.get(each.shard) and each.share]
    passed = sum(each.share * size for each, size in known)
    if rest and passed and all(shard in sizes for shard in rest):
        estimated += sum(each.images for each, _ in known) / passed * sum(sizes[shard] for shard in rest)
    elif rest:
        estimated += estimated / max(1, len(planned)) * len(rest)
    return max(round(estimated), sum(each.images for each in planned))


def _sizes(shards: Sequence[Shard]) -> dict[Shard, int]:
    """Returns the sizes of files that are shards, in bytes; of none if there are too many to ask for."""
    if len(shards) > _SIZES:
        return {}
    with ThreadPoolExecutor(_THREADS) as threads:
        found = zip(shards, threads.map(lambda shard: storage.size(shard.uri), shards), strict=True)
        return {shard: size for shard, size in found if size is not None}


def _places(planned: Sequence[_Planned]) -> Iterator[Chunk]:
    """Yields runs of images, one shard after another, again and again."""
    by_shard = [_of_shard(each.chunks) for each in planned]
    for places in itertools.zip_longest(*by_shard):
        yield from (place for place in places if place is not None)


def _of_shard(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Returns the places of a shard, in the order of a hash; what stands for its damage comes first."""
    found = [dataclasses.replace(piece, damage="") for chunk in chunks for piece in _apart(chunk) if piece.count]
    damaged = [
        dataclasses.replace(chunk, start=chunk.start + chunk.count, count=0, members=())
        for chunk in chunks
        if chunk.damage
    ]
    return sorted(
        [*found, *damaged], key=lambda place: (place.count > 0, stable_digest(f"{place.id} {place.start}", 8))
    )


def _first(place: Chunk, count: int) -> Chunk:
    """Returns the first images of a place, `count` at most."""
    return dataclasses.replace(place, count=min(count, place.count), members=place.members[:count])


def _apart(chunk: Chunk) -> Iterator[Chunk]:
    """Yields pieces of a chunk that can be read from any image on; the chunk itself if it cannot."""
    if chunk.format not in ("parquet", "files") or chunk.count <= _RUN:
        yield chunk
        return
    step = max(_RUN, chunk.count // _PLACES)
    for first in range(0, chunk.count, step):
        count = min(step, chunk.count - first)
        yield dataclasses.replace(
            chunk,
            start=chunk.start + first,
            count=count,
            offset=chunk.offset + first if chunk.format == "parquet" else 0,
            members=chunk.members[first : first + count],
        )
