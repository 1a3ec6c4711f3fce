"""One hash for every choice and draw that must be the same for the same text, on any machine, in any order.

The digests of files, of options and of the names of stored parts are no choices: each is computed by its own module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

BITS = 64
_FLOAT_BITS = 53


def stable_hash(text: str) -> int:
    """Returns a number in [0, 2**64) that depends on `text` alone."""
    return int.from_bytes(stable_digest(text, BITS // 8), "big")


def stable_hashes(texts: Iterable[bytes]) -> bytes:
    """Returns the `stable_hash` of each text in UTF-8, as big-endian bytes one after the other."""
    blake2b, size = hashlib.blake2b, BITS // 8  # looked up once for millions of texts
    return b"".join([blake2b(text, digest_size=size).digest() for text in texts])


def share(text: str) -> float:
    """Returns a number in [0, 1) that depends on `text` alone.

    It is rounded down, so that `share(text) < s` equals `stable_hash(text) < s * 2**64` for every float `s`.
    """
    number = stable_hash(text)
    excess = max(0, number.bit_length() - _FLOAT_BITS)
    return float((number >> excess << excess) / 2**BITS)


def stable_digest(text: str, size: int) -> bytes:
    """Returns `size` bytes, up to 64, that depend on `text` alone, which may contain surrogates of odd file names."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).digest()


def cache_key(text: str) -> str:
    """Returns a short name for `text`, for a file in a cache."""
    return stable_digest(text, 12).hex()
