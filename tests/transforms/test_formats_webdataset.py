"""WebDataset shards as `tarfile` writes them in each of its dialects, and hostile archives."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shards import payloads, plan_all, read_all, write_shard, write_tar
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions, webdataset
from transforms.formats.shard import ShardError
from transforms.formats.stream import ShardStream
from transforms.formats.tar import _pax

DIALECTS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.tar"


def add(archive, name, content=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_paths_of_any_length_and_script(path, dialect):
    long = "deep/" * (12 if dialect == tarfile.USTAR_FORMAT else 60)
    keys = [f"{long}{name}" for name in ("a", "b", "ünï")]
    write_tar(path, {f"{key}.jpg": key.encode() for key in keys}, format=dialect)
    for chunk_images in (1, 256):
        images = read_all(path, ReadOptions(chunk_images=chunk_images))
        assert [image.id for image in images] == [f"a.tar#{key}" for key in keys]
        assert [image.data.decode() for image in images] == keys


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "JPG", "Png"])
def test_kinds_of_images(path, extension):
    write_tar(path, {f"a.{extension}": b"image", "a.cls": b"3"})
    assert [(image.id, image.data, image.label) for image in read_all(path)] == [("a.tar#a", b"image", 3)]


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"a.jpg": b"i", "a.cls": b"12\n"}, 12),
        ({"a.cls": b"tabby cat", "a.jpg": b"i"}, "tabby cat"),
        ({"a.jpg": b"i", "a.json": {"label": 4}}, 4),
        ({"a.jpg": b"i", "a.json": {"cls": "dog"}}, "dog"),
        ({"a.jpg": b"i", "a.json": {"class": "5"}}, 5),
        ({"a.jpg": b"i", "a.json": {"label": None}}, None),
        ({"a.jpg": b"i", "a.json": {"label": 4}, "a.cls": b"6"}, 6),
        ({"a.jpg": b"i", "a.json": {}}, None),
        ({"a.jpg": b"i"}, None),
        ({"a.jpg": b"i", "a.cls": b"-1"}, None),
    ],
)
def test_labels(path, members, label):
    write_tar(path, members)
    (image,) = read_all(path)
    assert image.label == label


def test_fields_come_from_the_json(path):
    write_tar(path, {"a.jpg": b"i", "a.json": {"place": "Bern", "year": 2026, "none": None, "other": "x"}})
    (image,) = read_all(path, ReadOptions(fields=("year", "place", "none", "missing")))
    assert image.fields == (("year", "2026"), ("place", "Bern"))


def test_other_members_are_ignored(path):
    with tarfile.open(path, "w") as archive:
        add(archive, "folder", type=tarfile.DIRTYPE)
        add(archive, "README.md", b"read me")
        add(archive, "LICENSE", b"free")
        add(archive, "._a.jpg", b"junk of a Mac")
        add(archive, "folder/a.jpg", b"image")
        add(archive, "folder/a.txt", b"caption")
        add(archive, "folder/a.cls", b"1")
        add(archive, "folder/.DS_Store", b"more junk")
    assert [(image.id, image.label) for image in read_all(path)] == [("a.tar#folder/a", 1)]


def test_links_devices_and_climbing_paths_do_no_harm(path, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(path, "w") as archive:
        add(archive, "a.jpg", type=tarfile.SYMTYPE, linkname="secret")
        add(archive, "b.jpg", type=tarfile.LNKTYPE, linkname="secret")
        add(archive, "c.jpg", type=tarfile.CHRTYPE)
        add(archive, "d.jpg", type=tarfile.FIFOTYPE)
        add(archive, "../../climb.jpg", b"image")
        add(archive, "/etc/root.jpg", b"image")
    images = read_all(path)
    assert [(image.id, image.data) for image in images] == [
        ("a.tar#../../climb", b"image"),
        ("a.tar#/etc/root", b"image"),
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar", "secret"]


@pytest.mark.parametrize("keys", [["a", "b", "a"], ["a", "b" * 1025]])
def test_keys_that_repeat_or_are_absurd_give_way_to_indices(path, keys):
    with tarfile.open(path, "w") as archive:
        for key in keys:
            add(archive, f"{key}.jpg", b"image")
    images = read_all(path, ReadOptions(chunk_images=2))
    assert [image.id for image in images] == [f"a.tar#{index}" for index in range(len(keys))]


def test_a_repeated_member_begins_a_new_sample(path):
    with tarfile.open(path, "w") as archive:
        for data in (b"first", b"second"):
            add(archive, "a.jpg", data)
    assert [(image.id, image.data) for image in read_all(path)] == [("a.tar#0", b"first"), ("a.tar#1", b"second")]


def test_samples_that_cannot_be_read_are_failures(path):
    members = {
        "a.cls": b"1",
        "b.2.jpg": b"no image of the key b",
        "c.jpg": b"i",
        "c.json": b"{",
        "d.jpg": b"i",
        "d.json": b"[]",
        "e.jpg": b"i",
        "e.json": {"label": [1]},
        "f.jpg": b"i",
        "f.json": b"[" * 100_000,
        "g.jpg": b"i",
        "g.json": b'{"x": "' + b"y" * (1 << 20) + b'"}',
        "h.jpg": b"i",
        "h.cls": str(2**31).encode(),
        "i.jpg": b"fine",
    }
    write_tar(path, members)
    items = read_all(path)
    assert [item.image_id for item in items[:-1]] == [f"a.tar#{key}" for key in "abcdefgh"]
    assert isinstance(items[-1], Image)
    reasons = [
        *("a sample without", "a sample without", "not JSON", "not a JSON object"),
        *("is not a label", "not JSON", "more than the 1048576", "is not a label"),
    ]
    for item, why in zip(items[:-1], reasons, strict=True):
        assert why in item.message and item.stage == "read"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_cut_anywhere(tmp_path, mode):
    kind = "webdataset.gz" if mode == "w:gz" else "webdataset"
    path = write_shard(tmp_path, kind, payloads(4))
    content = gzip.decompress(path.read_bytes()) if mode == "w:gz" else path.read_bytes()
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512  # where the end mark begins
    for cut in range(512, end + 512, 256):
        part = content[:cut]
        path.write_bytes(gzip.compress(part, 1) if mode == "w:gz" else part)
        items = read_all(path, ReadOptions(chunk_images=3))  # of four samples of two headers and two blocks each
        images = [item for item in items if isinstance(item, Image)]
        assert [image.data for image in images] == payloads(4)[: len(images)]
        assert len(images) == sum(2048 * number + 512 + len(data) <= cut for number, data in enumerate(payloads(4)))
        assert [type(item) for item in items[len(images) :]] == [Failure] * (cut < end + 512)


def test_a_damaged_header_ends_the_shard(tmp_path):
    path = write_shard(tmp_path, "webdataset", payloads(5))
    content = bytearray(path.read_bytes())
    content[2 * 2048] ^= 1  # each sample has two headers and two blocks of data
    path.write_bytes(content)
    items = read_all(path)
    assert [type(item) for item in items] == [Image, Image, Failure]
    assert "header of a member is damaged" in items[2].message


def test_a_hole_is_no_end_mark(tmp_path):
    path = write_shard(tmp_path, "webdataset", payloads(5))
    content = bytearray(path.read_bytes())
    content[2 * 2048 : 2 * 2048 + 512] = bytes(512)
    path.write_bytes(content)
    assert [type(item) for item in read_all(path)] == [Image, Image, Failure]


def test_an_empty_archive_is_fine_and_an_empty_file_is_not(path):
    write_tar(path, {})
    assert read_all(path) == []
    path.write_bytes(b"")
    assert [item.error for item in read_all(path)] == ["ShardError"]


@pytest.mark.parametrize(
    "record",
    [
        *(b"4 a=\n", b"99 path=a\n", b"x path=a\n", b"0 path=a\n", b"7 path=a\n", b"9999999999 a=b\n", b"9 nothing"),
        *(b"11 size=-1\n", b"29 size=99999999999999999999\n"),
    ],
)
def test_hostile_pax_headers(path, record):
    with tarfile.open(path, "w") as archive:
        add(archive, "a.jpg", b"image")
        add(archive, "pax", record.ljust(600, b"\0"), type=tarfile.XHDTYPE)
        add(archive, "b.jpg", b"image")
    items = read_all(path)
    assert [type(item) for item in items] == [Image, Failure]
    assert "an extended header" in items[1].message


def test_a_long_pax_header_of_tiny_records_takes_no_time(path):
    with tarfile.open(path, "w") as archive:
        add(archive, "pax", b"6 a=b\n" * 170_000 + b"14 path=b.jpg\n", type=tarfile.XHDTYPE)
        add(archive, "a.jpg", b"image")
    assert [image.id for image in read_all(path)] == ["a.tar#b"]


@given(st.binary(max_size=60))
def test_any_pax_header_is_read_or_refused(content):
    try:
        _pax(content)
    except ShardError as error:
        assert "an extended header" in str(error)


@pytest.mark.parametrize("size", [2**20 + 1, 2**33 - 1])
def test_an_extended_header_is_not_read_whatever_its_size(path, size):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, size
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10_240))
    (failure,) = read_all(path)
    assert "extended header" in failure.message


def test_a_member_beyond_all_memory_is_not_read(path):
    info = tarfile.TarInfo("a.jpg")
    info.size = 2**62 - 1
    content = info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
    for data in (content, gzip.compress(content)):
        path.write_bytes(data)
        (failure,) = read_all(path)
        assert failure.error == "ShardError"


def test_json_of_any_shape_never_raises(path):
    for text in (b"NaN", b'{"label": NaN}', b'{"label": 1e999}', b'{"label": true}', b'{"label": {"a": 1}}', b"\xff"):
        write_tar(path, {"a.jpg": b"i", "a.json": text})
        (item,) = read_all(path)
        assert isinstance(item, (Image, Failure))
        json.dumps(getattr(item, "label", None))


def test_planning_reads_headers_only(tmp_path, monkeypatch):
    path = write_shard(tmp_path, "webdataset", [bytes(5_000_000)] * 3)
    counts = []

    class Counting(ShardStream):
        def read(self, count):
            counts.append(count)
            return super().read(count)

    monkeypatch.setattr(webdataset, "ShardStream", Counting)
    assert [chunk.count for chunk in plan_all(path)] == [3]
    assert 0 < sum(counts) < path.stat().st_size / 100
