"""What holds in every format: partitions, names, identity, damage."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shards import NAMES, payloads, plan_all, read_all, write_shard
from transforms import formats, storage
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions

COUNT = 23
KINDS = list(NAMES)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    paths = {kind: folder / kind / name for kind, name in NAMES.items()}
    for kind in KINDS:
        (folder / kind).mkdir()
        write_shard(folder / kind, kind, payloads(COUNT))
    return paths


@pytest.mark.parametrize("kind", KINDS)
def test_all_images_come_out_in_order(shards, kind):
    images = read_all(shards[kind])
    assert [image.data for image in images] == payloads(COUNT)
    assert [image.index for image in images] == list(range(COUNT))
    labels = {"files": [None] * COUNT, "webdataset": list(map(str, range(COUNT)))}
    assert [image.label for image in images] == labels.get(kind.removesuffix(".gz"), list(range(COUNT)))
    assert len({image.id for image in images}) == COUNT
    assert {image.shard for image in images} == {str(shards[kind])}


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("tfrecord", "a.tfrecord#0"),
        ("tfrecord.gz", "a.tfrecord.gz#0"),
        ("webdataset", "a.tar#0000"),
        ("webdataset.gz", "a.tar.gz#0000"),
        ("parquet", "a.parquet#0"),
        ("files", "folder#0000.jpg"),
    ],
)
def test_image_ids(shards, kind, first):
    assert read_all(shards[kind])[0].id == first


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunk_images=st.integers(1, COUNT + 3), order=st.randoms(use_true_random=False))
def test_any_partition_read_in_any_order_gives_the_same_images(shards, kind, chunk_images, order):
    options = ReadOptions(chunk_images=chunk_images)
    chunks = plan_all(shards[kind], options)
    assert [chunk.count for chunk in chunks[:-1]] == [chunk_images] * (len(chunks) - 1)
    assert len({chunk.id for chunk in chunks}) == len(chunks) == -(-COUNT // chunk_images)
    order.shuffle(chunks)
    images = [item for chunk in chunks for item in formats.read(chunk, options)]
    assert sorted(images, key=lambda image: image.index) == read_all(shards[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_deterministic_small_and_named_for_a_file(shards, kind):
    options = ReadOptions(chunk_images=10)
    chunks = plan_all(shards[kind], options)
    assert chunks == plan_all(shards[kind], options)
    assert all(len(pickle.dumps(chunk)) < 1500 for chunk in chunks)
    assert [chunk.id[-9:] for chunk in chunks] == ["-00000000", "-00000010", "-00000020"]
    assert all(chunk.id.replace("-", "").isalnum() for chunk in chunks)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_on_a_remote_file_system(shards, kind):
    root = f"mock://{kind}"
    files = [name for name in storage.walk(str(shards[kind].parent)) if not name.startswith(".")]
    for name in files:
        filesystem, path = storage.resolve(storage.join(root, name))
        filesystem.create_dir(path.rpartition("/")[0])
        storage.write_bytes(storage.join(root, name), storage.read_bytes(str(shards[kind].parent / name)))
    remote = read_all(storage.join(root, shards[kind].name), ReadOptions(chunk_images=7))
    local = read_all(shards[kind])
    assert [replace(image, shard="") for image in remote] == [replace(image, shard="") for image in local]
    assert remote[0].shard == f"{root}/{shards[kind].name}"


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_over_the_limit_is_one_failure(shards, kind):
    longest = len(payloads(COUNT)[-1])
    items = read_all(shards[kind], ReadOptions(max_bytes=longest - 1))
    assert [type(item) for item in items[:15]] == [Image] * 15
    assert isinstance(items[-1], Failure)
    assert (items[-1].stage, items[-1].index, items[-1].error) == ("read", COUNT - 1, "RecordError")
    assert str(longest - 1) in items[-1].message
    assert [item.index for item in items] == list(range(COUNT))


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset", "parquet"])
def test_a_shard_without_images_has_no_chunks(tmp_path, kind):
    assert plan_all(write_shard(tmp_path, kind, []), ReadOptions(kind)) == []


def test_reading_imports_neither_tensorflow_nor_beam():
    script = "import sys, transforms.formats; print({'tensorflow', 'apache_beam'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@st.composite
def damage(draw):
    """Changed bytes, by relative position, and where the file is cut."""
    changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
    return draw(changes), draw(st.one_of(st.just(1.0), st.floats(0, 1)))


@pytest.mark.parametrize("kind", KINDS[:-1])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damage(), chunk_images=st.integers(1, COUNT))
def test_a_damaged_shard_gives_what_came_before(shards, tmp_path_factory, kind, damage, chunk_images):
    changes, cut = damage
    content = bytearray(shards[kind].read_bytes())
    for position, value in changes:
        content[int(position * len(content))] = value
    content = bytes(content[: int(cut * len(content))])
    path = tmp_path_factory.mktemp("damaged") / NAMES[kind]
    path.write_bytes(content)
    options = ReadOptions(kind.removesuffix(".gz"), chunk_images)
    try:
        chunks = plan_all(path, options)
    except ValueError as error:
        assert kind == "parquet" and "_column: " in str(error)  # a damaged footer can name other columns
        return
    results = [list(formats.read(chunk, options)) for chunk in chunks]
    for chunk, items in zip(chunks, results, strict=True):
        indices = [item.index for item in items]
        assert indices == list(range(chunk.start, chunk.start + len(items)))
        assert len(items) == chunk.count + bool(chunk.damage) or isinstance(items[-1], Failure)
    items = [item for items in results for item in items]
    if kind.startswith("tfrecord"):  # checksums: what is given is what was written
        assert all(item.data in payloads(COUNT) for item in items if isinstance(item, Image))
    if len(items) < COUNT and content:
        assert any(isinstance(item, Failure) for item in items)
