"""Inputs to shards: which format, which name, which errors."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.shards import NAMES, payloads, read_all, write_shard
from transforms import storage
from transforms.formats import ReadOptions, Shard, detect, discover, expand, plan

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


@pytest.fixture
def mixed(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_what_a_folder_does_not_take_is_counted_by_extension(mixed):
    for name in ("a.txt", "b.TXT", "folder/c.json", "README", "Makefile", "folder/d.unknown", ".e.jpg", ".f/g.jpg"):
        (mixed / name).parent.mkdir(exist_ok=True)
        (mixed / name).write_bytes(b"notes of some kind")
    (mixed / "odd.ext\x1b[31m").write_bytes(b"notes")
    found = discover([str(mixed)])
    assert len(found.shards) == 6
    counts = {"no extension": 3, "hidden": 3, ".txt": 2, ".json": 1, ".md": 1, ".unknown": 1, "other": 1}
    assert found.passed_over == counts  # with README.md, _SUCCESS and .hidden.tar
    assert discover([f"{mixed}/folder", f"{mixed}/folder"]).passed_over == {".json": 1, ".unknown": 1}
    assert discover([str(mixed), f"{mixed}/a.tar"], "webdataset").passed_over[".parquet"] == 1
    assert not discover([f"{mixed}/a.*r"]).passed_over  # a glob says what it wants


def test_every_file_is_taken_or_counted(mixed):
    (mixed / "x.csv").write_bytes(b"1,2")
    found = discover([str(mixed)])
    folders = [shard for shard in found.shards if shard.format == "files"]
    pictures = sum(chunk.count for shard in folders for chunk in plan(shard, ReadOptions()))
    shards = len(found.shards) - len(folders)
    assert pictures + shards + sum(found.passed_over.values()) == sum(path.is_file() for path in mixed.rglob("*"))
    assert pictures and shards and folders


def test_notes_are_not_even_opened(tmp_path, monkeypatch):
    for name in ("1.jpg", "1.txt", "2.JSON", "3.nef"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(storage, "read_bytes", lambda uri, limit: pytest.fail(f"{uri} was read"))
    assert discover([str(tmp_path)]).passed_over == {".txt": 1, ".json": 1, ".nef": 1}


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
