"""TFRecords as TensorFlow writes them, and broken in every place."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shards import example, payloads, plan_all, read_all, write_shard, write_tfrecord
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions
from transforms.formats.example import example_class, parse_example
from transforms.formats.shard import RecordError
from transforms.formats.tfrecord_header import masked_crc32c

COUNT = 6


@pytest.fixture
def shard(tmp_path):
    return write_shard(tmp_path, "tfrecord", payloads(COUNT))


def boundaries(content: bytes) -> list[int]:
    """Returns where each record begins, and the end."""
    offsets = [0]
    while offsets[-1] < len(content):
        (length,) = struct.unpack_from("<Q", content, offsets[-1])
        offsets.append(offsets[-1] + 8 + 4 + length + 4)
    return offsets


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_record_ends_where_tensorflow_says(shard):
    content = shard.read_bytes()
    chunks = plan_all(shard, ReadOptions(chunk_images=2))
    assert [chunk.offset for chunk in chunks] == boundaries(content)[:-1:2]


@pytest.mark.parametrize("where", [12, 40, -4, -1])
def test_bad_data_is_one_failure(shard, where):
    offsets = boundaries(shard.read_bytes())
    flip(shard, (offsets[2] if where > 0 else offsets[3]) + where)
    items = read_all(shard)
    assert [type(item) for item in items] == [Image, Image, Failure, Image, Image, Image]
    assert (items[2].image_id, items[2].stage, items[2].error) == ("a.tfrecord#2", "read", "RecordError")
    assert "checksum of the record's data" in items[2].message


@pytest.mark.parametrize("where", [0, 3, 7, 8, 11])
@pytest.mark.parametrize("chunk_images", [1, 2, 3, 256])
def test_a_bad_length_is_one_failure_for_the_rest(shard, where, chunk_images):
    flip(shard, boundaries(shard.read_bytes())[3] + where)
    items = read_all(shard, ReadOptions(chunk_images=chunk_images))
    assert [item.data for item in items[:3]] == payloads(3)
    assert len(items) == 4
    assert (items[3].image_id, items[3].index, items[3].error) == ("a.tfrecord#3", 3, "ShardError")
    assert "checksum of a record's length" in items[3].message


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_cut_anywhere(tmp_path, compression):
    path = write_shard(tmp_path, "tfrecord", payloads(3))
    content = path.read_bytes()
    offsets = boundaries(content)
    for cut in range(1, len(content)):
        path.write_bytes(gzip.compress(content[:cut], 1) if compression else content[:cut])
        items = read_all(path)
        whole = sum(offset <= cut for offset in offsets[1:])
        assert [item.data for item in items[:whole]] == payloads(whole)
        assert [type(item) for item in items[whole:]] == ([] if cut in offsets else [Failure])


def test_a_cut_or_damaged_gzip_stream(tmp_path):
    path = write_shard(tmp_path, "tfrecord.gz", [bytes(range(256)) * 40 for _ in range(COUNT)])
    content = path.read_bytes()
    for damaged in (content[:-1], content[: len(content) * 2 // 3], content[:-8] + bytes(8), content[:20]):
        path.write_bytes(damaged)
        items = read_all(path)
        assert all(isinstance(item, Image) for item in items[:-1])
        assert isinstance(items[-1], Failure) and "gzip" in items[-1].message


def test_damage_before_the_first_image_still_has_a_chunk(shard):
    flip(shard, 0)
    (chunk,) = plan_all(shard, ReadOptions())
    assert (chunk.start, chunk.count) == (0, 0) and chunk.damage
    (failure,) = read_all(shard)
    assert (failure.image_id, failure.index) == ("a.tfrecord#0", 0)


def test_a_shard_that_changed_after_planning_is_a_failure_for_the_rest(shard):
    from transforms import formats

    (chunk,) = plan_all(shard)
    shard.write_bytes(shard.read_bytes()[: boundaries(shard.read_bytes())[2]])
    items = list(formats.read(chunk, ReadOptions()))
    assert [type(item) for item in items] == [Image, Image, Failure]


def test_a_length_beyond_all_memory_is_not_read(tmp_path):
    path = tmp_path / "a.tfrecord"
    for length in (2**40, 2**63 - 1, 2**64 - 1):
        header = struct.pack("<Q", length)
        content = header + struct.pack("<I", masked_crc32c(header)) + bytes(100)
        for data in (content, gzip.compress(content)):
            path.write_bytes(data)
            assert [item.error for item in read_all(path)] == ["ShardError"]


def test_records_that_are_no_example_or_have_no_image(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [b"\xff\xff", b"", example(None, 3), example(b"image", 3)])
    items = read_all(path)
    assert [type(item) for item in items] == [Failure, Failure, Failure, Image]
    assert "not a tf.Example" in items[0].message
    assert "the record's features: none" in items[1].message
    assert "image_feature: nothing in 'image/encoded'; the record's features: image/class/label" in items[2].message


@pytest.mark.parametrize(
    ("stored", "label"),
    [
        *((7, 7), (0, 0), ("7", "7"), ("tabby cat", "tabby cat"), (-1, -1), (None, None), (3.0, 3.0), ("", None)),
        *((0.5, 0.5), ([3, 5], (3, 5)), (["cat", "dog"], ("cat", "dog")), ([0.0, 1.0], (0.0, 1.0)), ([9], 9)),
    ],
)
def test_labels(tmp_path, stored, label):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(b"image", stored)])
    (image,) = read_all(path)
    assert (image.label, image.label_problem) == (label, "")
    assert read_all(path, ReadOptions(label_feature=""))[0].label is None


def test_an_empty_list_of_labels_is_not_the_lack_of_one(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(b"image", []), example(b"image")])
    assert [image.label for image in read_all(path)] == [(), None]


def test_a_label_that_cannot_be_used_costs_no_image(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(b"image", 2**62), example(b"image", "x" * 5000), example(b"image", [1] * 70_000)])
    images = read_all(path)
    assert [image.data for image in images] == [b"image"] * 3
    assert [image.label for image in images] == [str(2**62), "x" * 80, None]
    reasons = ("of a magnitude above", "5000 letters are more than the 4096", "more than the 65536 items")
    assert all(why in image.label_problem for image, why in zip(images, reasons, strict=True))


def test_names_of_features_and_fields_are_options(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(png=b"image", y=2, place="Zürich", year=2026)])
    options = ReadOptions(image_feature="png", label_feature="y", fields=("place", "year", "none"))
    (image,) = read_all(path, options)
    assert (image.data, image.label) == (b"image", 2)
    assert image.fields == (("place", "Zürich"), ("year", "2026"))


def test_the_message_is_tensorflows(tmp_path):
    import tensorflow as tf

    serialized = example(b"image", 7, weight=0.5, name="cat")
    assert {name: list(values) for name, values in parse_example(serialized).items()} == {
        "image/encoded": [b"image"],
        "image/class/label": [7],
        "weight": [0.5],
        "name": [b"cat"],
    }
    ours = example_class()()
    ours.features.feature["n"].int64_list.value.extend([1, 2])
    theirs = tf.train.Example.FromString(ours.SerializeToString())
    assert theirs.features.feature["n"].int64_list.value == [1, 2]


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_a_record_error(data):
    try:
        parse_example(data)
    except RecordError as error:
        assert "not a tf.Example" in str(error)


def test_the_checksum_of_the_format_description():
    # RFC 3720, B.4: CRC-32C of 32 bytes of zeros is 8a9136aa; the mask is TFRecord's.
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == (((crc >> 15) | (crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


RAW = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
SIZE = {"image/height": 4, "image/width": 5, "image/channels": 3}


def array_of(path, *records, **options):
    write_tfrecord(path, records)
    return [
        np.load(io.BytesIO(item.data), allow_pickle=False) if isinstance(item, Image) else item.message
        for item in read_all(path, ReadOptions(**options))
    ]


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        (RAW.tobytes(), np.uint8),
        ((RAW / 60).ravel().tolist(), np.float32),
        (RAW.ravel().astype(int).tolist(), np.int64),
    ],
    ids=["bytes", "floats", "integers"],
)
def test_pictures_as_arrays_have_the_shape_that_the_record_says(tmp_path, stored, dtype):
    path = tmp_path / "a.tfrecord"
    other = {"h": 4, "w": 5, "c": 3}
    named = {"height_feature": "h", "width_feature": "w", "channels_feature": "c"}
    (array,) = array_of(path, example(stored, 1, **SIZE))
    assert (array.shape, array.dtype) == ((4, 5, 3), dtype)
    np.testing.assert_allclose(array, RAW / 60 if dtype == np.float32 else RAW, rtol=1e-6)  # rounded to float32
    np.testing.assert_array_equal(array_of(path, example(stored, 1, **other), **named)[0], array)


@pytest.mark.parametrize(("channels", "found"), [(1, 1), (3, 3), (4, 4), (2, None), (5, None)])
def test_usual_channels_need_no_feature(tmp_path, channels, found):
    path = tmp_path / "a.tfrecord"
    data = b"\0" * (4 * 5 * channels)
    write_tfrecord(path, [example(data, **{"image/height": 4, "image/width": 5})])
    (image,) = read_all(path)
    assert (image.data == data) == (found is None)
    if found:
        assert np.load(io.BytesIO(image.data)).shape == (4, 5, found)
    (array,) = array_of(path, example(data, **{"image/height": 4, "image/width": 5, "image/channels": channels}))
    assert array.shape == (4, 5, channels)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {**SIZE, "image/height": 3},
        {**SIZE, "image/width": -5, "image/height": -4},
        {**SIZE, "image/channels": "3"},
        {**SIZE, "image/height": [4, 4]},
        {**SIZE, "image/channels": [3, 3]},
        {"image/height": 2**62, "image/width": 2**62},
        {"image/height": 0, "image/width": 5, "image/channels": 3},
    ],
)
def test_what_has_no_such_shape_is_no_array(tmp_path, sizes):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(RAW.tobytes(), **sizes), example(RAW.ravel().astype(float).tolist(), **sizes)])
    encoded, refused = read_all(path)
    assert encoded.data == RAW.tobytes()
    assert "a list of 60 numbers, which is not of the shape said by height_feature" in refused.message


def test_bytes_that_begin_like_an_encoded_picture_are_one_whatever_their_length(tmp_path):
    path = tmp_path / "a.tfrecord"
    beginnings = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", b"BM" + (60).to_bytes(4, "little"))
    data = [beginning.ljust(60, b".") for beginning in beginnings]
    write_tfrecord(path, [example(each, **SIZE) for each in data])
    assert [image.data for image in read_all(path)] == data
    (array,) = array_of(path, example(b"BM" + b"." * 58, **SIZE))
    assert array.shape == (4, 5, 3)


def test_arrays_and_lists_of_pictures_over_the_limit_are_failures(tmp_path):
    path = tmp_path / "a.tfrecord"
    numbers = example(RAW.ravel().astype(int).tolist(), **SIZE)
    assert array_of(path, numbers, max_bytes=len(numbers)) == [
        f"the image's 480 bytes are more than the {len(numbers)} allowed"
    ]
    assert array_of(path, example([b"one", b"two"])) == ["image_feature: 'image/encoded' holds 2 pictures, not one"]


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("name", ["a.tfrecord", "part-7"])
def test_zlib_is_told_by_content(tmp_path, level, name):
    plain = write_shard(tmp_path, "tfrecord", payloads(COUNT))
    expected, content = read_all(plain), plain.read_bytes()
    plain.unlink()
    path = tmp_path / name
    path.write_bytes(zlib.compress(content, level))
    images = read_all(path, ReadOptions(chunk_images=4))
    assert [(image.data, image.label) for image in images] == [(image.data, image.label) for image in expected]


def test_tensorflow_writes_the_same_zlib(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(data, 1) for data in payloads(COUNT)], "ZLIB")
    assert path.read_bytes()[0] == 0x78
    assert [image.data for image in read_all(path)] == payloads(COUNT)


def test_a_cut_or_damaged_zlib_stream(tmp_path):
    path = write_shard(tmp_path, "tfrecord", [bytes(range(256)) * 40 for _ in range(COUNT)])
    content = zlib.compress(path.read_bytes())
    for damaged in (content[:-1], content[: len(content) * 2 // 3], content[:-4] + bytes(4), content[:20]):
        path.write_bytes(damaged)
        items = read_all(path)
        assert all(isinstance(item, Image) for item in items[:-1])
        assert isinstance(items[-1], Failure) and "zlib" in items[-1].message


@pytest.mark.parametrize(
    "beginning", [b"\x1f\x8b\x08", b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"]
)
def test_a_length_that_looks_like_compression_is_none(tmp_path, beginning):
    length = int.from_bytes(beginning, "little")
    record = example(b"x" * (length - 100), 1)
    left = length - len(record) - 2
    record += bytes([15 << 3 | 2, left]) + bytes(left)  # a field that no one knows: type 2, its length, its content
    path = tmp_path / "part-7"
    write_tfrecord(path, [record])
    assert path.read_bytes().startswith(beginning)
    (image,) = read_all(path)
    assert set(image.data) == {ord("x")}
