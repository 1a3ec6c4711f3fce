"""Inputs to shards: which format, which name, which errors."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.shards import NAMES, payloads, read_all, write_shard, write_tar
from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions, Shard, describe, detect, discover, expand, plan

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


def test_braces_stand_for_shards(data, tmp_path):
    for name in ("s-08.tar", "s-09.tar", "s-10.tar"):
        shutil.copy(data / "a.tar", tmp_path / name)
    for folder in ("train", "val"):
        shutil.copytree(tmp_path, tmp_path / folder, ignore=lambda *_: ["train", "val"])

    def names(text):
        return [shard.name for shard in expand([f"{tmp_path}/{text}"])]

    assert names("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert (
        names("s-{09,10}.tar") == names("s-{09..10..1}.tar") == names("s-{0{9,9},10}.tar") == ["s-09.tar", "s-10.tar"]
    )
    assert names("{train,val}/s-{08..09}.tar") == [
        f"{part}/s-{n}.tar" for part in ("train", "val") for n in ("08", "09")
    ]
    assert names("{train,val}") == names("{train,val}/*.tar") == names("{train,val}/s-{08..10}.tar")
    assert names("{train,train}/s-{08,08}.tar") == ["s-08.tar"]


def test_the_same_on_a_remote_file_system(data):
    for number in (1, 2):
        filesystem, path = storage.resolve(f"mock://braces/s-{number}.tar")
        filesystem.create_dir(path.rpartition("/")[0])
        storage.write_bytes(f"mock://braces/s-{number}.tar", (data / "a.tar").read_bytes())
    assert [shard.uri for shard in expand(["mock://braces/s-{1..2}.tar"])] == [
        f"mock://braces/s-{n}.tar" for n in (1, 2)
    ]
    assert [type(item) for item in read_all("mock://braces/s-{1..3}.tar")] == [Image] * 6 + [Failure]


def test_a_missing_shard_of_a_range_is_a_failure(data, tmp_path):
    shutil.copy(data / "a.tar", tmp_path / "s-1.tar")
    items = read_all(f"{tmp_path}/s-{{0..2}}.tar")
    assert [(type(item), item.shard.rpartition("/")[2]) for item in items] == [
        (Failure, "s-0.tar"),
        *[(Image, "s-1.tar")] * 3,
        (Failure, "s-2.tar"),
    ]
    assert "how many images it holds is unknown" in items[0].message
    shards = expand([f"{tmp_path}/s-{{0..2}}.tar"])
    assert describe(shards, ReadOptions()) == describe(shards[:1], ReadOptions()) == ()
    write_tar(tmp_path / "s-1.tar", {"a.jpg": b"i", "a.png": b"i"})
    with pytest.raises(UsageError, match="image_member"):
        describe(shards, ReadOptions())
    write_shard(tmp_path, "webdataset", payloads(3)).rename(tmp_path / "s-1.tar")
    shutil.copy(data / "a.tar", tmp_path / "odd-1")
    assert len(read_all(f"{tmp_path}/odd-{{1..2}}", ReadOptions("webdataset"))) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s-{5..7}.tar", r"there is none of the 3 files that .*s-\{5..7\}.tar stands for"),
        ("odd-{1..2}", "there is no .*odd-2, which .*stands for"),
        ("{1..2}.jpg", "there is no .*2.jpg, which .*stands for"),
        ("{here,there}", "there is no .*there, which .*stands for"),
        ("{here,there}/*.tar", "no images or shards at .*there"),
    ],
)
def test_what_is_missing_and_no_shard_is_named(data, tmp_path, text, why):
    (tmp_path / "here").mkdir()
    for name in ("odd-1", "1.jpg", "here/a.tar"):
        shutil.copy(data / "a.tar", tmp_path / name)
    with pytest.raises(FileNotFoundError, match=why):
        expand([f"{tmp_path}/{text}"])


@pytest.mark.parametrize("name", ["s-{0..2}.tar", "{a,b}.tar", "{x}.tar", "a{.tar"])
def test_names_with_braces_in_them(data, tmp_path, name):
    shutil.copy(data / "a.tar", tmp_path / name)
    assert [shard.name for shard in expand([f"{tmp_path}/{name}"])] == [name]
    assert [shard.name for shard in expand([str(tmp_path)])] == [name]


def test_image_files_of_braces(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(b"i")
    assert [item.id for item in read_all(f"{tmp_path}/{{1,3}}.jpg")] == [f"{tmp_path.name}#{n}.jpg" for n in (1, 3)]
