"""Masks ride along with their images in the formats that have them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tests.shards import example, read_all, write_tar, write_tfrecord
from transforms.core.record import Failure
from transforms.formats import ReadOptions


def masks(path, **options) -> list[bytes | None]:
    return [image.mask for image in read_all(path, ReadOptions(**options))]


def test_a_tar_has_them_beside_the_image(tmp_path):
    path = tmp_path / "a.tar"
    write_tar(
        path, {"1.jpg": b"i", "1.mask.png": b"m", "1.cls": b"3", "2.jpg": b"i", "3.Mask.PNG": b"m", "3.png": b"i"}
    )
    assert masks(path) == [b"m", None, b"m"]
    assert [image.data for image in read_all(path)] == [b"i"] * 3


def test_a_mask_alone_is_no_image(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.mask.png": b"m"})
    (found,) = read_all(tmp_path / "a.tar")
    assert isinstance(found, Failure)


def test_a_mask_over_the_limit_is_a_failure(tmp_path):
    write_tar(tmp_path / "a.tar", {"1.jpg": b"i", "1.mask.png": b"m" * 99, "2.jpg": b"i"})
    failure, image = read_all(tmp_path / "a.tar", ReadOptions(max_bytes=98))
    assert "1.mask.png: 99 bytes are more than the 98 allowed" in failure.message
    assert image.data == b"i"


def test_a_feature_holds_them(tmp_path):
    path = tmp_path / "a.tfrecord"
    records = [example(b"i", 1, **{"seg": b"m"}), example(b"i", 1), example(b"i", 1, **{"seg": b""})]
    write_tfrecord(path, records)
    assert masks(path) == [None] * 3
    assert masks(path, mask_feature="seg") == [b"m", None, None]
    write_tfrecord(path, [example(b"i", 1, **{"seg": 3})])
    (failure,) = read_all(path, ReadOptions(mask_feature="seg"))
    assert failure.message == "mask_feature: 'seg' holds no bytes"


def test_a_column_holds_them(tmp_path):
    path = tmp_path / "a.parquet"
    column = pa.array([{"bytes": b"m", "path": "m.png"}, {"bytes": None, "path": ""}, None])
    pq.write_table(pa.table({"image": [b"i"] * 3, "mask": column}), path)
    assert masks(path) == [None] * 3
    assert masks(path, mask_column="mask") == [b"m", None, None]
