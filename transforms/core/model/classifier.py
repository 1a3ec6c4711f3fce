"""A model → `Classifier`: raw pixels in, one output per class and one score per image out.

The scaling of pixels is part of the function that is explained: a straight path in raw pixels stays
straight after any of these affine scalings, so attributions are in units of the score whatever the
model is fed.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.core.model.file import OpenedModel, load_resolved, open_model
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.options import ModelOptions
from transforms.core.model.passes.final_activation import final_activation
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.score import Score, on_tensors, score_function, to_probabilities

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
_SHAPE_WORDS = re.compile("shape|size|dimension|rank", re.IGNORECASE)

_SCALINGS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "unit": lambda images: images,
    "signed": lambda images: images * 2.0 - 1.0,
    "byte": lambda images: images * 255.0,
    "imagenet": lambda images: (images - _IMAGENET_MEAN) / _IMAGENET_STD,
    "caffe": lambda images: tf.reverse(images, [-1]) * 255.0 - _CAFFE_MEAN,
}
"""What the model is fed, from raw pixels in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier that can be traced and differentiated.

    Attributes:
        input_shape: `(height, width, 3)` of one image.
        names: one name per class.
        digest: sha256 of the model's files, or of the graph and weights of a model in memory.
        size_bytes: their size.
        activation: `softmax`, `sigmoid`, or empty where the outputs are taken for logits.
        outputs: float32 `[batch, height, width, 3]` in [0, 1] → float32 `[batch, classes]`; traceable. Arrays
            become tensors first.
        score: `(float32 outputs [batch, classes], int32 targets [batch])` → float32 `[batch]`; likewise.
        frozen: `outputs` as a frozen graph, or None where the model cannot be frozen.
        frozen_reason: why the model cannot be frozen; empty when it is.
    """

    input_shape: tuple[int, int, int]
    names: tuple[str, ...]
    digest: str
    size_bytes: int
    activation: str
    outputs: Callable[[tf.Tensor], tf.Tensor]
    score: Score
    frozen: FrozenGraph | None
    frozen_reason: str = ""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def probabilities(self) -> bool:
        """Whether the outputs are probabilities already."""
        return bool(self.activation)

    def to_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns `outputs`, float32 `[batch, classes]`, as probabilities; likewise."""
        return to_probabilities(outputs, self.activation)


def load(model: object, options: ModelOptions = ModelOptions()) -> Classifier:
    """Loads a model and makes it a classifier.

    Args:
        model: a TF-Hub `https://` handle, a local SavedModel folder or a local `.keras` file; or a model in memory: a
            Keras model, a loaded SavedModel, or a callable that TensorFlow can trace.
        options: what the function is; its class names in the order of the outputs, not a file's. One name fewer than
            outputs is taken as a list without the leading `background` class of TF-Hub's slim models; none numbers
            the classes.

    Raises:
        UnreadableError: the files cannot be loaded or called; a damaged copy of a handle has been downloaded again.
        UsageError: an option does not fit the model; the text names the option, its value and what is allowed.
        MemoryError: not even one image fits into the device's memory.
    """
    if options.class_names and isinstance(options.class_names, str):
        raise UsageError(f"class_names: {options.class_names!r:.80} is a file; expected a sequence of class names")

    def opened(path: object) -> Classifier:
        return _classifier(open_model(path, options.signature), options)

    return load_resolved(opened, os.fspath(model)) if isinstance(model, str | os.PathLike) else opened(model)


def _classifier(model: OpenedModel, options: ModelOptions) -> Classifier:
    """Returns the classifier of an opened model, which has been called with one image."""
    height, width = _input_size(model.spec, options)
    outputs = on_tensors(_outputs(model, _SCALINGS[options.pixels], options.output_name), tf.float32)
    images = tf.TensorSpec([None, height, width, 3], tf.float32)
    concrete = tf.function(outputs, autograph=False).get_concrete_function(images)
    outputs(tf.zeros([1, height, width, 3]))  # tracing a SavedModel looks at no size inside
    activation, frozen, reason = _freeze(concrete)
    identity, size = _identity(model, concrete, frozen)
    return Classifier(
        input_shape=(height, width, 3),
        names=_names(options, concrete.outputs[0].shape[1]),
        digest=identity,
        size_bytes=size,
        activation=activation,
        outputs=outputs,
        score=score_function(options.score, activation),
        frozen=frozen,
        frozen_reason=reason,
    )


