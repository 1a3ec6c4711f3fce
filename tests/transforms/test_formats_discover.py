"""Inputs to shards: which format, which name, which errors."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.shards import NAMES, payloads, read_all, write_shard
from transforms.formats import Shard, detect, expand

FORMATS = {kind: kind.removesuffix(".gz") for kind in NAMES if kind != "files"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for kind in NAMES:
        write_shard(folder, kind, payloads(3))
    (folder / "README.md").write_text("read me")
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.tar").touch()
    return folder


@pytest.mark.parametrize(("kind", "format"), FORMATS.items())
def test_a_format_is_told_by_name_else_by_content(data, tmp_path, kind, format):
    assert detect(str(data / NAMES[kind])) == format
    plain = tmp_path / "train-00000-of-00001"
    shutil.copy(data / NAMES[kind], plain)
    assert detect(str(plain)) == format
    assert [image.data for image in read_all(str(plain))] == payloads(3)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("x.tfrecords", "tfrecord"),
        ("x.TFRecord-00001-of-00010", "tfrecord"),
        ("x.tgz", "webdataset"),
        ("x.pq", "parquet"),
        ("x.JPEG", "files"),
    ],
)
def test_names_tell_without_a_look_inside(name, format):
    assert detect(f"/nowhere/{name}") == format


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8bjunk", b"hello" * 200])
def test_what_no_one_can_tell(tmp_path, content):
    path = tmp_path / "data.bin"
    path.write_bytes(content)
    assert detect(str(path)) is None
    with pytest.raises(ValueError, match=r"cannot detect the format of .*data.bin; give input_format"):
        expand([str(path)])
    with pytest.raises(FileNotFoundError, match="no images or shards at"):
        expand([str(tmp_path)])
    assert [shard.format for shard in expand([str(path)], "tfrecord")] == ["tfrecord"]


def test_a_folder_holds_shards_of_every_format(data):
    assert [(shard.name, shard.format) for shard in expand([str(data)])] == [
        ("a.parquet", "parquet"),
        ("a.tar", "webdataset"),
        ("a.tar.gz", "webdataset"),
        ("a.tfrecord", "tfrecord"),
        ("a.tfrecord.gz", "tfrecord"),
        (f"{data.name}/folder", "files"),
    ]


@pytest.mark.parametrize("format", ["tfrecord", "webdataset", "parquet", "files"])
def test_a_given_format_picks_its_shards(data, format):
    expected = [shard for shard in expand([str(data)]) if shard.format == format]
    assert expand([str(data)], format) == expected != []
    if format != "files":
        assert expand([f"{data}/a.*"], format) == expected


def test_names_are_below_the_common_folder(tmp_path):
    for folder in ("x/2025", "x/2026", "y"):
        (tmp_path / folder).mkdir(parents=True)
        write_shard(tmp_path / folder, "tfrecord", payloads(1))

    def names(*inputs):
        return [shard.name for shard in expand([f"{tmp_path}/{text}" for text in inputs])]

    assert names("x/2025/a.tfrecord") == ["a.tfrecord"]
    assert names("x/2025", "x/2026/a.tfrecord") == ["2025/a.tfrecord", "2026/a.tfrecord"]
    assert names("x") == names("x/*/a.tfrecord") == names("x/**") == ["2025/a.tfrecord", "2026/a.tfrecord"]
    assert names("x", "y") == ["x/2025/a.tfrecord", "x/2026/a.tfrecord", "y/a.tfrecord"]
    assert names("y", "y/a.tfrecord", "y/*") == ["a.tfrecord"]


def test_relative_paths_become_absolute(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    relative = f"{data.name}/../{data.name}/a.tar"
    assert expand([relative]) == expand([str(data / "a.tar")]) == expand([f"file://{data}/a.tar"])
    assert expand([relative]) == [Shard(os.path.join(data, "a.tar"), "a.tar", "webdataset")]


@pytest.mark.parametrize("text", ["missing.tfrecord", "missing/", "missing/*.tfrecord", "*.missing"])
def test_an_input_that_matches_nothing_is_named(data, text):
    with pytest.raises(FileNotFoundError, match=r"missing"):
        expand([str(data / "a.tar"), f"{data}/{text}"])


def test_an_unknown_format_is_named(data):
    with pytest.raises(ValueError, match="input_format: 'zip' is not one of auto, tfrecord, webdataset"):
        expand([str(data)], "zip")
