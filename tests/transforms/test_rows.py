"""Rows of an explanation: what tells that two pictures are the same."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image as Pillow

from transforms.core.explain.content import content_digest
from transforms.core.record import Image, Pixels

PIXELS = Pixels(np.full((4, 4, 3), 0.5, np.float32), 4, 4)


def encoded(shade: int) -> bytes:
    stream = io.BytesIO()
    Pillow.new("L", (4, 4), shade).save(stream, "PNG")
    return stream.getvalue()


def test_the_digest_is_that_of_the_encoded_picture_whatever_its_id_and_label():
    one, other = Image("a#1", "/a", 1, encoded(7), 3), Image("b#9", "/b", 9, encoded(7))
    assert content_digest(one, PIXELS) == content_digest(other, PIXELS)
    assert content_digest(one, PIXELS) == hashlib.sha256(encoded(7)).hexdigest()[:32]
    assert content_digest(Image("a#1", "/a", 1, encoded(8)), PIXELS) != content_digest(one, PIXELS)


def test_pictures_given_as_arrays_are_told_apart_by_their_pixels():
    image = Image("1", "", 1, b"")
    darker = Pixels(PIXELS.array * 0.5, 4, 4)
    sliced = Pixels(np.full((4, 8, 3), 0.5, np.float32)[:, ::2], 4, 4)  # not contiguous
    assert content_digest(image, PIXELS) == content_digest(image, sliced)
    assert content_digest(image, PIXELS) != content_digest(image, darker)
