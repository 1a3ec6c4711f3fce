"""Writes samples as image shards, in every input format that the job reads.

Each writer streams: a shard of any size needs the memory of a few pictures.
"""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.samples.photographs import PHOTOGRAPHS, Sample, crops, originals
from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.vocabulary import INPUT_FORMATS
from transforms.formats.example import example_class
from transforms.formats.tfrecord_header import masked_crc32c

_PNG = b"\x89PNG"
_ROW_GROUP = 64
_PARQUET_SCHEMA = pa.schema(
    {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
)


def make_shards(
    output: str, format: str, count: int | None = None, shards: int = 1, seed: int = 0, compress: bool = False
) -> list[str]:
    """Writes shards of sample pictures below the folder `output`; returns their URIs in order.

    Args:
        output: URI of a folder.
        format: one of `INPUT_FORMATS`. A shard of `files` is a folder of folders named after the class ids.
        count: number of seeded crops; None for the whole photographs, byte for byte.
        shards: number of shards; their sizes differ by at most one picture.
        seed: of the crops.
        compress: whether tfrecord shards are gzipped.

    Raises:
        ValueError: an argument has a value that is not allowed.
    """
    total = len(PHOTOGRAPHS) if count is None else count
    _check(format, total, shards, seed, compress)
    samples = originals() if count is None else crops(count, seed)
    ending = {"tfrecord": ".tfrecord", "webdataset": ".tar", "parquet": ".parquet", "files": ""}[format]
    write = _gzip_tfrecord if compress else _WRITERS[format]
    uris = []
    for shard in range(shards):
        name = f"samples-{shard:05d}-of-{shards:05d}{ending}{'.gz' if compress else ''}"
        size = (shard + 1) * total // shards - shard * total // shards
        uris.append(storage.join(output, name))
        write(uris[-1], itertools.islice(samples, size))
    return uris


def _check(format: str, total: int, shards: int, seed: int, compress: bool) -> None:
    if format not in INPUT_FORMATS:
        raise UsageError(f"format: {format!r} is not one of {', '.join(INPUT_FORMATS)}")
    if total < 1:
        raise UsageError(f"count: {total} is not 1 or more")
    if not 1 <= shards <= total:
        raise UsageError(f"shards: {shards} is not from 1 to the number of pictures, {total}")
    if seed < 0:
        raise UsageError(f"seed: {seed} is not 0 or more")
    if compress and format != "tfrecord":
        raise UsageError(f"compress: only tfrecord shards can be compressed, not {format}")


def _file_name(sample: Sample) -> str:
    return f"{sample.key}.{'png' if sample.data.startswith(_PNG) else 'jpg'}"


def _tfrecord(uri: str, samples: Iterable[Sample]) -> None:
    with storage.write_atomic(uri) as stream:
        _write_records(stream, samples)


def _gzip_tfrecord(uri: str, samples: Iterable[Sample]) -> None:
    with storage.write_atomic(uri) as stream, gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as compressed:
        _write_records(compressed, samples)


def _write_records(stream: IO[bytes] | gzip.GzipFile, samples: Iterable[Sample]) -> None:
    """Writes TFRecord frames: length, its checksum, the record, its checksum."""
    for sample in samples:
        record = _example(sample)
        length = struct.pack("<Q", len(record))
        for part in (length, record):
            stream.write(part + struct.pack("<I", masked_crc32c(part)))


def _example(sample: Sample) -> bytes:
    """Returns a serialized tf.Example under ImageNet's feature names."""
    example = example_class()()
    feature = example.features.feature
    feature["image/class/label"].int64_list.value.append(sample.label)
    feature["image/encoded"].bytes_list.value.append(sample.data)
    feature["image/filename"].bytes_list.value.append(_file_name(sample).encode())
    content: bytes = example.SerializeToString(deterministic=True)
    return content


def _webdataset(uri: str, samples: Iterable[Sample]) -> None:
    with storage.write_atomic(uri) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for sample in samples:
            for name, data in ((_file_name(sample), sample.data), (f"{sample.key}.cls", b"%d" % sample.label)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _parquet(uri: str, samples: Iterable[Sample]) -> None:
    with storage.write_atomic(uri) as stream, pq.ParquetWriter(stream, _PARQUET_SCHEMA) as writer:
        for group in _groups(samples, _ROW_GROUP):
            rows = [
                {"image": {"bytes": sample.data, "path": _file_name(sample)}, "label": sample.label} for sample in group
            ]
            writer.write_table(pa.Table.from_pylist(rows, _PARQUET_SCHEMA))


def _groups(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    rest = iter(samples)
    while group := list(itertools.islice(rest, size)):
        yield group


def _files(uri: str, samples: Iterable[Sample]) -> None:
    for sample in samples:
        storage.write_bytes(storage.join(uri, str(sample.label), _file_name(sample)), sample.data)


_WRITERS: dict[str, Callable[[str, Iterable[Sample]], None]] = {
    "tfrecord": _tfrecord,
    "webdataset": _webdataset,
    "parquet": _parquet,
    "files": _files,
}
