"""Which parts of a run have an image that another part has too, in memory that does not grow with the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from transforms.core.stable_hash import stable_digest

_BLOCK = 1 << 16
_COMPARED = 1 << 18
_NONE = np.empty(0, np.uint64)


class ImageHashes:
    """Hashes of image ids by part: 8 bytes an image, and two of a billion images collide with a chance of 3 %."""

    def __init__(self, file: BinaryIO) -> None:
        """Takes an empty temporary file to hold them."""
        self._file = file
        self._counts: list[tuple[str, int]] = []

    def add(self, part: str, image_ids: Iterable[str]) -> None:
        """Adds a part's images, each of which it names once.

        Raises:
            OSError: the file cannot be written.
        """
        digests = [stable_digest(image_id, 8) for image_id in image_ids]
        self._file.write(b"".join(digests))
        self._counts.append((part, len(digests)))

    def shared(self) -> Mapping[str, int]:
        """Returns how many images of a part another part has too, for each part that has such.

        Raises:
            OSError: the file cannot be read.
        """
        turns = 1 + sum(count for _, count in self._counts) // _COMPARED
        doubled = np.concatenate([self._doubled(turn, turns) for turn in range(turns)])
        shared: Counter[str] = Counter()
        if len(doubled):
            for part, hashes in self._by_part():
                shared[part] += int(np.isin(hashes, doubled).sum())
        return +shared

    def _doubled(self, turn: int, turns: int) -> np.ndarray:
        """Returns the hashes that occur twice, of those with a remainder of `turn`: not all are in memory at once."""
        hashes = np.sort(np.concatenate([_NONE, *(block[block % turns == turn] for block in self._blocks())]))
        return hashes[1:][hashes[1:] == hashes[:-1]]

    def _blocks(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        while len(block := self._file.read(8 * _BLOCK)):
            yield np.frombuffer(block, np.uint64)

    def _by_part(self) -> Iterator[tuple[str, np.ndarray]]:
        self._file.seek(0)
        for part, count in self._counts:
            yield part, np.frombuffer(self._file.read(8 * count), np.uint64)
