"""A shard that the storage refuses is a failure that names it; a storage that fails for a while costs nothing."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from tests import failing_storage, permissions
from tests.shards import NAMES, payloads, plan_all, read_all, write_shard
from transforms import formats, storage
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions, Shard

COUNT = 12
SHARDS = [kind for kind in NAMES if kind != "files"]
BUSY, DENIED = OSError(errno.EIO, "busy"), PermissionError(errno.EACCES, "denied")


@pytest.fixture
def shard(tmp_path, request) -> Path:
    return write_shard(tmp_path, request.param, payloads(COUNT))


def of(path: Path) -> Shard:
    (shard,) = formats.expand([str(path)])
    return shard


@pytest.mark.parametrize("shard", NAMES, indirect=True)
@pytest.mark.parametrize("gone", [True, False])
def test_one_that_cannot_be_planned_is_one_failure(shard, gone):
    found, options = of(shard), ReadOptions(chunk_images=5)
    if gone:
        shutil.rmtree(shard) if shard.is_dir() else shard.unlink()
    else:
        shard.chmod(0)
    with permissions.obeyed():
        (chunk,) = formats.plan(found, options)
        (item,) = formats.read(chunk, options)
    assert (chunk.start, chunk.count) == (0, 0)
    assert isinstance(item, Failure)
    assert (item.image_id, item.shard, item.index, item.stage) == (f"{found.name}#0", found.uri, 0, "read")
    assert str(shard) in item.message and "how many images it holds is unknown" in item.message
    shard.chmod(0o755) if not gone else None


@pytest.mark.parametrize("shard", SHARDS, indirect=True)
@pytest.mark.parametrize("gone", [True, False])
def test_one_that_is_refused_after_planning_is_one_failure_a_chunk(shard, gone):
    options = ReadOptions(chunk_images=5)
    chunks = plan_all(shard, options)
    shard.unlink() if gone else shard.chmod(0)
    with permissions.obeyed():
        items = [list(formats.read(chunk, options)) for chunk in chunks]
    assert [[item.index for item in some] for some in items] == [[0], [5], [10]]
    for (item,), count in zip(items, (5, 5, 2), strict=True):
        assert isinstance(item, Failure) and item.error == "RefusedError"
        assert str(shard) in item.message
        assert f"stands for {count} images, starting at index {item.index}" in item.message


@pytest.mark.parametrize("shard", SHARDS, indirect=True)
def test_one_that_is_refused_while_it_is_read_loses_the_rest_only(shard, monkeypatch):
    options = ReadOptions(chunk_images=COUNT)
    (chunk,) = plan_all(shard, options)
    monkeypatch.setattr("io.DEFAULT_BUFFER_SIZE", 64)
    lost = set()
    for spare in range(1, 60, 2):
        with monkeypatch.context() as scene:
            failed = failing_storage.fail(scene, str(shard), DENIED, spare)
            items = list(formats.read(chunk, options))
        assert [item.index for item in items] == list(range(len(items)))
        if failed:
            assert [type(item) for item in items] == [Image] * (len(items) - 1) + [Failure]
            assert items[-1].error == "RefusedError"
            lost.add(COUNT - len(items) + 1)
    assert COUNT in lost and len(lost) > 1


def test_an_image_that_is_refused_is_a_failure_of_its_own(tmp_path):
    folder = write_shard(tmp_path, "files", payloads(3))
    (folder / "0001.jpg").chmod(0)
    with permissions.obeyed():
        items = read_all(folder)
    assert [type(item) for item in items] == [Image, Failure, Image]
    assert items[1].error == "RecordError" and "0001.jpg: cannot be read" in items[1].message


@pytest.mark.parametrize("shard", NAMES, indirect=True)
def test_a_failure_that_passes_costs_nothing(shard, monkeypatch):
    expected = read_all(shard)
    for spare in range(9):
        with monkeypatch.context() as scene:
            failed = failing_storage.fail(scene, str(shard), BUSY, spare, times=2)
            options = ReadOptions(chunk_images=5)
            items = [item for chunk in formats.plan(of(shard), options) for item in formats.read(chunk, options)]
        assert items == expected
        assert len(failed) == 2


@pytest.mark.parametrize("shard", NAMES, indirect=True)
def test_a_failure_that_stays_is_no_failure_of_images_and_no_damage(shard, monkeypatch):
    found, options = of(shard), ReadOptions(chunk_images=5)
    chunks = list(formats.plan(found, options))
    for spare in range(4):
        with monkeypatch.context() as scene:
            failing_storage.fail(scene, str(shard), BUSY, spare)
            with pytest.raises(storage.UnavailableError, match="busy"):
                for chunk in formats.plan(found, options):
                    list(formats.read(chunk, options))
        with monkeypatch.context() as scene:
            failing_storage.fail(scene, str(shard), BUSY, min(spare, 1))
            with pytest.raises(storage.UnavailableError, match="busy"):
                for chunk in chunks:
                    list(formats.read(chunk, options))
