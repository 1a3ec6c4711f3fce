"""Real photographs without a download: those in the wheels of scikit-image and scikit-learn, and crops of them."""

from __future__ import annotations

import functools
import importlib.util
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PillowImage

_SMALLEST_SIDE = 224
_JPEG_QUALITY = 92


class Sample(NamedTuple):
    """One encoded picture: a `key` without dots, JPEG or PNG bytes, and a class id."""

    key: str
    data: bytes
    label: int


class Photograph(NamedTuple):
    """A picture inside an installed package.

    Attributes:
        key: the file's name without its extension.
        package: the package that contains it.
        path: of the file, relative to the package.
        label: the class that EfficientNet-Lite0 predicts for the whole picture. Crops inherit it, so
            crops without the object count as wrong predictions.
    """

    key: str
    package: str
    path: str
    label: int

    def read(self) -> bytes:
        """Returns the file's bytes.

        Raises:
            ModuleNotFoundError: the package is not installed.
        """
        spec = importlib.util.find_spec(self.package)  # locates without the cost of an import
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"sample pictures need {self.package}: pip install 'ig-audit[samples]'")
        return Path(spec.submodule_search_locations[0], self.path).read_bytes()


PHOTOGRAPHS = (
    Photograph("chelsea", "skimage", "data/chelsea.png", 285),
    Photograph("coffee", "skimage", "data/coffee.png", 967),
    Photograph("rocket", "skimage", "data/rocket.jpg", 517),
    Photograph("astronaut", "skimage", "data/astronaut.png", 422),
    Photograph("motorcycle_left", "skimage", "data/motorcycle_left.png", 665),
    Photograph("camera", "skimage", "data/camera.png", 872),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", 599),
    Photograph("china", "sklearn", "datasets/images/china.jpg", 497),
)


def originals() -> Iterator[Sample]:
    """Yields the photographs unchanged and still encoded."""
    for photograph in PHOTOGRAPHS:
        yield Sample(photograph.key, photograph.read(), photograph.label)


def crops(count: int, seed: int = 0) -> Iterator[Sample]:
    """Yields `count` JPEG-encoded crops of the photographs in rotation, half of them mirrored.

    Each crop is at least 224 pixels high and wide and depends only on `seed` and its own number, so
    a longer sequence of crops begins with the shorter one.
    """
    for number, photograph in enumerate(itertools.islice(itertools.cycle(PHOTOGRAPHS), count)):
        pixels = _crop(_pixels(photograph), np.random.Generator(np.random.Philox([seed, number])))
        yield Sample(f"{photograph.key}-{number:06d}", _jpeg(pixels), photograph.label)


@functools.lru_cache(maxsize=len(PHOTOGRAPHS))
def _pixels(photograph: Photograph) -> np.ndarray:
    """Returns the photograph as uint8 `[height, width, 3]`."""
    with PillowImage.open(io.BytesIO(photograph.read())) as picture:
        return np.asarray(picture.convert("RGB"))


def _crop(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = random.integers(_SMALLEST_SIDE, pixels.shape[:2], endpoint=True)
    top, left = random.integers(0, np.subtract(pixels.shape[:2], (height, width)), endpoint=True)
    crop = pixels[top : top + height, left : left + width]
    return crop[:, ::-1] if random.random() < 0.5 else crop


def _jpeg(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    PillowImage.fromarray(pixels).save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return encoded.getvalue()
