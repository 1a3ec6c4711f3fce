"""TFRecords as TensorFlow writes them, and broken in every place."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.shards import example, payloads, plan_all, read_all, write_shard, write_tfrecord
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions
from transforms.formats.example import example_class, parse_example
from transforms.formats.shard import RecordError
from transforms.formats.tfrecord import masked_crc32c

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
    assert "image_feature: no bytes in 'image/encoded'; the record's features: image/class/label" in items[2].message


@pytest.mark.parametrize(
    ("stored", "label"),
    [(7, 7), (0, 0), ("7", 7), ("tabby cat", "tabby cat"), (-1, None), (None, None), (3.0, 3), ("", None)],
)
def test_labels(tmp_path, stored, label):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(b"image", stored)])
    assert read_all(path)[0].label == label


def test_a_label_out_of_range_is_a_failure(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(b"image", 2**31), example(b"image", 0.5)])
    assert [item.error for item in read_all(path)] == ["RecordError", "RecordError"]


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
