"""Bombs, names and numbers chosen to do harm: each costs a row of errors, and no more memory than its limit."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from tests.pipeline.job import png
from tests.shards import plan_all, read_all, write_tar
from transforms.core.image.decode import DecodeError, Decoding, decode
from transforms.core.record import Failure, Image
from transforms.formats import ReadOptions, pages

SMALL = png(np.full([4, 4, 3], 200, np.uint8))


def varint(value: int) -> bytes:
    head = b""
    while value >= 128:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def page_header(unpacked: int, stored: int) -> bytes:
    """A data page's header in Thrift's compact protocol: its type, its sizes, and no more."""
    return b"\x15\x00" + b"".join(b"\x15" + varint(size << 1) for size in (unpacked, stored)) + b"\x00"


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"image": [SMALL] * 40, "label": list(range(40)), "camera": ["north", "south"] * 20})
    pq.write_table(table, path, row_group_size=20, data_page_size=100, data_page_version="2.0", compression="zstd")
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none"},
        {"compression": "gzip", "data_page_version": "2.0"},
        {"use_dictionary": False, "write_page_checksum": True},
        {"data_page_size": 64, "write_batch_size": 3},
        {"write_statistics": True, "max_rows_per_page": 5},
    ],
)
def test_honest_pages_are_passed_to_the_last_byte(tmp_path, monkeypatch, options):
    ends, page = [], pages._page

    def noted(stream, position):
        claimed = page(stream, position)
        ends.append(position + claimed.length + claimed.stored)
        return claimed

    monkeypatch.setattr(pages, "_page", noted)
    table = pa.table({"image": [SMALL * (1 + row % 3) for row in range(50)], "name": ["long " * 900] * 50})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30, **options)
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata
    with open(tmp_path / "a.parquet", "rb") as stream:
        for group, columns in enumerate(pages.column_chunks(stream)):
            for index, column in enumerate(columns):
                arrows = metadata.row_group(group).column(index)
                first = arrows.dictionary_page_offset or arrows.data_page_offset
                assert column == pages.ColumnChunk(
                    ("image", "name")[index], first, first + arrows.total_compressed_size
                )
                pages.check_pages(stream, column)
                assert ends[-1] == column.end
    assert len(ends) >= 4
    assert len([item for item in read_all(tmp_path / "a.parquet") if isinstance(item, Image)]) == 50


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (page_header(500, 2**31 - 1), "claims 2147483647 bytes"),
        (page_header(2**31 - 1, 10), "unpacks to 2147483647 bytes"),
        (page_header(500, 2**62), "claims"),
        (b"\x15\x01\x15\x01\x15\x01\x00", "claims -1 bytes"),
        (b"\xff" * 12, "is damaged"),
        (b"\x1c" * 40, "is damaged"),
        (b"\x28\xff\xff\xff\x7f", "is truncated"),
        (b"\x00", "is damaged"),
        (b"\x15\x00\x18\x0212\x15\x00\x00", "is damaged"),  # text, where a size should stand
    ],
)
def test_a_page_that_lies_is_refused_before_arrow_believes_it(parquet, header, why):
    column = pq.ParquetFile(parquet).metadata.row_group(1).column(0)
    content = bytearray(parquet.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    content[first : first + len(header)] = header
    parquet.write_bytes(content)
    items = read_all(parquet)
    assert [isinstance(item, Failure) for item in items] == [False] * 20 + [True]
    assert why in items[-1].message


def test_damaged_statistics_of_a_column_are_a_failure_and_not_the_end(parquet):
    pq.write_table(pa.table({"image": [{"bytes": SMALL, "path": "a"}] * 3}), parquet)
    none, three = (
        b"\x19\x06",
        b"\x19\x36\x00\x00\x06",
    )  # histograms of levels: of repetition none, of definition 0, 0, 3
    content = parquet.read_bytes()
    assert none + three in content
    parquet.write_bytes(content.replace(none + three, three + none))
    (failed,) = read_all(parquet)
    assert "histogram" in failed.message  # pyarrow's view of this column would have ended the process


def test_a_page_that_unpacks_to_too_much_is_refused(parquet, monkeypatch):
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1 << 16)
    table = pa.table({"image": [SMALL, bytes(1 << 20)]})
    pq.write_table(table, parquet, compression="zstd")
    assert parquet.stat().st_size < 1 << 13
    (failed,) = read_all(parquet)
    assert "unpacks to" in failed.message


@pytest.mark.parametrize("levels", [100, 100_000])
def test_a_deep_schema_does_not_end_the_process(tmp_path, levels):
    def leaf(name: bytes, kind: int) -> bytes:
        return b"\x15" + varint(kind << 1) + b"\x25\x02\x18" + varint(len(name)) + name + b"\x00"

    def group(name: bytes, children: int) -> bytes:
        return b"\x35\x02\x18" + varint(len(name)) + name + b"\x15" + varint(children << 1) + b"\x00"

    schema = [group(b"schema", 2), leaf(b"image", 6), *[group(b"a", 1)] * levels, leaf(b"x", 1)]
    footer = b"\x15\x02\x19\xfc" + varint(len(schema)) + b"".join(schema) + b"\x16\x00\x19\x0c\x00"
    path = tmp_path / "deep.parquet"
    path.write_bytes(b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1")
    assert [bool(chunk.damage) for chunk in plan_all(path)] == [True] * (levels > 100)


def test_a_gzip_bomb_is_never_held(tmp_path):
    path = tmp_path / "bomb.tar.gz"
    write_tar(path, {"a.jpg": bytes(64 << 20), "b.png": SMALL}, "w:gz", compresslevel=1)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    bomb, image = read_all(path, ReadOptions(max_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(bomb, Failure) and "67108864 bytes are more than the 1048576 allowed" in bomb.message
    assert isinstance(image, Image) and image.data == SMALL
    assert peak < 4 << 20


def test_many_long_names_are_not_held(tmp_path):
    path = tmp_path / "names.tar.gz"
    with gzip.open(path, "wb", 1) as stream:
        for index in range(2000):
            stream.write(tarfile.TarInfo(f"{index:08d}{'x' * 900}.jpg").tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(1024))
    tracemalloc.start()
    chunks = plan_all(path)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert sum(chunk.count for chunk in chunks) == 2000 and all(chunk.keyed for chunk in chunks)
    assert held < 2000 * 300


@pytest.mark.parametrize(
    "name", ["a\0b.png", "../../../etc/passwd.png", "/etc/passwd.png", "a\nb\x1b[2J.png", "%00.png"]
)
def test_a_name_is_text_and_no_path(tmp_path, name):
    path = tmp_path / "names.tar"
    member = tarfile.TarInfo("placeholder.png")
    member.size, member.pax_headers = len(SMALL), {"path": name}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(SMALL))
    (chunk,) = plan_all(path)
    (image,) = read_all(path)
    assert image.id == f"names.tar#{name.removesuffix('.png')}"
    assert chunk.id.replace("-", "").isalnum()  # what files are named after
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("extent", [(1, 1), (1, 30_000), (30_000, 1), (2, 3)])
@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_extents_of_every_kind_fit(extent, resize):
    pixels = decode(png(np.full([*extent, 3], 255, np.uint8)), (64, 48), Decoding(resize))
    assert pixels.array.shape == (64, 48, 3)
    assert (pixels.height, pixels.width) == extent
    assert np.isfinite(pixels.array).all() and pixels.array.max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_pixels_that_are_no_numbers_are_refused(value):
    stream = io.BytesIO()
    Picture.fromarray(np.full([4, 4], value, np.float32)).save(stream, "TIFF")
    with pytest.raises(DecodeError, match="float32 have no range of their own: set value_range"):
        decode(stream.getvalue(), (8, 8))
    with pytest.raises(DecodeError, match="are not all within value_range 0,1"):
        decode(stream.getvalue(), (8, 8), Decoding(value_range=(0, 1)))


def test_a_pixel_bomb_is_refused_by_its_header():
    bomb = bytearray(SMALL)
    bomb[16:24] = struct.pack(">II", 30_000, 30_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    with pytest.raises(DecodeError, match="pixels allowed"):
        decode(bytes(bomb), (8, 8))
