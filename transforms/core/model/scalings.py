"""How raw pixels become the values that a model expects.

The scaling is part of the function that is explained: a straight path in raw pixels stays straight after any of these
affine scalings, so attributions are in units of the score whatever the model is fed.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from transforms.core.vocabulary import CAFFE_MEAN, IMAGENET_DEVIATION, IMAGENET_MEAN

SCALINGS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "unit": lambda images: images,
    "signed": lambda images: images * 2.0 - 1.0,
    "byte": lambda images: images * 255.0,
    "imagenet": lambda images: (images - IMAGENET_MEAN) / IMAGENET_DEVIATION,
    "caffe": lambda images: tf.reverse(images, [-1]) * 255.0 - CAFFE_MEAN,
}
"""What the model is fed, from raw pixels in [0, 1]."""


def needs_colors(name: str) -> bool:
    """Returns whether a scaling is one of red, green and blue."""
    return name in ("imagenet", "caffe")
