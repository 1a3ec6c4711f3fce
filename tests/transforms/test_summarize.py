"""The CombineFn gives the same bits whether inputs are added, merged or compacted, and in a pipeline."""

from __future__ import annotations

import pickle
import random

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from apache_beam.testing.util import assert_that, equal_to

from support.random_rows import make_rows, merge_slices
from transforms.core.statistics.importance import ImportanceStatistics, summarize_rows
from transforms.core.statistics.slices import Slice
from transforms.summarize import MergeStatistics, SliceCoder, StatisticsCoder, SummarizeChunks

CHUNKS = [summarize_rows(make_rows(count, seed=count)) for count in (3, 1, 7, 4)]
EXPECTED = merge_slices(CHUNKS)


def added(combine: beam.CombineFn, inputs: list[ImportanceStatistics]) -> ImportanceStatistics:
    accumulator = combine.create_accumulator()
    for one in inputs:
        accumulator = combine.add_input(accumulator, one)
    return combine.extract_output(accumulator)


def merged(combine: beam.CombineFn, inputs: list[ImportanceStatistics]) -> ImportanceStatistics:
    accumulators = [combine.add_input(combine.create_accumulator(), one) for one in inputs]
    return combine.extract_output(combine.merge_accumulators([combine.create_accumulator(), *accumulators]))


def compacted(combine: beam.CombineFn, inputs: list[ImportanceStatistics]) -> ImportanceStatistics:
    accumulator = combine.create_accumulator()
    for one in inputs:
        accumulator = combine.compact(combine.add_input(combine.compact(accumulator), one))
    return combine.extract_output(accumulator)


@pytest.mark.parametrize("way", [added, merged, compacted])
def test_every_way_and_order_gives_the_same_bits(way):
    inputs = [chunk[Slice("all")] for chunk in CHUNKS]
    for seed in range(5):
        random.Random(seed).shuffle(inputs)
        assert way(MergeStatistics(), inputs) == EXPECTED[Slice("all")]


def test_a_pipeline_gives_the_same_bits():
    pairs = [pair for chunk in CHUNKS for pair in chunk.items()]
    assert len(pairs) > len(EXPECTED) > 5
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        result = pipeline | beam.Create(pairs) | SummarizeChunks()
        assert_that(result, equal_to(list(EXPECTED.items())))


def test_statistics_travel_compressed():
    result = beam.Pipeline() | beam.Create([]) | SummarizeChunks()
    assert registry.get_coder(result.element_type).value_coder() == StatisticsCoder()
    assert MergeStatistics().get_accumulator_coder() == StatisticsCoder()
    statistics = EXPECTED[Slice("all")]
    encoded = StatisticsCoder().encode(statistics)
    assert StatisticsCoder().decode(encoded) == statistics
    assert len(encoded) < 0.8 * len(pickle.dumps(statistics))


@pytest.mark.parametrize("key", [Slice("all"), Slice("label", "a\x00b\n", "☠ \u202e'\""), Slice("label", "\ud800")])
def test_slices_come_back_from_their_coder(key):
    coder = registry.get_coder(Slice)
    assert isinstance(coder, SliceCoder)
    assert coder.is_deterministic()
    assert coder.decode(coder.encode(key)) == key
