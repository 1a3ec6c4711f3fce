"""Parquet shards of each schema, with holes, and damaged."""

from __future__ import annotations

import io
import json
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shards import payloads, plan_all, read_all
from transforms import formats
from transforms.core.record import Failure, Image
from transforms.core.vocabulary import MAX_COLUMN_VALUES
from transforms.formats import ReadOptions, pages

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
        (pa.array([3, -1, None], pa.int64()), [3, -1, None]),
        (pa.array([3, 255, 0], pa.uint8()), [3, 255, 0]),
        (pa.array(["cat", "7", None]), ["cat", "7", None]),
        (pa.array(["cat", "dog", "cat"]).dictionary_encode(), ["cat", "dog", "cat"]),
        (pa.array([1.0, 0.5, None]), [1.0, 0.5, None]),
        (pa.nulls(3), [None] * 3),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array([Decimal("1.5"), None, Decimal(2)]), [1.5, None, 2.0]),
        (pa.array([[0, 1], [], None]), [(0, 1), (), None]),
        (pa.array([["cat", "dog"], ["cat"], []], pa.large_list(pa.string())), [("cat", "dog"), ("cat",), ()]),
        (pa.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], pa.list_(pa.float32(), 2)), [(0, 1), (1, 0), (0.5, 0.5)]),
        (pa.array([{"label": 3, "name": "cat"}, {"label": None, "name": "dog"}, None]), [3, "dog", None]),
        (pa.array([[{"id": 3}, {"id": 5}], [], None]), [(3, 5), (), None]),
        (pa.array([b"cat", b"7", None]), ["cat", "7", None]),
    ],
    ids=[
        *(
            "integers",
            "unsigned",
            "names",
            "dictionary",
            "floats",
            "nulls",
            "booleans",
            "decimals",
            "lists",
            "lists_of_names",
        ),
        *("vectors", "structs", "lists_of_structs", "bytes"),
    ],
)
def test_columns_of_labels(path, column, labels):
    write(path, pa.array(IMAGES[:3]), column)
    images = read_all(path)
    assert [(image.label, image.label_problem) for image in images] == [(label, "") for label in labels]
    assert [image.label for image in read_all(path, ReadOptions(label_column=""))] == [None] * 3


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ([1] * 70_000, "a list of 70000 items; at most 65536"),
        ([1, None], "contains null"),
        ([[1]], "contains a list"),
        ({"name": ["x" * 5000]}, "5000 letters"),
        (2**62, "of a magnitude above"),
    ],
)
def test_a_label_that_cannot_be_used_costs_no_image(path, stored, why):
    write(path, pa.array(IMAGES[:1]), pa.array([stored]))
    (image,) = read_all(path)
    assert image.data == IMAGES[0] and why in image.label_problem


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
        ({"image": ["a.jpg"]}, {}, "image_column: column 'image' is string, not binary, struct<bytes"),
        ({"image": [{"path": "a.jpg"}]}, {}, "image_column: column 'image' is struct<path: string>, not binary"),
        ({"image": [[1, 2]]}, {}, "image_column: column 'image' is list<.*>, not binary.* or arrays"),
        ({"image": [[[[[1]]]]]}, {}, "image_column: column 'image' is list"),
        ({"image": [[["a"]]]}, {}, "image_column: column 'image' is list"),
        ({"image": IMAGES, "label": [date(2026, 1, 1)] * 8}, {}, "label_column: column 'label' is date32"),
        ({"image": IMAGES, "label": [{"x": 1}] * 8}, {}, "label_column: column 'label' is struct"),
        ({"image": IMAGES, "mask": [[[1]]] * 8}, {"mask_column": "mask"}, "mask_column: column 'mask' is list"),
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


ARRAYS = np.arange(3 * 4 * 5 * 2, dtype=np.uint8).reshape(3, 4, 5, 2)


def nested(arrays, kind):
    return pa.array(arrays.tolist(), pa.list_(pa.list_(pa.list_(kind))))


