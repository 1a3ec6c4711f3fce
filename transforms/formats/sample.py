"""A sample of the images of a chunk, by their content: passed on as they are read; the others are only counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from transforms.core.explain.content import SAMPLE, bytes_digest, is_chosen
from transforms.core.record import Failure, Image
from transforms.formats.shard import RecordError


class Sample:
    """Passes on the images of a sample, and counts the others.

    An image that cannot be read has no content: whether its error is in the sample depends on its id, so that errors
    keep their share. What stands for many images, damage of a shard, is always passed on.

    >>> sample = Sample(0.5)
    >>> images = [Image(f"a.tar#{number}", "a.tar", number, bytes([number])) for number in range(100)]
    >>> len(list(sample.of(images))) + sample.left_out
    100

    Attributes:
        left_out: number of images so far that are not in the sample.
    """

    def __init__(self, share: float) -> None:
        """Takes the share of the sample, from 0 to 1."""
        self._share = share
        self.left_out = 0
        self._taken = 0

    def of(self, items: Iterable[Image | Failure]) -> Iterator[Image | Failure]:
        """Yields those of `items` that are in the sample, in order."""
        for item in items:
            if self._share >= 1 or self._is_in(item):
                yield item
            else:
                self.left_out += 1

    def take_count(self) -> int:
        """Returns how many images have been left out since the last call."""
        new, self._taken = self.left_out - self._taken, self.left_out
        return new

    def _is_in(self, item: Image | Failure) -> bool:
        if isinstance(item, Image):
            return is_chosen(bytes_digest(item.data), SAMPLE, self._share)
        return item.error != RecordError.__name__ or is_chosen(item.image_id, SAMPLE, self._share)
