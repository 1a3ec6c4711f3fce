"""Small networks with random weights, one for each way in which a model is written or saved.

`ReLU` nets flip a few masks when rounding changes; with `softplus` they are smooth, so that a pass
must agree to rounding itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 24
CLASSES = 4


def tensor(*shape: int, scale: float = 0.3, seed: int = 0) -> np.ndarray:
    """Returns normal float32 values."""
    return np.random.default_rng([seed, *shape]).normal(0, scale, shape).astype(np.float32)


def channels(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns a batch norm's four vectors, none of them trivial."""
    generator = np.random.default_rng([count, seed])
    return {
        "scale": generator.uniform(0.5, 1.5, count).astype(np.float32),
        "offset": generator.uniform(-0.5, 0.5, count).astype(np.float32),
        "mean": generator.uniform(-0.5, 0.5, count).astype(np.float32),
        "variance": generator.uniform(0.3, 2.0, count).astype(np.float32),
    }


def fused_module(folder: Path, activation: str) -> str:
    """Saves a tf.Module with fused batch norms, a residual, a max-pool, a concatenation and a softmax."""
    import tensorflow as tf

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            shapes = {"a": (3, 3, 3, 8), "b": (1, 1, 8, 8), "c": (3, 3, 8, 1), "d": (1, 1, 16, 8), "head": (8, CLASSES)}
            self.kernels = {name: tf.Variable(tensor(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())}

        @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            act = getattr(tf.nn, activation)
            x = act(norm(tf.nn.conv2d(images, self.kernels["a"], 2, "SAME"), 1))
            y = norm(tf.nn.conv2d(x, self.kernels["b"], 1, "VALID"), 2) + x
            z = act(norm(tf.nn.depthwise_conv2d(act(y), self.kernels["c"], [1, 1, 1, 1], "SAME"), 3))
            pooled = tf.nn.max_pool2d(tf.concat([y, z], 3), 3, 2, "SAME")
            features = tf.reduce_mean(act(tf.nn.conv2d(pooled, self.kernels["d"], 1, "SAME")), [1, 2])
            return tf.nn.softmax(features @ self.kernels["head"] * 3.0)

    def norm(x: Any, seed: int) -> Any:
        result, *_ = tf.compat.v1.nn.fused_batch_norm(x, **channels(8, seed), epsilon=1e-3, is_training=False)
        return result

    tf.saved_model.save(Net(), str(folder))
    return str(folder)


def keras_net(package: Any, activation: str) -> Any:
    """Returns a functional model of Keras 3, or of Keras 2 where `package` is tf_keras."""
    package.utils.set_random_seed(7)
    layers = package.layers
    images = layers.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(2.0, -1.0)(images)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Activation(activation)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.Activation(activation)(layers.BatchNormalization(scale=False)(x))
    x = layers.SeparableConv2D(12, 3, padding="same")(x)
    x = layers.Activation(activation)(layers.BatchNormalization(center=False)(x))
    x = layers.BatchNormalization()(layers.AveragePooling2D(2)(x))  # before a layer, where nothing is padded
    x = layers.Activation(activation)(layers.Conv2D(16, 3, padding="valid")(x))
    x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x))
    model = package.Model(images, layers.Dense(CLASSES)(x))
    for seed, layer in enumerate(model.layers):
        if isinstance(layer, layers.BatchNormalization):
            values = channels(layer.moving_mean.shape[0], seed)
            names = [name for name, used in (("scale", layer.scale), ("offset", layer.center)) if used]
            layer.set_weights([values[name] for name in (*names, "mean", "variance")])
    return model


def keras3_file(folder: Path, activation: str) -> str:
    """Saves a `.keras` file."""
    import keras

    path = f"{folder}.keras"
    keras_net(keras, activation).save(path)
    return path


def keras3_export(folder: Path, activation: str) -> str:
    """Saves a SavedModel by Keras 3's export."""
    import keras

    keras_net(keras, activation).export(str(folder), verbose=False)
    return str(folder)


def keras2_model(folder: Path, activation: str) -> str:
    """Saves a SavedModel by Keras 2."""
    import tf_keras

    keras_net(tf_keras, activation).save(str(folder), save_format="tf")
    return str(folder)


BUILDERS: dict[str, Callable[[Path, str], str]] = {
    "fused_module": fused_module,
    "keras3_file": keras3_file,
    "keras3_export": keras3_export,
    "keras2_model": keras2_model,
}
