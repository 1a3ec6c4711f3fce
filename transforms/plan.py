"""PlanChunks: shards to chunks, in a fixed order within each shard. ChooseChunks: a sample of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms import formats
from transforms.core.record import Chunk
from transforms.core.stable_hash import stable_digest
from transforms.formats import ReadOptions, Shard
from transforms.progress import Meter

_RUNS = 64
"""The runs of neighbors that a sample of as many images has at least, so that shards sorted by class do no harm."""


@dataclass
class PlanChunks(beam.PTransform):
    """Cuts each shard into chunks, and spreads the chunks over the workers.

    Attributes:
        options: how shards are read; with a `limit`, chunks are small enough to make a sample of.
        meter: where progress is reported, if anywhere.
    """

    options: ReadOptions
    meter: Meter

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Chunk]:
        """Takes shards; returns their chunks."""
        return shards | "Plan" >> beam.FlatMap(self._plan) | "Spread" >> beam.Reshuffle()

    def _plan(self, shard: Shard) -> Iterator[Chunk]:
        options = self.options
        if options.limit:
            few = max(1, options.limit // _RUNS)
            options = dataclasses.replace(options, chunk_images=min(options.chunk_images, few))
        for chunk in formats.plan(shard, options):
            if not options.limit:
                _count(chunk, self.meter)
            yield chunk


@dataclass
class ChooseChunks(beam.PTransform):
    """Takes a sample of `limit` images: the chunks whose ids have the smallest hashes, the last one cut to fit.

    The same input and limit give the same sample, whatever the runner and the order of the chunks.

    Attributes:
        limit: images to take; all of them if there are fewer.
        meter: where progress is reported, if anywhere.
    """

    limit: int
    meter: Meter

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        """Takes all chunks; returns those of the sample."""
        smallest = chunks | "Smallest" >> beam.combiners.Top.Smallest(self.limit, key=_rank)
        return smallest | "Cut" >> beam.FlatMap(self._cut) | "Spread" >> beam.Reshuffle()

    def _cut(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in first_images(chunks, self.limit):
            _count(chunk, self.meter)
            yield chunk


def first_images(chunks: Iterable[Chunk], limit: int) -> Iterator[Chunk]:
    """Yields chunks until they hold `limit` images, and of the last only as much as that takes.

    Damage of a shard follows its chunk's last image, so that a chunk which is cut does not reach it.
    """
    left = limit
    for chunk in chunks:
        if left <= 0:
            return
        if chunk.count > left:
            chunk = dataclasses.replace(chunk, count=left, members=chunk.members[:left], damage="")
        left -= chunk.count
        yield chunk


def _rank(chunk: Chunk) -> tuple[bool, bytes]:
    """Returns a chunk's place: by a hash of its id; after all others if it has no image, but stands for damage."""
    return not chunk.count, stable_digest(chunk.id, 8)


def _count(chunk: Chunk, meter: Meter) -> None:
    Metrics.counter("ig_audit", "images_planned").inc(chunk.count)
    meter.add(planned=chunk.count)