def load(image):
    return np.load(io.BytesIO(image.data), allow_pickle=False)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pa.FixedShapeTensorArray.from_numpy_ndarray(ARRAYS), np.uint8),
        (nested(ARRAYS, pa.uint8()), np.uint8),
        (nested(ARRAYS, pa.float32()), np.float32),
        (nested(ARRAYS, pa.int16()), np.int16),
        (pa.array(ARRAYS.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8(), 2), 5), 4)), np.uint8),
        (pa.array(ARRAYS.tolist(), pa.large_list(pa.large_list(pa.list_(pa.float64(), 2)))), np.float64),
    ],
    ids=["fixed_shape_tensor", "lists", "floats", "integers", "fixed_size_lists", "large_lists"],
)
def test_arrays_are_pictures(path, column, dtype):
    write(path, column, [1, 2, 3], row_group_size=2)
    images = read_all(path, ReadOptions(chunk_images=2))
    assert [image.label for image in images] == [1, 2, 3]
    for image, array in zip(images, ARRAYS, strict=True):
        assert load(image).dtype == dtype
        np.testing.assert_array_equal(load(image), array)


def test_arrays_without_channels_keep_their_shape_and_may_differ(path):
    arrays = [np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(8, dtype=np.uint8).reshape(4, 2)]
    write(path, pa.array([array.tolist() for array in arrays], pa.list_(pa.list_(pa.uint8()))))
    for image, array in zip(read_all(path), arrays, strict=True):
        np.testing.assert_array_equal(load(image), array)


def test_a_tensor_with_a_permutation_is_refused_and_one_without_is_not(path):
    storage = pa.array(ARRAYS.reshape(3, -1).tolist(), pa.list_(pa.uint8(), 40))
    for order in ([1, 2, 0], [0, 1, 2]):
        kind = pa.fixed_shape_tensor(pa.uint8(), (4, 5, 2), permutation=order)
        write(path, pa.ExtensionArray.from_storage(kind, storage))
        if order == [0, 1, 2]:
            np.testing.assert_array_equal(load(read_all(path)[0]), ARRAYS[0])
        else:
            with pytest.raises(ValueError, match=r"image_column: .*permutation=\[1,2,0\].*, not .* in the order"):
                plan_all(path)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (None, "no image bytes"),
        ([], "empty, null or of different lengths"),
        ([[]], "empty, null or of different lengths"),
        ([[[1], [2]], [[3]]], "empty, null or of different lengths"),
        ([[[1], None]], "empty, null or of different lengths"),
        ([[[1], [None]]], "contains null"),
        ([[[1] * 4] * 5] * 4, "the image's 80 bytes are more than the 79 allowed"),
    ],
)
def test_what_is_no_array_is_a_failure(path, stored, why):
    write(path, pa.array([[[[7]]], stored, [[[8]]]], pa.list_(pa.list_(pa.list_(pa.uint8())))))
    first, item, last = read_all(path, ReadOptions(max_bytes=79))
    assert load(first).tolist() == [[[7]]] and load(last).tolist() == [[[8]]]
    assert isinstance(item, Failure) and why in item.message


def test_arrays_over_the_limit_by_their_type_are_refused_at_planning(path):
    write(path, pa.FixedShapeTensorArray.from_numpy_ndarray(ARRAYS))
    assert len(plan_all(path, ReadOptions(max_bytes=40))) == 1
    with pytest.raises(ValueError, match="image_column: arrays of 40 bytes in column 'image'; max_bytes is 39"):
        plan_all(path, ReadOptions(max_bytes=39))


def test_a_few_bytes_that_repeat_a_value_without_end_are_not_unpacked(path, monkeypatch):
    write(path, pa.array(IMAGES[:1]), pa.array([[7] * 1_000_000]))
    assert path.stat().st_size < 10_000 and MAX_COLUMN_VALUES > 1_000_000
    assert isinstance(read_all(path)[0], Image)
    monkeypatch.setattr(pages, "MAX_COLUMN_VALUES", 999_999)
    (failure,) = read_all(path)
    assert "values in a row group, more than 999999" in failure.message


