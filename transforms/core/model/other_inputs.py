"""Other inputs that a model may have been made for, tried without loading it again: ranges of pixels, and BGR.

A classifier scales raw pixels to the range that it was told. All scalings are affine, so what another one would feed
to the model is what this one feeds for other "raw pixels", which need not lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transforms.core.vocabulary import CAFFE_MEAN, IMAGENET_DEVIATION, IMAGENET_MEAN, PIXELS

_MEAN = np.array(IMAGENET_MEAN, np.float32)
_DEVIATION = np.array(IMAGENET_DEVIATION, np.float32)
_CAFFE = np.array(CAFFE_MEAN, np.float32)
_Change = Callable[[np.ndarray], np.ndarray]

_FEEDS: dict[str, _Change] = {
    "unit": lambda images: images,
    "signed": lambda images: images * 2 - 1,
    "byte": lambda images: images * 255,
    "imagenet": lambda images: (images - _MEAN) / _DEVIATION,
    "caffe": lambda images: images[..., ::-1] * 255 - _CAFFE,
}
_UNFEEDS: dict[str, _Change] = {
    "unit": lambda fed: fed,
    "signed": lambda fed: (fed + 1) / 2,
    "byte": lambda fed: fed / 255,
    "imagenet": lambda fed: fed * _DEVIATION + _MEAN,
    "caffe": lambda fed: ((fed + _CAFFE) / 255)[..., ::-1],
}

BGR = "bgr"
"""The same range, with red and blue exchanged."""


def other_inputs(images: np.ndarray, pixels: str) -> dict[str, np.ndarray]:
    """Returns what to give to a classifier so that its model is fed as by other options, by their name, and `BGR`.

    Args:
        images: float32 `[n, height, width, channels]` in [0, 1].
        pixels: the classifier's own option, one of `vocabulary.PIXELS`.

    Returns:
        float32 arrays of the same shape; of other than three channels, only ranges that are the same for each.
    """
    of_any = ("unit", "signed", "byte")
    color = images.shape[-1] == 3
    if not color and pixels not in of_any:
        return {}
    names = [name for name in PIXELS if name != pixels and name in _FEEDS and (color or name in of_any)]
    found = {name: _UNFEEDS[pixels](_FEEDS[name](images)).astype(np.float32) for name in names}
    return found | ({BGR: np.ascontiguousarray(images[..., ::-1])} if color else {})
