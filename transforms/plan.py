"""PlanChunks: shards to chunks, in a fixed order within each shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms import formats
from transforms.core.record import Chunk
from transforms.formats import ReadOptions, Shard
from transforms.progress import Meter


@dataclass
class PlanChunks(beam.PTransform):
    """Cuts each shard into chunks, and spreads the chunks over the workers.

    Attributes:
        options: how shards are read.
        meter: where progress is reported, if anywhere.
    """

    options: ReadOptions
    meter: Meter

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[Chunk]:
        """Takes shards; returns their chunks."""
        return shards | "Plan" >> beam.FlatMap(self._plan) | "Spread" >> beam.Reshuffle()

    def _plan(self, shard: Shard) -> Iterator[Chunk]:
        planned = Metrics.counter("ig_audit", "images_planned")
        for chunk in formats.plan(shard, self.options):
            planned.inc(chunk.count)
            self.meter.add(planned=chunk.count)
            yield chunk
