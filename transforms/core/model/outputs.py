"""What a model puts out: one of its outputs, as one number per class."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.file import OpenedModel
from transforms.core.model.local_copy import UnreadableError

_SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
_SHAPE_WORDS = re.compile("shape|size|dimension|rank", re.IGNORECASE)


def outputs_function(
    model: OpenedModel, scale: Callable[[tf.Tensor], tf.Tensor], name: str, any_shape: bool = False
) -> Callable[[tf.Tensor], Any]:
    """Returns the function from raw pixels to float32 `[batch, classes]`.

    Args:
        model: the opened model.
        scale: raw pixels → what the model is fed.
        name: of the output, if the model has several.
        any_shape: whether outputs of another shape are returned as they are, and several without a name as a mapping
            of all of them by name.
    """

    def outputs(images: tf.Tensor) -> Any:
        fed = tf.cast(scale(images), model.spec.dtype)
        try:
            results = model.call(fed)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(str(error)) from error
        except Exception as error:  # what a model raises is its own affair
            raise _refusal(model, fed, error) from error
        chosen = _chosen(results, name) if name else None
        if not name and len(results) != 1:
            if not any_shape:
                raise UsageError(f"output_name: the model has several, name one of {', '.join(sorted(results))}")
            numbers = {key: value for key, value in results.items() if value.dtype != tf.string}
            return {key: tf.cast(value, tf.float32) for key, value in sorted(numbers.items())}
        result = tf.cast(next(iter(results.values())) if chosen is None else chosen, tf.float32)
        if result.shape.rank == 1 and result.shape[0] not in (None, images.shape[0]):
            raise UsageError(f"model: expected outputs [batch, classes], found {result.shape} for any number of images")
        if result.shape.rank == 2 or (any_shape and not is_row(result)):
            return result
        return tf.reshape(result, [tf.shape(result)[0], _count(result)])

    return outputs


def is_row(result: tf.Tensor) -> bool:
    """Returns whether a result `[batch, 1, …, classes]`, or `[batch]` of single outputs, has one number a class."""
    if not result.shape.rank or result.shape.rank == 1:
        return bool(result.shape.rank)
    return all(size == 1 for size in result.shape[1:-1]) and result.shape[-1] is not None


class Packing:
    """Several outputs of an image in one row, so that they travel as one tensor, and back."""

    def __init__(self, specs: Mapping[str, tf.TensorSpec]) -> None:
        """Takes the outputs' shapes `[batch, …]`.

        Raises:
            UsageError: one of them leaves a size open, or does not begin with the batch.
        """
        for name, spec in specs.items():
            if not spec.shape.rank or spec.shape[0] is not None or not spec.shape[1:].is_fully_defined():
                raise UsageError(
                    f"output_name: the output {name} has shape {spec.shape}; all outputs can be taken only if each is "
                    f"[batch, …] with known sizes; name one of {', '.join(specs)}"
                )
        self._shapes = {name: spec.shape[1:].as_list() for name, spec in specs.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each output of an image, by name."""
        return {name: tuple(shape) for name, shape in self._shapes.items()}

    def pack(self, outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns outputs by name as float32 `[batch, numbers]`."""
        return tf.concat([tf.reshape(outputs[name], [-1, math.prod(shape)]) for name, shape in self._shapes.items()], 1)

    def unpack(self, packed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns float32 `[batch, numbers]` as outputs by name."""
        parts = tf.split(packed, [math.prod(shape) for shape in self._shapes.values()], axis=1)
        named = zip(self._shapes.items(), parts, strict=True)
        return {name: tf.reshape(part, [-1, *shape]) for (name, shape), part in named}


def _chosen(results: Mapping[str, tf.Tensor], name: str) -> tf.Tensor:
    """Returns the output of a name; `output_N` is the one of that number, if no output is called so."""
    numbered = {f"output_{index}": result for index, result in enumerate(results.values())}
    if name not in results and name not in numbered:
        raise UsageError(f"output_name={name!r}: the model has {', '.join(sorted(results))}")
    return results.get(name, numbered.get(name))


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
    """Returns the number of classes of a result `[batch, 1, …, classes]`, or `[batch]`."""
    if not is_row(result):
        raise UsageError(
            f"model: expected outputs [batch, classes], found {result.shape}; outputs of another shape need "
            "--score module:function, which makes one number for each image of them"
        )
    return 1 if result.shape.rank == 1 else int(result.shape[-1])
