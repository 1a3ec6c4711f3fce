"""Kinds of model, tiny and with random weights, each with its scores as a plain function: the table's rows.

Most are smooth, so that only the rounding of float32 separates two ways to compute a map: 1e-5 of its L1 norm. Those of
`keras.applications` have kinks, at which rounding decides about a step's gradient: 2e-3.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Function = Callable[[Any], Any]

SMOOTH = 1e-5
KINKED = 2e-3
DOORS = ("job", "transform", "notebook")


@dataclass(frozen=True)
class Built:
    """A model, by path or in memory, and float32 images `[n, …]` in [0, 1] → scores `[n, classes]`."""

    model: Any
    scores: Function


@dataclass(frozen=True)
class Kind:
    """A kind of model, and the options that it needs.

    Attributes:
        name: as the table has it.
        build: makes it in a folder.
        model: its ModelOptions.
        settings: its Settings, besides the rule.
        shape: height, width and channels of a picture.
        bound: the largest relative L1 distance of a map from the oracle's.
        doors: those that it goes through.
        without: what the table has for the others.
        repeated: whether rounding forbids an oracle: maps are held against those at another batch size.
        steps: of the rule.
    """

    name: str
    build: Callable[[Path], Built]
    model: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, int, int] = (8, 8, 3)
    bound: float = SMOOTH
    doors: tuple[str, ...] = DOORS
    without: str = "—"
    repeated: bool = False
    steps: int = 8


def weights(*shape: int, scale: float = 0.5) -> tf.Tensor:
    return tf.constant(np.random.default_rng(shape).normal(0, scale, shape), tf.float32)


def logits(images: Any, classes: int = 3, slope: float = 1.0) -> Any:
    """Returns smooth logits `[n, classes]` of images of any size."""
    height, width, channels = images.shape[1:]
    features = tf.nn.softplus(tf.nn.conv2d(images * 2.0 - 1.0, weights(3, 3, channels, 4), 2, "SAME"))
    flat = tf.reshape(features, [-1, -(-height // 2) * -(-width // 2) * 4])
    return tf.tanh(flat @ weights(flat.shape[1], classes, scale=0.04) * slope) * 2.0


def probabilities(images: Any) -> Any:
    return tf.nn.softmax(logits(images))


def sigmoids(images: Any) -> Any:
    return tf.sigmoid(logits(images))


def ensemble(images: Any) -> Any:
    return (tf.nn.softmax(logits(images)) + tf.nn.softmax(logits(images, slope=-0.5))) / 2.0


def written_out(images: Any) -> Any:
    """Returns a softmax of no single operation."""
    values = logits(images)
    powers = tf.exp(values - tf.reduce_max(values, 1, keepdims=True))
    return powers / tf.reduce_sum(powers, 1, keepdims=True)


def value(images: Any) -> Any:
    return 3.0 * logits(images, 1) + 1.0


def segmented(images: Any) -> Any:
    """Returns logits of two classes for each pixel, `[n, height, width, 2]`."""
    return tf.nn.conv2d(tf.tanh(tf.nn.conv2d(images, weights(3, 3, 3, 4), 1, "SAME")), weights(1, 1, 4, 2), 1, "SAME")


def mean_logit(images: Any) -> Any:
    """Returns the mean logit of the second class over its probability."""
    dense = segmented(images)
    mask = tf.nn.softmax(dense)[..., 1]
    return (tf.reduce_sum(mask * dense[..., 1], [1, 2]) / tf.reduce_sum(mask, [1, 2]))[:, None]


def two_classes(decided: Any) -> Any:
    return tf.concat([1.0 - decided, decided], 1)


def decode(data: Any) -> Any:
    """Returns images of encoded bytes, as signatures for TensorFlow Serving do."""

    def one(each: Any) -> Any:
        image = tf.io.decode_image(each, channels=3, expand_animations=False)
        return tf.ensure_shape(tf.image.resize(image, [8, 8]) / 255.0, [8, 8, 3])

    return tf.map_fn(one, data, fn_output_signature=tf.float32)


def saved(
    function: Function,
    scores: Function,
    shape: tuple[int | None, ...] = (None, 8, 8, 3),
    dtype: Any = tf.float32,
) -> Callable[[Path], Built]:
    """Returns what saves a function as a SavedModel."""

    def build(folder: Path) -> Built:
        module = tf.Module()
        module.serve = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
        tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": module.serve})
        return Built(str(folder / "model"), scores)

    return build


def network(package: Any, *first: Any, last: str = "softmax", activation: Any = "softplus", units: int = 3) -> Any:
    """Returns a smooth model of Keras 2 or 3."""
    package.utils.set_random_seed(3)
    layers = package.layers
    images = flow = layers.Input((8, 8, 3))
    for layer in (*first, layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization(scale=False)):
        flow = layer(flow)
    flow = layers.Activation(activation)(flow)
    flow = layers.Dense(units, activation="tanh", name="features")(layers.Flatten()(flow))
    return package.Model(images, layers.Dense(units, name="logits", activation=last)(flow))


def called(model: Any) -> Function:
    return model


def filed(
    make: Function, name: str = "net.keras", scores: Callable[[Any], Function] = called
) -> Callable[[Path], Built]:
    """Returns what saves the Keras model that `make` returns in a file (in none without `name`)."""

    def build(folder: Path) -> Built:
        model = make(folder)
        function = functools.partial(scores(model), training=False)
        if not name:
            return Built(model, function)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            model.save(folder / name)
        return Built(str(folder / name), function)

    return build


def keras3(folder: Path, **how: Any) -> Any:
    import keras

    return network(keras, **how)


def keras2(folder: Path) -> Any:
    import tf_keras

    return network(tf_keras)


def custom(folder: Path) -> Any:
    import keras

    from tests.pipeline import own_layers

    return network(keras, own_layers.Scale(), activation=own_layers.bent)


def binary(folder: Path) -> Any:
    return keras3(folder, last="sigmoid", units=1)


def heads(folder: Path) -> Any:
    import keras

    base = keras3(folder)
    flow = base.get_layer("features").output
    return keras.Model(
        base.input, [keras.layers.Dense(n, "softmax", name=name)(flow) for name, n in (("kind", 3), ("color", 4))]
    )


def mixed(folder: Path) -> Any:
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        base = keras3(folder, last="linear")
    finally:
        keras.config.set_dtype_policy("float32")
    return keras.Model(base.input, keras.layers.Softmax(dtype="float32")(base.output))


def before(name: str) -> Callable[[Any], Function]:
    """Returns what makes of a Keras model the function up to a layer."""

    def cut(model: Any) -> Function:
        import keras

        return keras.Model(model.inputs, model.get_layer(name).output)

    return cut


def application(folder: Path, module: str, network_name: str, **how: Any) -> Any:
    """Returns a small network of a family of `keras.applications`, as if it had been trained a little.

    The families' own functions make networks of any size; `keras.applications` exports only those of published sizes.
    Random weights alone fade activations to nothing: each batch norm gets the statistics of pictures, and each layer
    scale, which begins at a millionth, is one.
    """
    import keras

    keras.utils.set_random_seed(3)
    build = getattr(importlib.import_module(f"keras.src.applications.{module}"), network_name)
    model = build(weights=None, input_shape=(32, 32, 3), classes=4, classifier_activation=None, **how)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        if type(layer).__name__ == "LayerScale":
            layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    pictures = np.random.default_rng(6).uniform(0, 255 if how.get("include_preprocessing") else 1, (8, 32, 32, 3))
    largest = np.abs(model(pictures, training=True)).max()
    model.layers[-1].set_weights([weight / largest for weight in model.layers[-1].get_weights()])
    return model


def vit(folder: Path) -> Any:
    import keras

    from support import networks

    keras.utils.set_random_seed(3)
    return networks.vit(32, width=12, depth=1, classes=3)


def softmax_of(model: Any) -> Function:
    return lambda images, training: tf.nn.softmax(model(images, training=training))


def scaled_softmax_of(model: Any) -> Function:
    return lambda images, training: tf.nn.softmax(model(255.0 * images, training=training))


def of_application(module: str, network_name: str, doors: tuple[str, ...] = ("job", "notebook"), **how: Any) -> Kind:
    """Returns the kind of a family of `keras.applications`, which scales bytes itself if it has a preprocessing."""
    byte = "include_preprocessing" in how
    return Kind(
        f"`keras.applications`: {network_name}",
        filed(
            functools.partial(application, module=module, network_name=network_name, **how),
            scores=scaled_softmax_of if byte else softmax_of,
        ),
        {"pixels": "byte"} if byte else {},
        shape=(32, 32, 3),
        bound=KINKED,
        doors=doors,
        without="not measured",
        steps=2,
    )


BYTES = {"include_preprocessing": True}

KINDS = (
    Kind("gray, 1 channel", saved(probabilities, probabilities, (None, 8, 8, 1)), shape=(8, 8, 1)),
    Kind("4 channels", saved(probabilities, probabilities, (None, 8, 8, 4)), shape=(8, 8, 4)),
    Kind("13 channels", saved(probabilities, probabilities, (None, 8, 8, 13)), shape=(8, 8, 13)),
    Kind(
        "uint8 input",
        saved(lambda images: probabilities(tf.cast(images, tf.float32) / 255.0), probabilities, dtype=tf.uint8),
    ),
    Kind(
        "channels first",
        saved(lambda images: probabilities(tf.transpose(images, [0, 2, 3, 1])), probabilities, (None, 3, 8, 6)),
        shape=(8, 6, 3),
    ),
    Kind("batch size fixed at 1", saved(probabilities, probabilities, (1, 8, 8, 3))),
    Kind(
        "bytes signature, as of TensorFlow Serving",
        saved(lambda data: probabilities(decode(data)), probabilities, (None,), tf.string),
    ),
    Kind("one sigmoid", filed(binary, scores=lambda model: lambda images, training: two_classes(model(images)))),
    Kind("multi-label, several sigmoids", saved(sigmoids, sigmoids), settings={"targets": "above:0.5"}),
    Kind("regression", saved(value, value), {"outputs": "values"}),
    Kind("ensemble, a mean of softmaxes", saved(ensemble, ensemble)),
    Kind(
        "named heads",
        filed(heads, scores=lambda model: lambda images, training: model(images)[1]),
        {"output_name": "color"},
    ),
    Kind(
        "dictionary of outputs",
        saved(lambda images: {"embedding": images[:, 0, 0], "classes": probabilities(images)}, probabilities),
        {"output_name": "classes"},
    ),
    Kind(
        "segmentation, score by a function",
        saved(segmented, mean_logit),
        {"score": "tests.pipeline.task_scores:second_class"},
        {"targets": "none"},
    ),
    Kind("logits before a written-out softmax", saved(written_out, logits), {"score": "logit"}),
    Kind(
        "layer by name",
        filed(keras3, scores=before("features")),
        {"layer": "features", "score": "logit"},
        {"targets": "class:1"},
    ),
    Kind("Keras 3, `.keras`", filed(keras3)),
    Kind("Keras 3, `.h5`", filed(keras3, "net.h5")),
    Kind("Keras 2, `.keras`", filed(keras2)),
    Kind("Keras 2, SavedModel", filed(keras2, "net")),
    Kind("Keras 2, `.h5`", filed(keras2, "net.h5")),
    Kind("custom layer, `.keras`", filed(custom), {"custom_objects": ["tests.pipeline.own_layers"]}),
    Kind("Keras model in memory", filed(keras3, ""), doors=("notebook",)),
    Kind("mixed precision, `mixed_float16`", filed(mixed), bound=KINKED, repeated=True),
    Kind("a small vision transformer", filed(vit, scores=softmax_of), shape=(32, 32, 3)),
    of_application("mobilenet_v3", "MobileNetV3Small", alpha=0.35, **BYTES),
    of_application("convnext", "ConvNeXt", depths=[1, 1, 1, 1], projection_dims=[8, 12, 16, 24], **BYTES),
    of_application(
        "efficientnet_v2",
        "EfficientNetV2",
        name="efficientnetv2-b0",
        width_coefficient=0.25,
        depth_coefficient=0.3,
        default_size=32,
        **BYTES,
    ),
    of_application("nasnet", "NASNet", ("job",), penultimate_filters=96, num_blocks=1, stem_block_filters=8),
)
