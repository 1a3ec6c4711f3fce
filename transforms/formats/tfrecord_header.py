"""The header of a record of a TFRecord shard, and its checksum."""

from __future__ import annotations

import struct

import google_crc32c

from transforms.formats.shard import ShardError

HEADER_BYTES = 12
_MASK = 0xA282EAD8


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


def is_header(data: bytes) -> bool:
    """Returns whether `data` begins with the header of a record."""
    try:
        parse_header(data[:HEADER_BYTES])
    except ShardError:
        return False
    return True
