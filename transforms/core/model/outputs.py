"""What a model puts out: one of its outputs, as one number per class."""

from __future__ import annotations

import re
from collections.abc import Callable

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.file import OpenedModel
from transforms.core.model.local_copy import UnreadableError

_SHAPE_ERRORS = (ValueError, tf.errors.InvalidArgumentError)
_SHAPE_WORDS = re.compile("shape|size|dimension|rank", re.IGNORECASE)


def outputs_function(
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
