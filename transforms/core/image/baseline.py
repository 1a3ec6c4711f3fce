"""Baselines: the images from which a path starts.

    black, white, gray     one color: 0, 1, 0.5
    color:R,G,B            one color, a number in 0 … 255 for each of the model's channels
    mean                   the image's own mean color
    blur:SIGMA             the image blurred by a Gaussian of SIGMA pixels, mirrored at its edges
    uniform:K              K images of noise, each value uniform in [0, 1]
    gaussian:K             K copies of the image with normal noise of standard deviation 0.2, clipped to [0, 1]
    image:URI              a picture

All but a color are for images of any number of channels. For the choice see Sturmfels, Lundberg and Lee, "Visualizing
the Impact of Feature Attribution Baselines" (Distill, 2020). Random baselines come from a counter-based generator whose
key is a hash of the image's id, so that a retry on another machine draws the same ones, and the first K of K + 1 are
the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from transforms.core.errors import UsageError
from transforms.core.stable_hash import stable_digest
from transforms.core.vocabulary import BASELINES, MAX_BLUR_SIGMA, MAX_RANDOM_BASELINES

GAUSSIAN_DEVIATION = 0.2

_COLORS = {"black": (0.0,), "white": (1.0,), "gray": (0.5,)}
_ALLOWED = ", ".join(BASELINES)
_KERNEL_DEVIATIONS = 4.0

_Draw = Callable[[np.ndarray, str], np.ndarray]


@dataclass(frozen=True)
class Baseline:
    """One baseline, or K random ones.

    Attributes:
        name: its canonical text, as in the module's table.
        draw: image and image id → the baselines, broadcastable to `[count, height, width, channels]`.
        count: K for random baselines, else 1.
        constant: whether it is the same for every image.
        channels: of the images that it is for; None for any.
    """

    name: str
    draw: _Draw = field(compare=False, repr=False)
    count: int = 1
    constant: bool = False
    channels: int | None = None

    @property
    def takes_picture(self) -> bool:
        """Whether it is an `image:` baseline, whose pixels are set by `with_image`."""
        return self.name.startswith("image:")

    def make(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """Returns the baselines of an image, float32 `[count, height, width, channels]` in [0, 1].

        Args:
            image: float32 `[height, width, channels]` in [0, 1].
            image_id: seed of random baselines.

        Raises:
            ValueError: an `image:` baseline has no pixels, or its size differs from the image's.
        """
        drawn = self.draw(image, image_id)
        return np.ascontiguousarray(np.broadcast_to(drawn, (self.count, *image.shape)), np.float32)

    def with_image(self, array: np.ndarray) -> Baseline:
        """Returns this `image:` baseline with its pixels, float32 `[height, width, channels]` in [0, 1].

        Raises:
            ValueError: this is another kind of baseline.
        """
        if not self.takes_picture:
            raise ValueError(f"baseline: {self.name} takes no picture")
        return replace(self, draw=functools.partial(_picture, self.name, array))


def parse_baselines(text: str | Sequence[str]) -> tuple[Baseline, ...]:
    """Returns the baselines that `text` names.

    >>> [(baseline.name, baseline.count) for baseline in parse_baselines("black uniform:4")]
    [('black', 1), ('uniform:4', 4)]

    Args:
        text: one or several, separated by whitespace; or a sequence of them.

    Raises:
        ValueError: one is unknown or malformed, one is repeated, or there is none.
    """
    items = text.split() if isinstance(text, str) else text
    baselines = tuple(_parse(item.strip()) for item in items)
    names = [baseline.name for baseline in baselines]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"baseline: {text!r} must name at least one, and none twice, of {_ALLOWED}")
    return baselines


def with_images(baselines: Sequence[Baseline], images: Sequence[np.ndarray]) -> tuple[Baseline, ...]:
    """Returns `baselines`, in which those that are pictures have their pixels.

    Args:
        baselines: all of them.
        images: float32 `[height, width, channels]` in [0, 1], one for each `image:` baseline, in order.

    Raises:
        ValueError: there are more or fewer images than such baselines.
    """
    wanted = [baseline.name for baseline in baselines if baseline.takes_picture]
    if len(images) != len(wanted):
        raise ValueError(
            f"baseline: {', '.join(wanted) or 'no image: baseline'} with {len(images)} pictures; baseline_images must "
            f"hold one array [height, width, channels] for each image: baseline, {len(wanted)} of them"
        )
    given = iter(images)
    return tuple(each.with_image(next(given)) if each.takes_picture else each for each in baselines)


def check_channels(baselines: Sequence[Baseline], channels: int) -> None:
    """Checks that baselines suit images of so many channels.

    Raises:
        UsageError: one is a color of another number of channels.
    """
    for baseline in baselines:
        if baseline.channels not in (None, channels):
            raise UsageError(f"baseline: {baseline.name} has {baseline.channels} channels, the model takes {channels}")


def _parse(text: str) -> Baseline:
    kind, colon, argument = text.partition(":")
    if text in _COLORS:
        return Baseline(text, functools.partial(_color, _COLORS[text]), constant=True)
    if text == "mean":
        return Baseline(text, _mean)
    if not colon or kind not in _WITH_ARGUMENT:
        raise UsageError(f"baseline: {text!r} is not one of {_ALLOWED}")
    return _WITH_ARGUMENT[kind](argument)


def _parse_color(argument: str) -> Baseline:
    numbers = argument.split(",")
    if not all(re.fullmatch(r"\d{1,3}", number, re.ASCII) and int(number) <= 255 for number in numbers):
        raise UsageError(
            f"baseline: 'color:{argument}' must be color:R,G,B with integers in 0 … 255, one for each channel"
        )
    values = [int(number) for number in numbers]
    name = f"color:{','.join(map(str, values))}"
    draw = functools.partial(_color, tuple(value / 255 for value in values))
    return Baseline(name, draw, constant=True, channels=len(values))


def _parse_blur(argument: str) -> Baseline:
    try:
        sigma = float(argument)
    except ValueError:
        sigma = 0.0
    if not 0 < sigma <= MAX_BLUR_SIGMA:
        raise UsageError(
            f"baseline: 'blur:{argument}' must be blur:SIGMA with SIGMA in pixels, 0 < SIGMA ≤ {MAX_BLUR_SIGMA:g}"
        )
    name = "blur:" + np.format_float_positional(sigma, trim="-")
    return Baseline(name, functools.partial(_blur, sigma))


def _parse_random(kind: str, draw: Callable[..., np.ndarray], argument: str) -> Baseline:
    count = int(argument) if re.fullmatch(r"\d{1,4}", argument, re.ASCII) else 0
    if not 1 <= count <= MAX_RANDOM_BASELINES:
        raise UsageError(
            f"baseline: '{kind}:{argument}' must be {kind}:K with an integer K in 1 … {MAX_RANDOM_BASELINES}"
        )
    return Baseline(f"{kind}:{count}", functools.partial(draw, count), count)


def _parse_image(argument: str) -> Baseline:
    if not argument:
        raise UsageError("baseline: 'image:' must be image:URI with the URI of a picture")
    name = f"image:{argument}"
    return Baseline(name, functools.partial(_picture, name, None), constant=True)


def _color(values: tuple[float, ...], image: np.ndarray, image_id: str) -> np.ndarray:
    return np.array(values, np.float32)


def _mean(image: np.ndarray, image_id: str) -> np.ndarray:
    return image.mean(axis=(0, 1), dtype=np.float64)


def _blur(sigma: float, image: np.ndarray, image_id: str) -> np.ndarray:
    height, width, _ = image.shape
    rows, columns = _blur_matrix(height, sigma), _blur_matrix(width, sigma)
    return np.clip(np.einsum("ih,hwc,jw->ijc", rows, image, columns, optimize=True), 0, 1)


@functools.lru_cache(maxsize=8)
def _blur_matrix(length: int, sigma: float) -> np.ndarray:
    """Returns the Gaussian filter of a line of pixels as a matrix, float64 `[length, length]`; its rows sum to 1."""
    radius = int(_KERNEL_DEVIATIONS * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    source = (np.arange(length)[:, None] + offsets) % (2 * length)
    mirrored = np.minimum(source, 2 * length - 1 - source)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], mirrored), kernel / kernel.sum())
    return matrix


def _uniform(count: int, image: np.ndarray, image_id: str) -> np.ndarray:
    return _generator("uniform", image_id).random((count, *image.shape), np.float32)


def _gaussian(count: int, image: np.ndarray, image_id: str) -> np.ndarray:
    noise = _generator("gaussian", image_id).standard_normal((count, *image.shape), np.float32)
    return np.clip(image + np.float32(GAUSSIAN_DEVIATION) * noise, 0, 1)


def _generator(kind: str, image_id: str) -> np.random.Generator:
    key = stable_digest(f"{kind}\0{image_id}", 16)
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def _picture(name: str, array: np.ndarray | None, image: np.ndarray, image_id: str) -> np.ndarray:
    if array is None or array.shape != image.shape:
        held = "no pixels" if array is None else f"pixels of shape {array.shape}"
        raise ValueError(f"baseline: {name} has {held}, the image {image.shape}")
    return array


_WITH_ARGUMENT: dict[str, Callable[[str], Baseline]] = {
    "color": _parse_color,
    "blur": _parse_blur,
    "uniform": functools.partial(_parse_random, "uniform", _uniform),
    "gaussian": functools.partial(_parse_random, "gaussian", _gaussian),
    "image": _parse_image,
}