def _identity(
    model: OpenedModel, concrete: tf.types.experimental.ConcreteFunction, frozen: FrozenGraph | None
) -> tuple[str, int]:
    """Returns a model's digest and size: of its files, else of its graph and weights."""
    if model.path is not None:
        return digest.digest(model.path), digest.size(model.path)
    nodes = (frozen.graph if frozen else concrete.graph.as_graph_def()).node
    variables = () if frozen else concrete.variables
    parts = (node.SerializeToString(deterministic=True) for node in nodes)
    return digest.of_parts(itertools.chain(parts, (variable.numpy().tobytes() for variable in variables)))


def _input_size(spec: tf.TensorSpec, options: ModelOptions) -> tuple[int, int]:
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


def _outputs(
    model: OpenedModel, scale: Callable[[tf.Tensor], tf.Tensor], name: str
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function from raw pixels to float32 `[batch, classes]`."""

    def outputs(images: tf.Tensor) -> tf.Tensor:
        fed = tf.cast(scale(images), model.spec.dtype)
        try:
            results = model.call(fed)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(str(error)) from error
        except Exception as error:  # what a model raises is its own affair
            raise _refusal(model, fed, error) from error
        if not name and len(results) != 1:
            raise UsageError(f"output_name: the model has several, name one of {', '.join(sorted(results))}")
        if name and name not in results:
            raise UsageError(f"output_name={name!r}: the model has {', '.join(sorted(results))}")
        result = tf.cast(results[name] if name else next(iter(results.values())), tf.float32)
        return result if result.shape.rank == 2 else tf.reshape(result, [tf.shape(result)[0], _count(result)])

    return outputs


def _refusal(model: OpenedModel, images: tf.Tensor, error: Exception) -> ValueError:
    """Returns what a failed call says: the size is at fault only if the model leaves it open, and fails on a shape."""
    _, height, width, _ = images.shape
    open_size = None in model.spec.shape[1:3].as_list()
    if open_size and isinstance(error, _SHAPE_ERRORS) and _SHAPE_WORDS.search(str(error)):
        return ValueError(f"input_size: the model cannot be called with images of {height}x{width}: {error}")
    return UnreadableError(
        f"model={model.name!r}: it can be loaded, but not called with images of {height}x{width}, "
        f"{'a size that it leaves open' if open_size else 'its own size'}: {error}"
    )


def _count(result: tf.Tensor) -> int:
    """Returns the number of classes of a result `[batch, 1, …, classes]`."""
    sizes = result.shape[1:]
    if sizes.rank == 0 or any(size != 1 for size in sizes[:-1]) or sizes[-1] is None:
        raise UsageError(f"model: expected outputs [batch, classes], found {result.shape}")
    return int(sizes[-1])


def _freeze(concrete: tf.types.experimental.ConcreteFunction) -> tuple[str, FrozenGraph | None, str]:
    """Returns what the model ends in, and its frozen graph or the reason why it has none."""
    try:
        frozen = freeze(concrete)
    except NotApplicableError as refusal:
        return "", None, str(refusal)
    try:
        return final_activation(frozen), flatten(frozen), ""
    except NotApplicableError as refusal:
        return final_activation(frozen), None, str(refusal)


def _names(options: ModelOptions, classes: int) -> tuple[str, ...]:
    names = tuple(options.class_names)
    if not names:
        return tuple(f"class_{index}" for index in range(classes))
    if len(names) == classes - 1:
        return "background", *names
    if len(names) != classes:
        raise UsageError(f"class_names: {len(names)} class names for a model with {classes} outputs")
    return names
