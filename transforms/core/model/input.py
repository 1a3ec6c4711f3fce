"""What a model is fed: any layout, type, batch and size → floats `[batch, height, width, channels]`, in a range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.fixed_batch import in_fixed_batches
from transforms.core.model.integer import behind_cast
from transforms.core.model.opened import OpenedModel, Outputs
from transforms.core.model.options import ModelOptions
from transforms.core.model.scalings import SCALINGS, needs_colors

_FEW = (1, 2, 3, 4)
"""Channels of usual pictures: an axis of so many may be that of channels wherever it stands."""

_DEFAULT_CHANNELS = 3


@dataclass(frozen=True)
class ModelInput:
    """A model whose input is understood.

    Attributes:
        model: it takes floats `[batch, height, width, channels]`, any number of images.
        shape: `(height, width, channels)` of one image.
        pixels: the range of its input, one of `vocabulary.PIXELS`.
        scale: raw pixels in [0, 1] → that range.
        assumptions: what was found out or assumed, one sentence each.
    """

    model: OpenedModel
    shape: tuple[int, int, int]
    pixels: str
    scale: Callable[[tf.Tensor], tf.Tensor]
    assumptions: tuple[str, ...]


def adapt(model: OpenedModel, options: ModelOptions) -> ModelInput:
    """Returns a model as one of floats `[batch, height, width, channels]`, with what it is to be fed.

    Args:
        model: as it was opened, with any layout and type.
        options: `layout`, `input_size` and `pixels` complete or must fit what the model says.

    Raises:
        UsageError: the input is not one of images, cannot be understood, or does not fit the options.
    """
    dtype, batch = model.spec.dtype, model.spec.shape[0]
    pixels = _pixels(model, options)
    if dtype.is_integer:
        model = _noting(
            behind_cast(model),
            f"its input is {dtype.name}, 0 to 255: what is explained is the function of the floats that it is cast to, "
            "also for predictions",
        )
    if batch is not None:
        model = in_fixed_batches(model, batch)
        of = "image by image" if batch == 1 else f"in batches of {batch}, the last one filled up with zeros"
        model = _noting(model, f"its batch size is fixed at {batch}, so that it is called {of}")
    model = _channels_last(model, options)
    shape, assumed = _shape(model.spec, options)
    if needs_colors(pixels) and shape[2] != 3:
        allowed = ", ".join(name for name in SCALINGS if not needs_colors(name))
        raise UsageError(
            f"pixels={pixels!r}: is for red, green and blue; the model takes {_count(shape[2])}; allowed are {allowed}"
        )
    return ModelInput(model, shape, pixels, SCALINGS[pixels], (*model.assumptions, *assumed))


def _pixels(model: OpenedModel, options: ModelOptions) -> str:
    """Returns the range of a model's input, of which its type or its own decoder may leave only one.

    Raises:
        UsageError: the option contradicts that; or whole numbers could be anything.
    """
    dtype, default = model.spec.dtype, ModelOptions.pixels
    known = model.pixels or ("byte" if dtype == tf.uint8 else "")
    if known and options.pixels not in (known, default):
        raise UsageError(
            f"pixels={options.pixels!r}: the model's own input is {known} ({_of_what(model)}); give --pixels {known}"
        )
    if known:
        return known
    if not dtype.is_integer:
        return options.pixels
    if dtype == tf.int8:
        raise UsageError("model: its input is int8, which cannot hold pixels from 0 to 255; export one of uint8")
    if options.pixels != "byte":
        raise UsageError(
            f"pixels={options.pixels!r}: the model takes whole numbers, {dtype.name}; if these are pixels from 0 to "
            "255, give --pixels byte, else export it with a float input"
        )
    return "byte"


def _of_what(model: OpenedModel) -> str:
    return f"by its type, {model.spec.dtype.name}" if not model.pixels else "by its own decoder"


def _noting(model: OpenedModel, assumption: str) -> OpenedModel:
    return dataclasses.replace(model, assumptions=(*model.assumptions, assumption))


def _channels_last(model: OpenedModel, options: ModelOptions) -> OpenedModel:
    """Returns a model whose input has its channels last, whatever it had."""
    batch, *sizes = model.spec.shape.as_list()
    call = model.call
    if len(sizes) == 2:
        if options.layout == "channels_first":
            raise UsageError(f"layout='channels_first': the model's input has no channels, {model.spec.shape}")
        spec = tf.TensorSpec([batch, *sizes, 1], model.spec.dtype)
        model = _noting(model, "its input has no axis of channels: gray")
        return dataclasses.replace(model, spec=spec, call=lambda images: call(tf.squeeze(images, -1)))
    found = _layout(sizes, model.spec) if options.layout == "auto" else options.layout
    if found == "channels_last":
        return model
    spec = tf.TensorSpec([batch, sizes[1], sizes[2], sizes[0]], model.spec.dtype)
    if options.layout == "auto":
        model = _noting(model, f"its input is taken for channels first, {model.spec.shape}")

    def transposed(images: tf.Tensor) -> Outputs:
        return call(tf.transpose(images, [0, 3, 1, 2]))

    return dataclasses.replace(model, spec=spec, call=transposed)


def _layout(sizes: list[int | None], spec: tf.TensorSpec) -> str:
    """Returns where the channels are, of an input `[batch, *sizes]`.

    Raises:
        UsageError: they could be first or last.
    """
    first, middle, last = sizes
    open_last = last is None and (first is None or middle is not None)
    if (first not in _FEW and (last in _FEW or open_last)) or first == middle != last or sizes == [1, 1, 1]:
        return "channels_last"
    if first in _FEW and last is not None and last not in _FEW:
        return "channels_first"
    if first is None or last is None:
        may_be_first = first is not None
    elif last in _FEW:
        may_be_first = middle == last or (first == 3 and last != 3)
    else:
        may_be_first = middle == last or first < min(middle or last, last)
    if may_be_first:
        raise UsageError(
            f"layout: the model's input {spec.shape} may have its channels first or last; give --layout channels_first "
            "or --layout channels_last"
        )
    return "channels_last"


def _shape(spec: tf.TensorSpec, options: ModelOptions) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Returns height, width and channels of one image, and what was assumed of them.

    Raises:
        UsageError: the model leaves them open, or does not fit `input_size`.
    """
    _, height, width, channels = spec.shape.as_list()
    size, count = options.size() or (height, width), options.channels() or channels or _DEFAULT_CHANNELS
    if None in size:
        raise UsageError(f"input_size: the model takes any size ({spec.shape}); give HEIGHTxWIDTH")
    if any(side not in (None, given) for side, given in zip((height, width), size, strict=True)):
        raise UsageError(f"input_size={options.input_size}: the model takes {height}x{width} only")
    if channels not in (None, count):
        raise UsageError(f"input_size={options.input_size}: the model takes {_count(channels)} only")
    shape = int(size[0]), int(size[1]), int(count)
    if channels is not None or options.channels():
        return shape, ()
    return shape, (f"it leaves open how many channels its input has: {count}, unless input_size has a third number",)


def _count(channels: int) -> str:
    return f"{channels} channel{'s' * (channels != 1)}"
