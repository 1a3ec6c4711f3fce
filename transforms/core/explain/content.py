"""What a picture's content decides: whether two are the same, and every choice that the same picture must share.

A choice by content is the same in every run, shard, retry and model that sees the picture, whatever its id is: so two
models are compared on the same nodes and the same pictures, and their difference has less variance.
"""

from __future__ import annotations

import hashlib

from transforms.core import stable_hash
from transforms.core.record import Image, Pixels

_CONTENT_LETTERS = 32
"""128 bits: two of a million million pictures are alike by chance once in 10^14 runs."""

FIRST_MAP, SECOND_MAP = "shift 0", "shift 1"
"""Salts of the shifts of two independent maps of the same picture."""

SECOND, REFERENCE, SAMPLE = "second 0", "reference 0", "sample 0"
"""Salts of the choices of pictures that get a second map, of those that get a reference map, and of a run's sample."""


def content_digest(image: Image, pixels: Pixels) -> str:
    """Returns a digest that two pictures share if they are the same, 32 hexadecimal digits.

    It is that of the encoded bytes as read, whatever the picture is called; of a picture that came as an array, that
    of the array as the model sees it.
    """
    return bytes_digest(image.data or pixels.array.tobytes())


def bytes_digest(content: bytes) -> str:
    """Returns the digest of a picture of which these are the encoded bytes; see `content_digest`."""
    return hashlib.sha256(content).hexdigest()[:_CONTENT_LETTERS]


def is_chosen(content: str, purpose: str, share: float) -> bool:
    """Returns whether a picture is among the `share` of all that is chosen for a purpose, independently of others.

    Args:
        content: the picture's digest.
        purpose: SECOND, REFERENCE or SAMPLE.
        share: in [0, 1]; who is chosen by a small share is by a larger one, too.
    """
    return stable_hash.share(f"{purpose}\0{content}") < share


def shift_of(content: str, baseline: int, draw: str = FIRST_MAP) -> float:
    """Returns by how much the nodes of a path are shifted, uniform in [0, 1) over pictures.

    Args:
        content: the picture's digest.
        baseline: the number of the baseline's picture among all that the settings name, from 0.
        draw: FIRST_MAP or SECOND_MAP.
    """
    return stable_hash.share(f"{draw}\0{content}\0{baseline}")
