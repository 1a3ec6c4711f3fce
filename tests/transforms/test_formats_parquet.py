"""Parquet shards of each schema, with holes, and damaged."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shards import payloads, plan_all, read_all
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions

IMAGES = payloads(8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def write(path, images, label=None, **options):
    columns = {"image": images} if label is None else {"image": images, "label": label}
    pq.write_table(pa.table(columns), path, **options)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(IMAGES, pa.binary()),
        pa.array(IMAGES, pa.large_binary()),
        pa.array([{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(IMAGES)]),
        pa.array(
            [{"bytes": data} for data in IMAGES], pa.struct([("path", pa.string()), ("bytes", pa.large_binary())])
        ),
    ],
    ids=["binary", "large_binary", "hugging_face", "path_first"],
)
@pytest.mark.parametrize("row_group_size", [1, 3, 100])
def test_columns_of_images(path, column, row_group_size):
    write(path, column, list(range(8)), row_group_size=row_group_size)
    images = read_all(path, ReadOptions(chunk_images=3))
    assert [(image.data, image.label) for image in images] == list(zip(IMAGES, range(8), strict=True))


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pa.array([3, -1, None], pa.int64()), [3, None, None]),
        (pa.array([3, 255, 0], pa.uint8()), [3, 255, 0]),
        (pa.array(["cat", "7", None]), ["cat", 7, None]),
        (pa.array(["cat", "dog", "cat"]).dictionary_encode(), ["cat", "dog", "cat"]),
        (pa.array([1.0, 2.0, None]), [1, 2, None]),
        (pa.nulls(3), [None] * 3),
    ],
    ids=["integers", "unsigned", "names", "dictionary", "whole_floats", "nulls"],
)
def test_columns_of_labels(path, column, labels):
    write(path, pa.array(IMAGES[:3]), column)
    assert [image.label for image in read_all(path)] == labels


def test_without_labels_and_with_other_names(path):
    write(path, pa.array(IMAGES))
    assert {image.label for image in read_all(path)} == {None}
    pq.write_table(pa.table({"png": IMAGES, "y": range(8), "place": ["Bern"] * 7 + [None], "year": range(8)}), path)
    images = read_all(path, ReadOptions(image_column="png", label_column="y", fields=("place", "year")))
    assert [image.label for image in images] == list(range(8))
    assert images[0].fields == (("place", "Bern"), ("year", "0")) and images[7].fields == (("year", "7"),)


def test_rows_without_bytes_are_failures(path):
    write(path, pa.array([{"bytes": b"1", "path": "a"}, {"bytes": None, "path": "b"}, None]))
    items = read_all(path)
    assert [type(item) for item in items] == [Image, Failure, Failure]
    assert (items[1].image_id, items[1].stage) == ("a.parquet#1", "read")
    assert "holds no image bytes" in items[1].message


@pytest.mark.parametrize(
    ("columns", "options", "why"),
    [
        ({"picture": IMAGES}, {}, "image_column: column 'image' is missing or not unique in picture"),
        ({"image": ["a.jpg"]}, {}, "image_column: column 'image' is string, not binary or struct<bytes"),
        ({"image": [{"path": "a.jpg"}]}, {}, "image_column: column 'image' is struct<path: string>, not binary"),
        ({"image": IMAGES, "label": [[1]] * 8}, {}, "label_column: column 'label' is list"),
        ({"image": IMAGES}, {"label_column": "y"}, "label_column: column 'y' is missing or not unique"),
        ({"image": IMAGES}, {"fields": ("place",)}, "fields: column 'place' is missing or not unique"),
        ({"image": IMAGES, "place": [[1]] * 8}, {"fields": ("place",)}, "fields: column 'place' is list"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused_at_planning(path, columns, options, why):
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ValueError, match=why):
        plan_all(path, ReadOptions(**options))


def test_a_damaged_page_is_a_failure_for_the_rest_of_the_chunk(path):
    images = [bytes([number]) * 50_000 for number in range(40)]
    write(path, pa.array(images), row_group_size=10, compression="none", use_dictionary=False, write_statistics=False)
    content = bytearray(path.read_bytes())
    page = content.index(images[20][:100]) - 60
    content[page : page + 40] = b"\xff" * 40  # the header of the third row group's page
    path.write_bytes(content)
    items = read_all(path, ReadOptions(chunk_images=10))
    assert [type(item) for item in items] == [Image] * 20 + [Failure] + [Image] * 10
    assert (items[20].index, items[20].error) == (20, "ShardError")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 40 + b"PAR1"])
def test_a_damaged_footer_is_one_failure(path, content):
    path.write_bytes(content)
    (failure,) = read_all(path)
    assert (failure.image_id, failure.error) == ("a.parquet#0", "ShardError")


def test_planning_reads_the_footer_only(path, monkeypatch):
    write(path, pa.array([bytes(1_000_000)] * 5), compression="none", use_dictionary=False)
    content = path.read_bytes()
    start = content.index(bytes(1000))
    path.write_bytes(content[:start] + b"\xff" * 4_900_000 + content[start + 4_900_000 :])
    (chunk,) = plan_all(path)
    assert (chunk.count, chunk.damage) == (5, "")
