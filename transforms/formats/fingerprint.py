"""The fingerprint of a chunk: a digest of all that is read of it, by which a later run knows that it reads the same.

It covers each image's id, index, bytes, mask, label and fields, and each failure to read one, in order, but not where
the shard is: with the same model and options, the same fingerprint gives the same rows, up to the column `shard`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

from transforms.core.record import Failure, Image


class Fingerprint:
    """Digests what is read of a chunk as it passes by.

    >>> read = Fingerprint()
    >>> len(list(read.over([Image("a.tar#0", "a.tar", 0, b"JPEG")]))), len(read.hexdigest())
    (1, 64)
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._names: tuple[str, ...] = ()

    def over(self, items: Iterable[Image | Failure]) -> Iterator[Image | Failure]:
        """Yields `items` unchanged, and digests each."""
        for item in items:
            if isinstance(item, Image):
                self._add_image(item)
            else:
                self._add("failure", item.image_id, item.index, item.stage, item.error, item.message)
            yield item

    def hexdigest(self) -> str:
        """Returns the fingerprint of what has been read so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def _add_image(self, image: Image) -> None:
        if image.label_names != self._names:  # a thousand names, alike in all images of a shard
            self._names = image.label_names
            self._add("names", *self._names)
        mask = image.mask or b""
        lengths = len(image.data), None if image.mask is None else len(mask)
        self._add("image", image.id, image.index, *lengths, image.label, image.fields, image.label_problem)
        self._digest.update(image.data)
        self._digest.update(mask)

    def _add(self, *values: object) -> None:
        """Adds values as a line of JSON, of which no other values have the same."""
        self._digest.update(json.dumps(values).encode("ascii") + b"\n")


def fingerprint(items: Iterable[Image | Failure]) -> str:
    """Returns the fingerprint of all that is read of a chunk; holds one image at a time."""
    read = Fingerprint()
    for _ in read.over(items):
        pass
    return read.hexdigest()
