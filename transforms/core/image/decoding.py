"""How pictures become pixels: the choices that hold for a whole run, and the error of a picture that does not."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from transforms.core.errors import UsageError
from transforms.core.vocabulary import MAX_PIXELS, RESIZES

ALPHA_COLORS = {"black": (0, 0, 0), "white": (255, 255, 255), "gray": (128, 128, 128)}


class DecodeError(ValueError):
    """The bytes are not a picture, or not one that may be decoded."""


@dataclass(frozen=True)
class Decoding:
    """How pictures become pixels: `Decoding("crop", channels=1)`.

    Attributes:
        resize: how a picture is fitted to the model's input, one of `RESIZES`.
        max_pixels: the most pixels that may be decoded.
        channels: of the model's input; 0 takes those of the picture.
        alpha_color: red, green and blue, 0 to 255, over which transparent pixels are composited, unless the model
            takes the alpha channel.
        value_range: the values that stand for 0 and 1 in arrays and in pictures of more than 8 bits a value; None
            for the range of the type, which only booleans and unsigned integers of 8 and 16 bits have.

    Raises:
        ValueError: `resize` is unknown, or the number of channels is negative.
    """

    resize: str = "pad"
    max_pixels: int = MAX_PIXELS
    channels: int = 3
    alpha_color: tuple[int, int, int] = (0, 0, 0)
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Checks what cannot be left to the options."""
        if self.resize not in RESIZES:
            raise ValueError(f"resize: {self.resize!r} is not one of {', '.join(RESIZES)}")
        if self.channels < 0:
            raise ValueError(f"channels: {self.channels} is not at least 0")


def parse_alpha_color(text: str) -> tuple[int, int, int]:
    """Returns red, green and blue, each 0 to 255.

    >>> parse_alpha_color("white"), parse_alpha_color("255,128,0")
    ((255, 255, 255), (255, 128, 0))

    Raises:
        UsageError: it is neither a color's name nor three such numbers.
    """
    if text in ALPHA_COLORS:
        return ALPHA_COLORS[text]
    digits = re.fullmatch(r"(\d{1,3}),(\d{1,3}),(\d{1,3})", text, re.ASCII)
    red, green, blue = (int(each) for each in digits.groups()) if digits else (256, 256, 256)
    if max(red, green, blue) > 255:
        allowed = f"{', '.join(ALPHA_COLORS)} or R,G,B with integers from 0 to 255"
        raise UsageError(f"alpha_color: {text!r} is not one of {allowed}")
    return red, green, blue


def parse_value_range(text: str) -> tuple[float, float] | None:
    """Returns the values that stand for 0 and 1; None for an empty text.

    >>> parse_value_range("-1,1"), parse_value_range("")
    ((-1.0, 1.0), None)

    Raises:
        UsageError: it is not two finite numbers, of which the second is the greater one.
    """
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
        raise UsageError(f"value_range: {text!r} is not LOW,HIGH, two numbers of which the second is greater: 0,4095")
    return low, high
