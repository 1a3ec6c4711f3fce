"""A function with inputs by name → one of images alone: which input is the image, and what the others always are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.opened import Outputs
from transforms.core.model.options import ModelOptions

_IMAGE_RANKS = (4, 3)
"""Of `[batch, height, width, channels]`, and of `[batch, height, width]`, which has one channel."""


@dataclass(frozen=True)
class Entry:
    """A function of a model.

    Attributes:
        inputs: shape and dtype of each input by name.
        call: tensors by input name → outputs by name; traceable.
    """

    inputs: Mapping[str, tf.TensorSpec]
    call: Callable[[Mapping[str, tf.Tensor]], Outputs]


@dataclass(frozen=True)
class ImageFunction:
    """A function of one batch of images, or of encoded images if its `spec` is one of strings.

    Attributes:
        spec: the input's shape and dtype.
        call: images → outputs by name; traceable.
    """

    spec: tf.TensorSpec
    call: Callable[[tf.Tensor], Outputs]

    @property
    def takes_bytes(self) -> bool:
        """Whether its input is encoded images."""
        return self.spec.dtype == tf.string


def image_function(entry: Entry, options: ModelOptions) -> ImageFunction:
    """Returns a function of images alone: `input_name` chooses the input, `constants` are the others' values.

    Raises:
        UsageError: the options do not say what each of the inputs is; the text lists them.
    """
    given = options.constant_values()
    if unknown := sorted(set(given) - set(entry.inputs)):
        raise UsageError(f"constants: {', '.join(unknown)}: no such input; {_listed(entry)}")
    image = _image_name(entry, set(given), options.input_name)
    if missing := [name for name in entry.inputs if name != image and name not in given]:
        raise UsageError(
            f"constants: the model has inputs besides the image {image!r}; give each a value, like "
            f"--constants {' '.join(f'{name}=1.0' for name in missing)}; {_listed(entry)}"
        )
    constants = {name: _constant(name, text, entry.inputs[name]) for name, text in given.items()}

    def call(images: tf.Tensor) -> Outputs:
        batch = tf.shape(images)[0]
        return entry.call({image: images, **{name: make(batch) for name, make in constants.items()}})

    return ImageFunction(entry.inputs[image], call)


def takes_images(spec: tf.TensorSpec) -> bool:
    """Returns whether an input may be a batch of images."""
    return spec.shape.rank in _IMAGE_RANKS and (spec.dtype.is_floating or spec.dtype.is_integer)


def _image_name(entry: Entry, given: set[str], wanted: str) -> str:
    inputs = {name: spec for name, spec in entry.inputs.items() if name not in given}
    if wanted:
        if wanted not in inputs:
            raise UsageError(f"input_name={wanted!r}: no such input without a constant; {_listed(entry)}")
        inputs = {wanted: inputs[wanted]}
    for rank in _IMAGE_RANKS:
        found = [name for name, spec in inputs.items() if spec.shape.rank == rank and takes_images(spec)]
        if found:
            break
    else:
        found = [name for name, spec in inputs.items() if spec.dtype == tf.string and spec.shape.rank == 1]
    if len(found) != 1:
        which = f"could be {', '.join(found)}" if found else "is none"
        raise UsageError(f"input_name: the image among the model's inputs {which}; {_listed(entry)}")
    return found[0]


def _listed(entry: Entry) -> str:
    listed = ", ".join(f"{name} {spec.dtype.name} {spec.shape}" for name, spec in entry.inputs.items())
    return f"its inputs are {listed}"


def _constant(name: str, text: str, spec: tf.TensorSpec) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from the size of a batch to the value of an input.

    Raises:
        UsageError: the text is no value of the input's type, or not one of its shape.
    """
    try:
        value = np.array([_number(word, spec.dtype) for word in text.split(",")], spec.dtype.as_numpy_dtype)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"constants: {name}={text} is no {spec.dtype.name}: {error}") from error
    if spec.shape.rank is None:
        raise UsageError(f"constants: {name} has no known shape; export the model with one")
    batched = spec.shape.rank > 0
    sizes = spec.shape.as_list()[1:] if batched else []
    if None in sizes:
        sizes[sizes.index(None)] = value.size // math.prod(size for size in sizes if size is not None)
    if None in sizes or value.size not in (1, math.prod(sizes)):
        raise UsageError(
            f"constants: {name}={text} has {value.size} values; expected one, or as many as {spec.shape} has "
            "for each image"
        )
    shaped = value.reshape(sizes) if value.size == math.prod(sizes) else np.broadcast_to(value[0], sizes)
    if not batched:
        return lambda batch: tf.constant(shaped, spec.dtype)
    return lambda batch: tf.broadcast_to(tf.constant(shaped, spec.dtype), tf.concat([[batch], sizes], 0))


def _number(word: str, dtype: tf.DType) -> object:
    if dtype == tf.string:
        return word.encode()
    if dtype == tf.bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        if word.strip().lower() not in words:
            raise ValueError(f"{word!r} is not true or false")
        return words[word.strip().lower()]
    return int(word) if dtype.is_integer else float(word)
