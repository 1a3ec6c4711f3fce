"""A model file → `Classifier`: raw pixels in, one output per class and one score per image out.

The scaling of pixels is part of the function that is explained: a straight path in raw pixels stays
straight after any of these affine scalings, so attributions are in units of the score whatever the
model is fed. A score is one number per image, computed by TensorFlow from tensors, while a graph is traced as well as
afterwards:

    probability   p_t: the output of a model that ends in softmax or sigmoid, else softmax(z)_t
    logit         z_t: the output of a model that does not end in softmax or sigmoid
    log_odds      log p_t − log(1 − p_t), which is z_t − logsumexp of the other classes' z
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.core.model.file import ModelFile, load_resolved, open_model
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.passes.ending import ending
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.vocabulary import PIXELS, SCORES

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TINY = 1e-37
_SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
_SHAPE_WORDS = re.compile("shape|size|dimension|rank", re.IGNORECASE)

Score = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

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
        digest: sha256 of the model's files.
        size_bytes: size of these files.
        ending: `softmax`, `sigmoid`, or empty where the outputs are taken for logits.
        outputs: float32 `[batch, height, width, 3]` in [0, 1] → float32 `[batch, classes]`; traceable. Arrays
            become tensors first.
        score: `(float32 outputs [batch, classes], int32 targets [batch])` → float32 `[batch]`; likewise.
        frozen: `outputs` as a frozen graph, or None where the model can't be frozen.
        frozen_reason: why the model can't be frozen; empty when it is.
    """

    input_shape: tuple[int, int, int]
    names: tuple[str, ...]
    digest: str
    size_bytes: int
    ending: str
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
        return bool(self.ending)

    def to_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns `outputs`, float32 `[batch, classes]`, as probabilities; likewise."""
        return _on_tensors(_probabilities, tf.float32)(outputs, last=self.ending)


def load(
    uri: str,
    *,
    pixels: str = "unit",
    score: str = "probability",
    output: str | None = None,
    input_size: int | tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
    signature: str | None = None,
) -> Classifier:
    """Loads a model and makes it a classifier.

    Args:
        uri: a TF-Hub `https://` handle, a local SavedModel folder or a local `.keras` file.
        pixels: what the model is fed: one of `PIXELS`.
        score: one of `SCORES`, or `module:function` naming an operator of tensors `(float32 outputs
            [batch, classes], int32 targets [batch])` → `[batch]`.
        output: name of the output to explain, where the model has several.
        input_size: height and width, or one number for both, where the model doesn't tell.
        names: class names, in the order of the outputs; None or an empty sequence numbers the classes. One
            name fewer than outputs is taken as a list without the leading `background` class of TF-Hub's slim
            models.
        signature: the SavedModel signature to call; None takes the one that accepts images.

    Raises:
        UnreadableError: the files can't be loaded or called; a damaged copy of a handle has been downloaded again.
        ValueError: an option does not fit the model; the text names the option, its value and what is allowed.
        MemoryError: not even one image fits into the device's memory.
    """
    if pixels not in PIXELS:
        raise UsageError(f"pixels={pixels!r}: allowed are {', '.join(PIXELS)}")
    if score not in SCORES and ":" not in score:
        raise UsageError(f"score={score!r}: allowed are {', '.join(SCORES)} and module:function")

    def load_path(path: str) -> Classifier:
        return _classifier(open_model(path, signature), pixels, score, output, input_size, names)

    return load_resolved(load_path, uri)


def _classifier(
    model: ModelFile,
    pixels: str,
    score: str,
    output: str | None,
    input_size: int | tuple[int, int] | None,
    names: Sequence[str] | None,
) -> Classifier:
    """Returns the classifier of an opened model, which has been called with one image."""
    height, width = _input_size(model.spec, input_size)
    outputs = _on_tensors(_outputs(model, _SCALINGS[pixels], output), tf.float32)
    images = tf.TensorSpec([None, height, width, 3], tf.float32)
    concrete = tf.function(outputs, autograph=False).get_concrete_function(images)
    outputs(tf.zeros([1, height, width, 3]))  # tracing a SavedModel looks at no size inside
    last, frozen, reason = _freeze(concrete)
    return Classifier(
        input_shape=(height, width, 3),
        names=_names(names, concrete.outputs[0].shape[1]),
        digest=digest.digest(model.path),
        size_bytes=digest.size(model.path),
        ending=last,
        outputs=outputs,
        score=_on_tensors(_score(score, last), tf.float32, tf.int32),
        frozen=frozen,
        frozen_reason=reason,
    )


def _on_tensors(function: Callable[..., tf.Tensor], *dtypes: tf.DType) -> Callable[..., tf.Tensor]:
    """Returns `function` for arrays too: its positional arguments become tensors of these types."""

    def converted(*values: Any, **options: Any) -> tf.Tensor:
        return function(*(tf.cast(value, dtype) for value, dtype in zip(values, dtypes, strict=True)), **options)

    return converted


def _input_size(spec: tf.TensorSpec, option: int | tuple[int, int] | None) -> tuple[int, int]:
    batch, height, width, channels = spec.shape.as_list()
    if batch is not None:
        raise UsageError(f"model: it takes batches of {batch} only; export it with an open batch size, {spec.shape}")
    if channels not in (3, None):
        raise UsageError(f"model: expected images [height, width, 3], its input is {spec.shape}")
    if not (spec.dtype.is_floating):
        raise UsageError(f"model: its input is {spec.dtype.name}, which has no gradient; take one with float input")
    wanted = (option, option) if isinstance(option, int) else option or (height, width)
    if None in wanted:
        raise UsageError(f"input_size: the model takes any size ({spec.shape}); give height and width")
    if any(side not in (None, given) for side, given in zip((height, width), wanted, strict=True)):
        raise UsageError(f"input_size={option}: the model takes {height}x{width} only")
    return int(wanted[0]), int(wanted[1])


def _outputs(
    model: ModelFile, scale: Callable[[tf.Tensor], tf.Tensor], name: str | None
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
        if name is None and len(results) != 1:
            raise UsageError(f"output: the model has several, name one of {', '.join(sorted(results))}")
        if name is not None and name not in results:
            raise UsageError(f"output={name!r}: the model has {', '.join(sorted(results))}")
        result = tf.cast(results[name] if name else next(iter(results.values())), tf.float32)
        return result if result.shape.rank == 2 else tf.reshape(result, [tf.shape(result)[0], _count(result)])

    return outputs


def _refusal(model: ModelFile, images: tf.Tensor, error: Exception) -> ValueError:
    """Returns what a failed call says: the size is at fault only if the model leaves it open, and fails on a shape."""
    _, height, width, _ = images.shape
    open_size = None in model.spec.shape[1:3].as_list()
    if open_size and isinstance(error, _SHAPE_ERRORS) and _SHAPE_WORDS.search(str(error)):
        return ValueError(f"input_size: the model can't be called with images of {height}x{width}: {error}")
    return UnreadableError(
        f"model={str(model.path)!r}: it can be loaded, but not called with images of {height}x{width}, "
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
        return ending(frozen), flatten(frozen), ""
    except NotApplicableError as refusal:
        return ending(frozen), None, str(refusal)


def _names(given: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    names = () if given is None else tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"names: expected a sequence of class names, found {given!r:.80}")
    if not names:
        return tuple(f"class_{index}" for index in range(classes))
    if len(names) == classes - 1:
        return "background", *names
    if len(names) != classes:
        raise UsageError(f"names: {len(names)} class names for a model with {classes} outputs")
    return names


def _score(score: str, last: str) -> Score:
    if score == "probability":
        return lambda outputs, targets: _pick(_probabilities(outputs, last), targets)
    if score == "log_odds":
        return {"": _log_odds_of_logits, "softmax": _log_odds_of_softmax, "sigmoid": _log_odds_of_sigmoid}[last]
    if score == "logit" and last:
        raise UsageError(
            f"score='logit': the model ends in {last}, its logits can't be reached; allowed are probability, "
            "log_odds, module:function, or another output of the model by its name"
        )
    return _pick if score == "logit" else _operator(score)


def _operator(score: str) -> Score:
    module, _, name = score.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"score={score!r}: no such function: {error}") from error

    def operator(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        result = tf.convert_to_tensor(function(outputs, targets))
        if result.shape.rank != 1 or not result.dtype.is_floating:
            found = f"{result.dtype.name} {result.shape}"
            raise UsageError(f"score={score!r}: expected one number per image [batch], found {found}")
        return tf.cast(result, tf.float32)

    return operator


def _pick(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, targets, axis=1, batch_dims=1)


def _probabilities(outputs: tf.Tensor, last: str) -> tf.Tensor:
    if last:
        return outputs
    return tf.sigmoid(outputs) if outputs.shape[1] == 1 else tf.nn.softmax(outputs)


def _others(outputs: tf.Tensor, targets: tf.Tensor, blank: float) -> tf.Tensor:
    """Returns `outputs` with each image's target replaced by `blank`."""
    return tf.where(tf.one_hot(targets, tf.shape(outputs)[1], on_value=True, off_value=False), blank, outputs)


def _log_odds_of_logits(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    if outputs.shape[1] == 1:
        return outputs[:, 0]
    return _pick(outputs, targets) - tf.reduce_logsumexp(_others(outputs, targets, outputs.dtype.min), axis=1)


def _log_odds_of_softmax(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """1 − p_t is the sum of the other classes, which keeps its digits where p_t rounds to one."""
    others = tf.reduce_sum(_others(outputs, targets, 0.0), axis=1)
    return tf.math.log(_pick(outputs, targets) + _TINY) - tf.math.log(others + _TINY)


def _log_odds_of_sigmoid(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    chosen = tf.clip_by_value(_pick(outputs, targets), _TINY, 1.0 - 2.0**-24)
    return tf.math.log(chosen) - tf.math.log1p(-chosen)
