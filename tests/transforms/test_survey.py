"""What an input holds: exact where it is cheap, estimated where it is not, and looked at all over."""

from __future__ import annotations

import dataclasses

import pytest

from tests.shards import NAMES, payloads, write_shard
from transforms import formats, survey
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions, stream

COUNT = 150


@pytest.fixture
def hurried(monkeypatch):
    """Glimpses end after a few reads, as they would after seconds in a large shard."""
    monkeypatch.setattr(stream, "_LEAST_READS", 60)


def shards(folder, kind: str, count: int = COUNT):
    for name in ("one", "two", "three"):
        (folder / name).mkdir()
        write_shard(folder / name, kind, [payload[:300] for payload in payloads(count)])
    return formats.expand([str(folder)])


@pytest.mark.parametrize("kind", NAMES)
def test_with_time_images_are_counted_and_read_in_places_all_over(tmp_path, kind):
    found = survey.survey(shards(tmp_path, kind), ReadOptions(), 60)
    assert (found.images, found.counted, found.exact) == (3 * COUNT, 3 * COUNT, True)
    assert len(list(survey.read(found.places, ReadOptions(), 2000, 12, 60))) == 3 * COUNT
    read = list(survey.read(found.places, ReadOptions(), 36, 12, 60))
    assert all(isinstance(each, Image) for each in read)
    assert 30 <= len({each.id for each in read}) == len(read) <= 40
    assert len({each.shard for each in read[:13]}) == len({each.shard for each in read}) == 3
    assert 12 <= sum(bool(each.data) for each in read) <= 24
    whole = {image.id: image for shard in shards_of(found) for image in everything(shard)}
    assert all(each.data in (b"", whole[each.id].data) and each.label == whole[each.id].label for each in read)


def shards_of(found: survey.Survey) -> list[formats.Shard]:
    triples = {(place.shard, place.name, place.format) for place in found.places}
    return [formats.Shard(*triple, ("*",)) for triple in sorted(triples)]


def everything(shard: formats.Shard) -> list[Image | Failure]:
    options = ReadOptions()
    return [item for chunk in formats.plan(shard, options) for item in formats.read(chunk, options)]


@pytest.mark.parametrize("kind", ["tfrecord", "tfrecord.gz", "webdataset", "webdataset.gz"])
def test_without_time_images_are_estimated_from_the_bytes_that_some_take(tmp_path, kind, hurried):
    found = survey.survey(shards(tmp_path, kind, 2000), ReadOptions(), 0)
    assert not found.exact
    assert 0 < found.counted < 600 and found.counted <= found.images
    if not kind.endswith("gz"):  # more is decompressed than was asked for, which is much of a small shard
        assert found.images == pytest.approx(6000, rel=0.1)
    read = list(survey.read(found.places, ReadOptions(), 8, 8, 60))
    assert read and all(isinstance(each, Image) for each in read)


@pytest.mark.parametrize("kind", ["parquet", "files"])
def test_without_time_some_shards_are_counted(tmp_path, kind):
    found = survey.survey(shards(tmp_path, kind), ReadOptions(), 0)
    assert found.images == 3 * COUNT


def test_damage_is_read_as_the_failure_that_it_is(tmp_path):
    path = write_shard(tmp_path, "tfrecord", payloads(5))
    path.write_bytes(path.read_bytes()[:-20])
    found = survey.survey(formats.expand([str(path)]), ReadOptions(), 60)
    assert (found.images, found.exact) == (4, True)
    read = list(survey.read(found.places, ReadOptions(), 100, 100, 60))
    assert [each.message for each in read if isinstance(each, Failure)] == [
        each.message for each in everything(formats.expand([str(path)])[0]) if isinstance(each, Failure)
    ]


def test_places_do_not_depend_on_the_order_of_shards(tmp_path):
    inputs = shards(tmp_path, "tfrecord")
    found = [survey.survey(order, ReadOptions(), 60) for order in (inputs, inputs[::-1])]
    assert found[0] == found[1]
    assert found[0] != dataclasses.replace(found[0], places=found[0].places[::-1])
