"""What a model is fed: its input size, and how raw pixels become the values that it expects.

The scaling of pixels is part of the function that is explained: a straight path in raw pixels stays straight after any
of these affine scalings, so attributions are in units of the score whatever the model is fed.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.options import ModelOptions

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
SCALINGS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "unit": lambda images: images,
    "signed": lambda images: images * 2.0 - 1.0,
    "byte": lambda images: images * 255.0,
    "imagenet": lambda images: (images - _IMAGENET_MEAN) / _IMAGENET_STD,
    "caffe": lambda images: tf.reverse(images, [-1]) * 255.0 - _CAFFE_MEAN,
}
"""What the model is fed, from raw pixels in [0, 1]."""


def input_size(spec: tf.TensorSpec, options: ModelOptions) -> tuple[int, int]:
    """Returns the height and width of one image.

    Args:
        spec: of the model's input.
        options: `input_size` completes a spec that leaves them open.

    Raises:
        UsageError: the input is not one of images, or does not fit `input_size`.
    """
    batch, height, width, channels = spec.shape.as_list()
    if batch is not None:
        raise UsageError(f"model: it takes batches of {batch} only; export it with an open batch size, {spec.shape}")
    if channels not in (3, None):
        raise UsageError(f"model: expected images [height, width, 3], its input is {spec.shape}")
    if not (spec.dtype.is_floating):
        raise UsageError(f"model: its input is {spec.dtype.name}, which has no gradient; take one with float input")
    wanted = options.size() or (height, width)
    if None in wanted:
        raise UsageError(f"input_size: the model takes any size ({spec.shape}); give HEIGHTxWIDTH")
    if any(side not in (None, given) for side, given in zip((height, width), wanted, strict=True)):
        raise UsageError(f"input_size={options.input_size}: the model takes {height}x{width} only")
    return int(wanted[0]), int(wanted[1])
