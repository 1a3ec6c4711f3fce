"""Folders of images and globs over them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.shards import plan_all, read_all
from transforms import formats
from transforms.core.image.arrays import to_npy
from transforms.core.record import Failure, Image
from transforms.core.vocabulary import IMAGE_EXTENSIONS
from transforms.formats import ReadOptions, expand


@pytest.fixture
def photos(tmp_path):
    images = ["cat/1.jpg", "cat/2.PNG", "dog/1.jpeg", "dog/deep/3.webp", "0.gif", "7/1.tiff"]
    for name in [*images, "cat/notes.txt", "cat/.hidden.jpg", ".thumbnails/1.jpg"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return str(tmp_path / "photos")


def ids_and_labels(inputs, **options):
    return {image.id: image.label for image in read_all(inputs, ReadOptions(**options))}


def test_a_folder_is_read_with_all_below_it(photos):
    assert ids_and_labels(photos) == {
        "photos#0.gif": None,
        "photos/7#1.tiff": "7",
        "photos/cat#1.jpg": "cat",
        "photos/cat#2.PNG": "cat",
        "photos/dog#1.jpeg": "dog",
        "photos/dog/deep#3.webp": "deep",
    }
    assert {item.data.decode() for item in read_all(photos)} >= {"cat/1.jpg", "dog/deep/3.webp"}


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["{}/*/*.jpg"], ["photos/cat#1.jpg"]),
        (["{}/**/*.jp*"], ["photos/cat#1.jpg", "photos/dog#1.jpeg"]),
        (["{}/cat/?.jpg", "{}/cat/2.PNG"], ["cat#1.jpg", "cat#2.PNG"]),
        (["{}/cat", "{}/cat/1.jpg"], ["cat#1.jpg", "cat#2.PNG"]),
        (["{}/cat", "{}/dog"], ["photos/cat#1.jpg", "photos/cat#2.PNG", "photos/dog#1.jpeg", "photos/dog/deep#3.webp"]),
        (["{}/0.gif"], ["photos#0.gif"]),
        (["{}/cat/"], ["cat#1.jpg", "cat#2.PNG"]),
    ],
)
def test_inputs_pick_images_once(photos, inputs, found):
    assert [item.id for item in read_all([text.format(photos) for text in inputs])] == found


def test_only_the_inputs_own_folder_gives_no_label(photos):
    assert set(ids_and_labels(f"{photos}/cat").values()) == {None}
    assert set(ids_and_labels([f"{photos}/cat", f"{photos}/dog"]).values()) == {"cat", "dog", "deep"}


def test_ids_do_not_change_when_the_data_set_moves(photos, tmp_path):
    before = ids_and_labels(photos)
    (tmp_path / "elsewhere").mkdir()
    os.rename(photos, tmp_path / "elsewhere" / "photos")
    assert ids_and_labels(str(tmp_path / "elsewhere" / "photos")) == before


def test_forced_files_leave_other_files_of_a_glob_out(photos):
    assert list(ids_and_labels(f"{photos}/cat/*", input_format="files")) == ["cat#1.jpg", "cat#2.PNG"]


def test_chunks_are_parts_of_one_folder(photos):
    chunks = plan_all(photos, ReadOptions(chunk_images=1))
    assert [(chunk.name, chunk.start, chunk.members) for chunk in chunks if chunk.name.endswith("cat")] == [
        ("photos/cat", 0, ("1.jpg",)),
        ("photos/cat", 1, ("2.PNG",)),
    ]
    assert len({chunk.id for chunk in chunks}) == len(chunks)


def test_the_content_decides_if_the_name_shows_nothing(photos):
    picture = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(picture, "PNG")
    tga = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(tga, "TGA")
    contents = {
        "plain": picture.getvalue(),
        "img.0001": picture.getvalue(),
        "fake.txt": picture.getvalue(),
        "x.dat": tga.getvalue(),
        "array": to_npy(np.zeros((4, 4), np.uint8)),
        "LICENSE": b"BMX bikes may be ridden freely; P6 is not a picture either",
    }
    for name, content in contents.items():
        Path(f"{photos}/cat/{name}").write_bytes(content)
    taken = [item.id.partition("#")[2] for item in read_all(f"{photos}/cat")]
    assert taken == ["1.jpg", "2.PNG", "array", "img.0001", "plain", "x.dat"]
    assert [item.id for item in read_all([f"{photos}/cat/plain"])] == ["cat#plain"]
    assert [item.id for item in read_all([f"{photos}/cat/pl*"])] == ["cat#plain"]
    with pytest.raises(ValueError, match=r"cannot detect the format of .*LICENSE"):
        expand([f"{photos}/cat/LIC*"])


@pytest.mark.parametrize("extension", IMAGE_EXTENSIONS)
def test_every_extension_of_a_picture_is_taken_by_name(tmp_path, extension):
    for name in (f"a.{extension}", f"b.{extension.upper()}"):
        (tmp_path / name).write_bytes(b"whatever")
    assert len(read_all(str(tmp_path))) == 2


def test_a_file_that_vanished_is_a_failure(photos):
    (shard,) = expand([f"{photos}/cat"])
    (chunk,) = formats.plan(shard, ReadOptions())
    os.remove(f"{photos}/cat/1.jpg")
    items = list(formats.read(chunk, ReadOptions()))
    assert [type(item) for item in items] == [Failure, Image]
    assert (items[0].image_id, items[0].error) == ("cat#1.jpg", "FileNotFoundError")


def test_names_with_wildcards_in_them(tmp_path):
    folder = tmp_path / "odd [1]"
    folder.mkdir()
    for name in ("a[1].jpg", "a1.jpg"):
        (folder / name).write_bytes(b"image")
    assert [item.id for item in read_all(str(folder / "a[1].jpg"))] == ["odd [1]#a[1].jpg"]
    assert len(read_all(str(folder))) == 2
