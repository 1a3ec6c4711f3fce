"""SummarizeChunks: the statistics of chunks, slice by slice → the statistics of the run.

Statistics are exact in any order, so a runner may combine them early, late and in any grouping.
"""

from __future__ import annotations

import functools
import json
import pickle
import zlib
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam import coders

from transforms.core.statistics.importance import ImportanceStatistics
from transforms.core.statistics.slices import Slice


class SummarizeChunks(beam.PTransform):
    """Merges statistics by slice."""

    def expand(
        self, chunks: beam.PCollection[tuple[Slice, ImportanceStatistics]]
    ) -> beam.PCollection[tuple[Slice, ImportanceStatistics]]:
        """Takes each chunk's statistics by slice; returns the run's."""
        keyed = chunks | "Keys" >> beam.Map(lambda pair: pair).with_output_types(_Keyed)  # so that its coders are used
        return keyed | "Merge" >> beam.CombinePerKey(MergeStatistics())


@beam.typehints.with_input_types(ImportanceStatistics)
@beam.typehints.with_output_types(ImportanceStatistics)
class MergeStatistics(beam.CombineFn):
    """ImportanceStatistics as a CombineFn."""

    def create_accumulator(self) -> ImportanceStatistics:
        """Returns the statistics of no rows."""
        return ImportanceStatistics.zero()

    def add_input(self, accumulator: ImportanceStatistics, statistics: ImportanceStatistics) -> ImportanceStatistics:
        """Returns the statistics of the rows of both."""
        return accumulator.merge(statistics)

    def merge_accumulators(self, accumulators: Iterable[ImportanceStatistics]) -> ImportanceStatistics:
        """Returns the statistics of the rows of all."""
        return functools.reduce(ImportanceStatistics.merge, accumulators, ImportanceStatistics.zero())

    def extract_output(self, accumulator: ImportanceStatistics) -> ImportanceStatistics:
        """Returns the statistics themselves."""
        return accumulator

    def get_accumulator_coder(self) -> coders.Coder:
        """Returns how accumulators travel."""
        return StatisticsCoder()


class SliceCoder(coders.Coder):
    """Encodes slices as JSON, one text for one slice, so that every worker groups them alike."""

    def encode(self, key: Slice) -> bytes:
        """Returns the bytes of `key`."""
        return json.dumps([key.kind, key.value, key.name]).encode()

    def decode(self, encoded: bytes) -> Slice:
        """Returns the slice of `encoded`."""
        return Slice(*json.loads(encoded))

    def is_deterministic(self) -> bool:
        """Returns True."""
        return True

    def to_type_hint(self) -> type[Slice]:
        """Returns what is encoded."""
        return Slice


class StatisticsCoder(coders.Coder):
    """Encodes statistics compressed: thousands of slices pass several buffers of a runner on their way."""

    def encode(self, statistics: ImportanceStatistics) -> bytes:
        """Returns the bytes of `statistics`."""
        return pack(statistics)

    def decode(self, encoded: bytes) -> ImportanceStatistics:
        """Returns the statistics of `encoded`."""
        statistics: ImportanceStatistics = unpack(encoded)
        return statistics

    def to_type_hint(self) -> type[ImportanceStatistics]:
        """Returns what is encoded."""
        return ImportanceStatistics


def pack(value: Any) -> bytes:
    """Returns what `unpack` turns into `value`, for Beam to carry: pickled, as Beam does it, and compressed."""
    return zlib.compress(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), level=1)


def unpack(packed: bytes) -> Any:
    """Returns what was packed."""
    return pickle.loads(zlib.decompress(packed))


_Keyed = tuple[Slice, ImportanceStatistics]
coders.registry.register_coder(Slice, SliceCoder)
coders.registry.register_coder(ImportanceStatistics, StatisticsCoder)