def write_hugging_face(path, columns, features):
    metadata = {"huggingface": json.dumps({"info": {"features": features}}) if isinstance(features, dict) else features}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


IMAGE, CLASSES = {"_type": "Image"}, {"_type": "ClassLabel", "names": ["cat", "dog"]}


def test_hugging_faces_metadata_name_columns_and_classes(path):
    images = [{"bytes": data, "path": None} for data in IMAGES]
    write_hugging_face(path, {"img": images, "fine": [0, 1] * 4}, {"img": IMAGE, "fine": CLASSES})
    read = read_all(path)
    assert [(image.data, image.label) for image in read] == list(zip(IMAGES, [0, 1] * 4, strict=True))
    assert {image.label_names for image in read} == {("cat", "dog")}
    assert formats.describe(formats.expand([str(path)]), ReadOptions()) == (
        "image_column: column 'img', the only Image feature of the Parquet metadata; there is no column 'image'",
        "label_column: column 'fine', the only ClassLabel feature of the Parquet metadata; there is no column 'label'",
        "labels: class names in the Parquet metadata (cat, dog) count if class_names has another order",
    )
    assert {image.label for image in read_all(path, ReadOptions(label_column=""))} == {None}
    with pytest.raises(ValueError, match="image_column: column 'picture' is missing"):
        plan_all(path, ReadOptions(image_column="picture"))


def test_columns_of_the_usual_names_come_first(path):
    columns = {"image": IMAGES, "img": IMAGES[::-1], "label": range(8), "fine": [0, 1] * 4}
    write_hugging_face(path, columns, {"img": IMAGE, "fine": CLASSES})
    assert [image.label for image in read_all(path)] == list(range(8))
    assert read_all(path)[0].data == IMAGES[0] and read_all(path)[0].label_names == ()
    assert formats.describe(formats.expand([str(path)]), ReadOptions()) == ()


@pytest.mark.parametrize(
    "feature",
    [{"_type": "Sequence", "feature": CLASSES}, {"_type": "List", "feature": CLASSES}, [CLASSES]],
    ids=["sequence", "list", "old"],
)
def test_lists_of_classes_have_names_too(path, feature):
    write_hugging_face(path, {"image": IMAGES[:2], "label": [[0, 1], []]}, {"image": IMAGE, "label": feature})
    assert [(image.label, image.label_names) for image in read_all(path)] == [
        ((0, 1), ("cat", "dog")),
        ((), ("cat", "dog")),
    ]


def test_of_several_that_may_be_meant_none_is_taken(path):
    columns = {"a": IMAGES, "b": IMAGES, "fine": range(8), "coarse": range(8)}
    write_hugging_face(path, columns, {"a": IMAGE, "b": IMAGE, "fine": CLASSES, "coarse": CLASSES})
    with pytest.raises(ValueError, match="image_column: column 'image' is missing"):
        plan_all(path)
    assert {image.label for image in read_all(path, ReadOptions(image_column="a"))} == {None}
    assert read_all(path, ReadOptions(image_column="a", label_column="fine"))[1].label_names == ("cat", "dog")


@pytest.mark.parametrize(
    "metadata",
    [
        *("", "[]", "{", "1", '{"info": 1}', '{"info": {"features": [1]}}', "[" * 100_000, b"\xff\xfe"),
        *({"label": 3}, {"label": {"_type": "ClassLabel"}}, {"label": {"_type": "ClassLabel", "names": [1]}}),
        *({"label": {"_type": "Sequence", "feature": [[CLASSES]]}}, {"label": {"_type": ["ClassLabel"]}}),
        {"other": CLASSES},
    ],
    ids=str,
)
def test_damaged_metadata_say_nothing(path, metadata):
    write_hugging_face(path, {"image": IMAGES, "label": range(8)}, metadata)
    assert [(image.label, image.label_names) for image in read_all(path)] == [(label, ()) for label in range(8)]
