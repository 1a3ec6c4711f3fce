"""A sample of chunks: as many images as asked for, the same ones whatever the order, spread over the shards."""

from __future__ import annotations

import pickle
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.shards import payloads, write_shard
from transforms import formats
from transforms.core.record import Chunk
from transforms.formats import ReadOptions
from transforms.plan import ChooseChunks, PlanChunks, first_images
from transforms.progress import Meter


def chunk(number: int, count: int, **more) -> Chunk:
    return Chunk(f"{number:04d}", "uri", "name", "files", 0, count, **more)


@pytest.fixture
def chosen(tmp_path):
    """Returns a function that returns the sample which the stage takes."""

    def choose(chunks: list[Chunk], limit: int) -> list[Chunk]:
        path = str(tmp_path / "chosen")
        with beam.Pipeline(FnApiRunner()) as pipeline:
            ids = pipeline | beam.Create(chunks) | ChooseChunks(limit, Meter()) | beam.combiners.ToList()
            ids | beam.Map(lambda found: Path(path).write_bytes(pickle.dumps(found)))
        return sorted(pickle.loads(Path(path).read_bytes()))

    return choose


def test_a_sample_is_exact_and_does_not_depend_on_the_order(chosen):
    chunks = [chunk(number, 1 + number % 5) for number in range(40)]
    sample = chosen(chunks, 17)
    assert sum(each.count for each in sample) == 17
    assert sample == chosen(chunks[::-1], 17)
    assert [each.id for each in sample] != [each.id for each in chunks[: len(sample)]]


def test_a_sample_of_more_than_there_is_takes_all_and_its_damage(chosen):
    chunks = [chunk(number, 3) for number in range(4)] + [chunk(9, 0, damage="torn")]
    assert chosen(chunks, 13) == sorted(chunks)
    assert chunk(9, 0, damage="torn") not in chosen(chunks, 12)


def test_the_last_chunk_is_cut_with_its_members_and_does_not_reach_its_damage():
    whole = chunk(1, 3, members=("a", "b", "c"), damage="torn")
    assert list(first_images([whole], 3)) == [whole]
    assert list(first_images([whole], 2)) == [chunk(1, 2, members=("a", "b"))]


@pytest.mark.parametrize(("limit", "sizes"), [(0, {5, 8}), (3, {1}), (130, {2})])
def test_chunks_to_choose_from_are_small(tmp_path, limit, sizes):
    write_shard(tmp_path, "tfrecord", payloads(13))
    (shard,) = formats.expand([str(tmp_path)])
    planned = list(PlanChunks(ReadOptions(chunk_images=8, limit=limit), Meter())._plan(shard))
    assert {each.count for each in planned[:-1]} | ({planned[-1].count} if not limit else set()) == sizes
