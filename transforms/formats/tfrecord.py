"""TFRecord shards of tf.Example, plain or gzipped.

A record consists of its length (uint64), the length's checksum, the data and the data's checksum: masked
CRC-32C, little endian. Planning reads only the lengths. A wrong length loses the rest of the shard;
wrong data loses one record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

from transforms.core.record import Chunk, Failure, Image
from transforms.formats.example import parse_example
from transforms.formats.shard import ReadOptions, RecordError, Shard, ShardError, as_text, cut, failure, parse_label
from transforms.formats.stream import ShardStream

HEADER_BYTES = 12
_FOOTER_BYTES = 4
_MASK = 0xA282EAD8


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard; reads only record headers."""
    with ShardStream(shard.uri) as stream:
        yield from cut(shard, _offsets(stream), options.chunk_images)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order.

    Raises:
        ShardError: the shard is damaged within the chunk.
    """
    with ShardStream(chunk.shard) as stream:
        stream.skip_to(chunk.offset)
        for index in range(chunk.start, chunk.start + chunk.count):
            try:
                image = _image(chunk, index, _record(stream, options.max_bytes), options)
            except RecordError as error:
                yield failure(chunk, index, index, error)
            else:
                yield image


def parse_header(header: bytes) -> int:
    """Returns the length of the record that begins with these 12 bytes.

    Raises:
        ShardError: they are not the header of a record.
    """
    if len(header) < HEADER_BYTES:
        raise ShardError("the shard ends within the header of a record")
    length, checksum = struct.unpack("<QI", header)
    if checksum != masked_crc32c(header[:8]):
        raise ShardError("the checksum of a record's length is wrong")
    return length


def masked_crc32c(data: bytes) -> int:
    """Returns TFRecord's checksum of `data`: CRC-32C, rotated and offset."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _offsets(stream: ShardStream) -> Iterator[int]:
    while True:
        offset = stream.tell()
        header = stream.read(HEADER_BYTES)
        if not header:
            return
        stream.skip_to(offset + HEADER_BYTES + parse_header(header) + _FOOTER_BYTES)
        yield offset


def _record(stream: ShardStream, max_bytes: int) -> bytes:
    """Returns the next record's data, and leaves the stream after it even if the record is bad."""
    length = parse_header(stream.exactly(HEADER_BYTES))
    if length > max_bytes:
        stream.skip_to(stream.tell() + length + _FOOTER_BYTES)
        raise RecordError(f"the record's {length} bytes are more than the {max_bytes} allowed")
    data = stream.exactly(length) if length else b""
    (checksum,) = struct.unpack("<I", stream.exactly(_FOOTER_BYTES))
    if checksum != masked_crc32c(data):
        raise RecordError("the checksum of the record's data is wrong")
    return data


def _image(chunk: Chunk, index: int, record: bytes, options: ReadOptions) -> Image:
    features = parse_example(record)
    encoded = features.get(options.image_feature, ())
    if not encoded or not isinstance(encoded[0], bytes):
        held = ", ".join(sorted(features)) or "none"
        raise RecordError(f"image_feature: no bytes in {options.image_feature!r}; the record's features: {held:.400}")
    label = next(iter(features.get(options.label_feature, ())), None)
    fields = tuple((name, as_text(features[name][0])) for name in options.fields if features.get(name))
    mask = next(iter(features.get(options.mask_feature, ())), None)
    if mask is not None and not isinstance(mask, bytes):
        raise RecordError(f"mask_feature: {options.mask_feature!r} holds no bytes")
    return Image(f"{chunk.name}#{index}", chunk.shard, index, encoded[0], parse_label(label), fields, mask or None)
