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
from transforms import formats
from transforms.core.errors import UsageError
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
    assert [(image.id, image.data, image.label) for image in read_all(path)] == [("a.tar#a", b"image", "3")]


@pytest.mark.parametrize(
    ("members", "label"),
    [
        ({"a.jpg": b"i", "a.cls": b"12\n"}, "12"),
        ({"a.cls": b"tabby cat", "a.jpg": b"i"}, "tabby cat"),
        ({"a.jpg": b"i", "a.json": {"label": 4}}, 4),
        ({"a.jpg": b"i", "a.json": {"cls": "dog"}}, "dog"),
        ({"a.jpg": b"i", "a.json": {"class": "5"}}, "5"),
        ({"a.jpg": b"i", "a.json": {"label": True}}, 1),
        ({"a.jpg": b"i", "a.json": {"label": [0, 1.5, "x"]}}, (0, 1.5, "x")),
        ({"a.jpg": b"i", "a.json": {"label": []}}, ()),
        ({"a.jpg": b"i", "a.json": {"label": {"id": 3, "name": "cat"}}}, "cat"),
        ({"a.jpg": b"i", "a.json": {"label": [{"id": 3, "name": None}, {"id": 5}]}}, (3, 5)),
        ({"a.jpg": b"i", "a.json": {"label": None}}, None),
        ({"a.jpg": b"i", "a.json": {"label": 4}, "a.cls": b"6"}, "6"),
        ({"a.jpg": b"i", "a.json": {}}, None),
        ({"a.jpg": b"i"}, None),
        ({"a.jpg": b"i", "a.cls": b"-1"}, "-1"),
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
    assert [(image.id, image.label) for image in read_all(path)] == [("a.tar#folder/a", "1")]


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


def test_samples_without_an_image_are_failures(path):
    write_tar(path, {"a.cls": b"1", "b.2.jpg": b"no image of the key b", "i.jpg": b"fine"})
    *failures, image = read_all(path)
    assert [(item.image_id, item.stage) for item in failures] == [("a.tar#a", "read"), ("a.tar#b", "read")]
    assert all("a sample without an image" in item.message for item in failures)
    assert isinstance(image, Image)


UNUSABLE = [
    ("json", b"{", "not JSON"),
    ("json", b"[]", "not a JSON object"),
    ("json", b"[" * 100_000, "not JSON"),
    ("json", b'{"x": "' + b"y" * (1 << 20) + b'"}', "more than the 1048576"),
    ("json", b'{"label": [[1]]}', "contains a list"),
    ("json", b'{"label": [1, null]}', "contains null"),
    ("json", b'{"label": {"x": 1}}', "holds none of label, class"),
    ("json", b'{"label": {"id": {"id": {"id": {"id": 1}}}}}', "more than 3 levels deep"),
    ("json", b'{"label": 1' + b"0" * 4000 + b"}", "of a magnitude above"),
    ("json", b'{"label": [' + b"1," * 70_000 + b"1]}", "more than the 65536 items"),
    ("cls", b"x" * (1 << 20) + b"x", "more than the 1048576"),
    ("cls", b"x" * 5000, "5000 letters"),
]


@pytest.mark.parametrize(("extension", "content", "why"), UNUSABLE)
def test_a_label_that_cannot_be_used_costs_no_image(path, extension, content, why):
    write_tar(path, {"a.jpg": b"i", f"a.{extension}": content})
    (image,) = read_all(path)
    assert (image.data, image.label if image.label is None else type(image.label)) in ((b"i", None), (b"i", str))
    assert why in image.label_problem
    assert len(image.label_problem) < 200


def test_a_damaged_json_costs_the_image_only_if_fields_are_asked_for(path):
    write_tar(path, {"a.jpg": b"i", "a.json": b"{", "a.cls": b"cat"})
    (image,) = read_all(path)
    assert (image.label, image.label_problem) == ("cat", "")
    (failure,) = read_all(path, ReadOptions(fields=("place",)))
    assert "not JSON" in failure.message


def described(path, **options):
    return formats.describe(formats.expand([str(path)]), ReadOptions(**options))


def read_pictures(path, **options):
    return [
        (item.id, item.data.decode(), item.label) if isinstance(item, Image) else (item.image_id, item.message)
        for item in read_all(path, ReadOptions(chunk_images=2, **options))
    ]


def test_keys_may_have_dots_where_the_first_dot_gives_no_image(path):
    names = ["img.0001", "img.0002", "x/img.v1.0003"]
    members = {f"{name}.{kind}": name.encode() for name in names for kind in ("jpg", "cls", "mask.png")}
    write_tar(path, members)
    assert read_pictures(path) == [(f"a.tar#{name}", name, name) for name in names]
    assert [image.mask.decode() for image in read_all(path)] == names
    assert described(path) == ("samples: no image up to a file name's first dot in a.tar: keys end at the last",)
    write_tar(path, {**members, "standard.jpg": b"i"})
    *failures, image = read_pictures(path)
    assert image == ("a.tar#standard", "i", None)
    assert failures and all("a sample without an image" in message for _, message in failures)


def test_hidden_files_have_no_keys_with_dots(path):
    write_tar(path, {"img.0001.jpg": b"i", ".hidden.jpg": b"junk", "._img.0001.jpg": b"junk of a Mac"})
    assert read_pictures(path) == [("a.tar#img.0001", "i", None)]


def test_several_pictures_raise_the_question(path):
    write_tar(path, {"a.jpg": b"small", "a.png": b"large", "a.cls": b"1"})
    with pytest.raises(UsageError, match=r"image_member: the sample a has several pictures, jpg, png; name one"):
        plan_all(path)
    with pytest.raises(UsageError, match="image_member"):
        described(path)
    assert read_pictures(path, image_member="png") == [("a.tar#a", "large", "1")]
    assert read_pictures(path, image_member=".JPG") == [("a.tar#a", "small", "1")]
    assert read_pictures(path, image_member="webp|png") == [("a.tar#a", "large", "1")]
    assert described(path, image_member="png") == ()


def test_a_sample_among_others_that_has_several_pictures_is_a_failure(path):
    write_tar(path, {"a.jpg": b"i", "b.jpg": b"small", "b.png": b"large", "c.jpg": b"i"})
    assert described(path) == ()
    first, (second, message), third = read_pictures(path)
    assert (first, second, third) == (("a.tar#a", "i", None), "a.tar#b", ("a.tar#c", "i", None))
    assert "image_member: the sample b has several pictures" in message
    assert [item[1] for item in read_pictures(path, image_member="png|jpg")] == ["i", "large", "i"]


STEREO = {f"{key}.{side}.png": f"{key} {side}".encode() for key in "ab" for side in ("left", "right")}


@pytest.mark.parametrize("labels", [{}, {"c.left.png": b"c left", "c.cls": b"1"}])
def test_pictures_of_one_key_that_no_label_tells_apart_raise_the_question(path, labels):
    write_tar(path, STEREO | labels)
    with pytest.raises(UsageError, match=r"image_member: .* have no image such as jpg"):
        described(path)
    with pytest.raises(UsageError, match=r"image_member: .* have no image such as jpg, but left.png.*name one, or png"):
        plan_all(path)
    left = [(f"a.tar#{key}", f"{key} left", None) for key in "ab"]
    assert read_pictures(path, image_member="left.png")[:2] == left
    assert [item[0] for item in read_pictures(path, image_member="png")[:2]] == ["a.tar#a.left", "a.tar#a.right"]


def test_pictures_of_one_key_with_labels_of_their_own_are_images(path):
    members = {f"cam{cam}.{n}.{kind}": b"x" for cam in (1, 2) for n in (1, 2) for kind in ("jpg", "cls")}
    write_tar(path, members)
    assert [item[0] for item in read_pictures(path)] == [f"a.tar#cam{cam}.{n}" for cam in (1, 2) for n in (1, 2)]


def test_an_image_of_any_extension_can_be_named(path):
    write_tar(path, {"a.npy": b"array", "a.jpg": b"i", "a.cls": b"1"})
    assert read_pictures(path, image_member="npy") == [("a.tar#a", "array", "1")]
    assert "image_member is webp" in read_pictures(path, image_member="webp")[0][1]


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
