"""TFRecord shards of tf.Example, plain or compressed with GZIP or ZLIB.

A record consists of its length (uint64), the length's checksum, the data and the data's checksum: masked
CRC-32C, little endian. Planning reads only the lengths. A wrong length loses the rest of the shard;
wrong data loses one record.

An image is encoded, or it is an array: raw bytes, or a list of numbers, of the shape that other features hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from transforms.core.record import Chunk, Failure, Image
from transforms.formats.example import Features, parse_example
from transforms.formats.label import parse_label
from transforms.formats.shard import ReadOptions, RecordError, Shard, as_text, cut, failure
from transforms.formats.stream import ShardStream
from transforms.formats.tensor import raw_image
from transforms.formats.tfrecord_header import HEADER_BYTES, masked_crc32c, parse_header

_FOOTER_BYTES = 4


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
    data = _data(features, options)
    stored = features.get(options.label_feature) if options.label_feature else None
    label = parse_label(stored[0] if stored is not None and len(stored) == 1 else stored)
    fields = tuple((name, as_text(features[name][0])) for name in options.fields if features.get(name))
    mask = next(iter(features.get(options.mask_feature, ())), None)
    if mask is not None and not isinstance(mask, bytes):
        raise RecordError(f"mask_feature: {options.mask_feature!r} holds no bytes")
    image_id = f"{chunk.name}#{index}"
    return Image(image_id, chunk.shard, index, data, label.value, fields, mask or None, label_problem=label.problem)


def _data(features: Features, options: ReadOptions) -> bytes:
    """Returns a record's encoded image."""
    stored = features.get(options.image_feature, ())
    if not stored:
        held = ", ".join(sorted(features)) or "none"
        raise RecordError(f"image_feature: nothing in {options.image_feature!r}; the record's features: {held:.400}")
    if isinstance(stored[0], bytes) and len(stored) > 1:
        raise RecordError(f"image_feature: {options.image_feature!r} holds {len(stored)} pictures, not one")
    names = {name: getattr(options, name) for name in ("height_feature", "width_feature", "channels_feature")}
    return raw_image(stored, {name: features.get(feature, ()) for name, feature in names.items()}, options.max_bytes)
