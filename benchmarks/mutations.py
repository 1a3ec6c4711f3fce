"""Real shards and images, and seeded ways to damage them that get past checksums as often as not."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from PIL import Image

from transforms.core.image.arrays import to_npy
from transforms.core.vocabulary import IMAGE_FORMATS
from transforms.formats.example import example_class
from transforms.formats.tfrecord_header import HEADER_BYTES, masked_crc32c

_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_BYTES = 1 << 20


def images() -> list[bytes]:
    """Returns small pictures of every format, many modes and both byte orders."""
    generator = np.random.default_rng(0)
    colour = Image.fromarray(generator.integers(0, 256, [24, 20, 3], np.uint8))
    grey16 = Image.fromarray(generator.integers(0, 65536, [20, 24]).astype(np.uint16))
    alpha = colour.convert("RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        *((colour, kind, {}) for kind in IMAGE_FORMATS),
        *((colour, "TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        (colour, "JPEG", {"progressive": True, "exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (colour.convert("1"), "TIFF", {"compression": "group4"}),
        (grey16, "PNG", {}),
        (grey16, "TIFF", {}),
        (grey16, "PPM", {}),
        (grey16, "JPEG2000", {}),
        (colour, "JPEG2000", {"no_jp2": True, "irreversible": True}),
        (colour, "TGA", {"compression": "tga_rle"}),
        (alpha, "TGA", {}),
        (alpha, "AVIF", {}),
        (alpha, "JPEG2000", {}),
        (alpha, "ICO", {"sizes": [(20, 24)], "bitmap_format": "bmp"}),
        (colour.convert("P"), "PCX", {}),
        (alpha, "WEBP", {"lossless": True}),
        (alpha, "PNG", {}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90)]}),
    ]
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()  # which registers the encoder too
        kinds += [(colour, "HEIF", {}), (alpha, "HEIF", {"quality": 90})]
    return [_encoded(*kind) for kind in kinds]


def arrays() -> list[bytes]:
    """Returns pictures of five bands: arrays of many types, and TIFF files that only tifffile reads."""
    values = np.random.default_rng(0).integers(0, 120, [12, 10, 5])
    types = ("|u1", "|i1", "<u2", ">i2", "<f2", ">f4", "<f8", "|b1")
    found = [to_npy(values.astype(dtype)) for dtype in types] + [to_npy(np.asfortranarray(values))]
    for compression, predictor in ((None, False), ("zlib", True)):
        for dtype in ("u1", "u2", "f4") if not predictor else ("u1", "u2"):
            stream = io.BytesIO()
            bands = {"photometric": "minisblack", "planarconfig": "contig", "predictor": predictor}
            tifffile.imwrite(stream, values.astype(dtype), compression=compression, **bands)
            found.append(stream.getvalue())
    return found


def tfrecords() -> list[bytes]:
    """Returns shards of tf.Examples."""
    shard = b"".join(_record(_example(data, label)) for label, data in enumerate(images()[:5]))
    raw = _example(bytes(60), 7, {"image/height": 4, "image/width": 5, "image/channels": 3})
    return [shard, _record(_example(images()[0], 7)), _record(raw)]


def tars() -> list[bytes]:
    """Returns WebDataset archives of each dialect."""
    found = []
    for dialect in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=dialect) as archive:
            for index, data in enumerate(images()[:3]):
                key = f"train/{index:06d}" if dialect == tarfile.USTAR_FORMAT else f"train/{'ä' * 120}{index}"
                about = json.dumps({"label": index, "camera": "north"}).encode()
                for name, content in ((f"{key}.png", data), (f"{key}.cls", b"3"), (f"{key}.json", about)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        found.append(stream.getvalue())
    return found


def parquets() -> list[bytes]:
    """Returns tables of either kind of image column, with several pages, row groups and encodings."""
    data = images()[:6]
    plain = pa.table({"image": data, "label": list(range(6)), "camera": ["north", "south"] * 3})
    nested = pa.table({"image": [{"bytes": each, "path": "a.png"} for each in data], "label": ["cat"] * 6})
    arrays = pa.table({"image": [[[[7, 8, 9]] * 3] * 2] * 6, "label": [[0, 1], []] * 3})
    features = {"img": {"_type": "Image"}, "y": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    named = pa.table({"img": data, "y": [0, 1] * 3}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    options = [
        {"row_group_size": 2},
        {"compression": "zstd"},
        {"data_page_size": 64, "data_page_version": "2.0"},
    ]
    found = []
    for table in (plain, nested, arrays, named):
        for option in options:
            stream = io.BytesIO()
            pq.write_table(table, stream, **option)
            found.append(stream.getvalue())
    return found


def mutate(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Returns one of `seeds` with up to eight changes: bits, numbers, and parts cut, repeated, mixed or random."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        if data:
            chance.choice(_CHANGES)(data, chance, seeds)
    return bytes(data[:_MAX_BYTES])


def repair_tfrecord(data: bytes) -> bytes:
    """Returns records whose checksums are right again, as far as their lengths can be followed."""
    fixed, position = bytearray(), 0
    while position + HEADER_BYTES + 4 <= len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        content = data[position + HEADER_BYTES : position + HEADER_BYTES + min(length, _MAX_BYTES)]
        fixed += _record(content)
        position += HEADER_BYTES + len(content) + 4
    return bytes(fixed)


def repair_tar(data: bytes) -> bytes:
    """Returns an archive in which every block that could be a header has a right checksum."""
    fixed = bytearray(data)
    for start in range(0, len(fixed) - 511, 512):
        if fixed[start + 257 : start + 262] == b"ustar":
            fixed[start + 148 : start + 156] = b" " * 8
            fixed[start + 148 : start + 156] = b"%06o\0 " % sum(fixed[start : start + 512])
    return bytes(fixed)


def repair_png(data: bytes) -> bytes:
    """Returns a PNG whose chunks have right checksums, as far as their lengths can be followed; else `data`."""
    if not data.startswith(_PNG):
        return data
    fixed, position = bytearray(_PNG), len(_PNG)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        content = data[position + 4 : position + 8 + length]
        fixed += struct.pack(">I", length) + content + struct.pack(">I", zlib.crc32(content))
        position += 12 + length
    return bytes(fixed)


def gzipped(data: bytes) -> bytes:
    """Returns `data` gzipped."""
    return gzip.compress(data, 1)


def zlibbed(data: bytes) -> bytes:
    """Returns `data` compressed with zlib."""
    return zlib.compress(data, 1)


def _encoded(picture: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _example(data: bytes, label: int, numbers: Mapping[str, int] = MappingProxyType({})) -> bytes:
    example = example_class()()
    feature = example.features.feature
    feature["image/encoded"].bytes_list.value.append(data)
    for name, number in {"image/class/label": label, **numbers}.items():
        feature[name].int64_list.value.append(number)
    feature["camera"].bytes_list.value.append(b"north")
    return example.SerializeToString()


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, content)]
    return length + checksums[0] + content + checksums[1]


def _place(data: bytearray, chance: random.Random) -> int:
    """Returns a position; half of them in the first or last hundred bytes, where headers and footers lie."""
    spread = chance.choice((len(data), len(data), 100, 100))
    position = chance.randrange(min(spread, len(data)))
    return position if chance.random() < 0.5 else len(data) - 1 - position


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    width, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    value = chance.choice(_INTERESTING) % 256**width
    position = _place(data, chance)
    data[position : position + width] = value.to_bytes(width, order)[: len(data) - position]


def _cut(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, chance)
    del data[start : start + chance.choice((1, 4, 100, len(data)))]


def _repeat(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start = _place(data, chance)
    piece = bytes(data[start : start + chance.choice((1, 8, 64, 512))]) * chance.choice((1, 2, 50))
    data[start:start] = piece


def _mix(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    start, length = chance.randrange(len(other)), chance.choice((4, 64, 512))
    position = _place(data, chance)
    data[position : position + length] = other[start : start + length]


def _noise(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    position, length = _place(data, chance), chance.choice((1, 4, 32))
    data[position : position + length] = chance.randbytes(length)


_CHANGES: list[Callable[[bytearray, random.Random, Sequence[bytes]], None]] = [
    _flip,
    _flip,
    _number,
    _number,
    _cut,
    _repeat,
    _mix,
    _noise,
]
