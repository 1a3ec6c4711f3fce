"""A signature that takes encoded images, as TensorFlow Serving's do → the function of the images that it decodes.

The model's own decoder never sees data: the graph is entered at the first tensor that holds a batch of decoded images,
which is fed by our decoder, in its guard process. Two pictures of our own, of the model's size, are sent both ways to
check that they agree; that also shows the range of values at that tensor.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import PIL.Image
import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model.entry import ImageFunction
from transforms.core.model.inner import InnerGraph
from transforms.core.model.opened import Outputs
from transforms.core.model.options import ModelOptions
from transforms.core.model.passes.frozen import NotApplicableError
from transforms.core.model.scalings import SCALINGS, needs_colors

_CONVERT = (
    "export a signature that takes decoded images, tf.TensorSpec([None, height, width, channels], tf.float32), and "
    "choose it with --signature"
)
_LARGEST_DIFFERENCE = {"PNG": 2e-3, "JPEG": 3e-2}
"""Mean difference of the pixels that two decoders make of a picture, relative to the range; one of a JPEG may round
each coefficient, and upsample colors, in its own way."""

_OUTPUT_DIFFERENCE = 1e-2
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Decoded:
    """A model entered behind its decoder.

    Attributes:
        spec: shape and dtype of the decoded images.
        call: decoded images in the range `pixels` → outputs by name; traceable.
        pixels: one of `vocabulary.PIXELS`.
    """

    spec: tf.TensorSpec
    call: Callable[[tf.Tensor], Outputs]
    pixels: str


def behind_decoder(function: ImageFunction, options: ModelOptions) -> Decoded:
    """Returns a function of encoded images as one of decoded ones.

    Args:
        function: its input is text `[batch]`.
        options: `input_size` completes a size that the decoder leaves open.

    Raises:
        UsageError: there is no tensor of decoded images that all outputs depend on, or the model decodes our pictures
            to something else than we do.
    """
    try:
        inner = InnerGraph.of(function.call, function.spec)
    except NotApplicableError as reason:
        raise UsageError(f"the graph behind its decoder cannot be had: {reason}; {_CONVERT}") from reason
    entry, spec = _entry(inner, options)
    beside = inner.depending(inner.input, without=entry)
    outputs = {name: tensor for name, tensor in inner.outputs.items() if tensor.partition(":")[0] not in beside}
    if not outputs:
        raise UsageError(f"its outputs depend on the encoded image by other ways than the decoded one; {_CONVERT}")
    call = inner.function(entry, outputs)
    head = inner.function(inner.input, {"images": f"{entry}:0", **outputs})
    return Decoded(spec, call, _checked(head, call, spec, function.spec.shape[0] or 1))


def _entry(inner: InnerGraph, options: ModelOptions) -> tuple[str, tf.TensorSpec]:
    """Returns the first node that holds decoded images of a known size, and its shape and dtype."""
    depending = inner.depending(inner.input)
    size = options.size()
    for name, spec in inner.specs.items():
        if name in depending and spec.shape.rank == 4 and (spec.dtype.is_floating or spec.dtype.is_integer):
            batch, height, width, channels = spec.shape.as_list()
            height, width = (height, width) if size is None else (height or size[0], width or size[1])
            if height and width and (channels or options.channels() or 3) in _CHANNELS:
                return name, tf.TensorSpec([batch, height, width, channels or options.channels() or 3], spec.dtype)
    raise UsageError(
        "no tensor [batch, height, width, channels] of a known size depends on it: does it take encoded images, and "
        f"does it make a batch of them, as by tf.map_fn, with an open size only if input_size gives it? Else {_CONVERT}"
    )


def _checked(
    head: Callable[[tf.Tensor], Outputs], call: Callable[[tf.Tensor], Outputs], spec: tf.TensorSpec, copies: int
) -> str:
    """Returns the range of the decoded images, one of `vocabulary.PIXELS`, that the model makes of pictures of ours.

    Raises:
        UsageError: it can decode none of them, or not as we do.
    """
    problems, found = [], set()
    for format, data, pixels in _pictures(*spec.shape.as_list()[1:]):
        try:
            there = head(tf.constant([data] * copies))
        except (tf.errors.OpError, UnicodeDecodeError) as error:  # the latter of messages that quote the picture
            problems.append(f"{format}: {(str(error).splitlines() or [''])[0][:200]}")
            continue
        name = _range(np.asarray(there["images"], np.float64)[0], pixels, _LARGEST_DIFFERENCE[format])
        if not name:
            raise UsageError(
                f"the model decodes a {format} of {pixels.shape[1]} x {pixels.shape[0]} pixels to other values than "
                f"{', '.join(SCALINGS)} (cropped, turned, or scaled otherwise?); {_CONVERT}"
            )
        fed = tf.repeat(SCALINGS[name](tf.constant(pixels))[None], copies, 0)
        ours = call(tf.cast(tf.round(fed) if spec.dtype.is_integer else fed, spec.dtype))
        _check_outputs(there, ours, _OUTPUT_DIFFERENCE if format == "PNG" else 1.0)
        found.add(name)
    if len(found) != 1:
        reasons = "; ".join(problems) or f"a PNG and a JPEG become {', '.join(sorted(found))}"
        raise UsageError(f"the model cannot decode pictures of ours ({reasons}); {_CONVERT}")
    return found.pop()


def _range(values: np.ndarray, pixels: np.ndarray, difference: float) -> str:
    """Returns which scaling of `pixels` gives `values`; empty if none does."""
    for name, scale in SCALINGS.items():
        if needs_colors(name) and pixels.shape[2] != 3:
            continue
        ours = np.asarray(scale(tf.constant(pixels)), np.float64)
        if ours.shape == values.shape and np.abs(ours - values).mean() <= difference * np.ptp(ours):
            return name
    return ""


def _check_outputs(there: Outputs, ours: Outputs, difference: float) -> None:
    for name, values in ours.items():
        wanted, found = np.asarray(there[name], np.float64), np.asarray(values, np.float64)
        if not np.allclose(found, wanted, rtol=0, atol=difference * max(float(np.abs(wanted).max()), 1e-6)):
            raise UsageError(f"the model's {name} for its decoded picture is not that for ours; {_CONVERT}")


def _pictures(height: int, width: int, channels: int) -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Yields format, encoded bytes, and pixels float32 `[height, width, channels]` in [0, 1] of pictures of ours."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    waves = [
        np.sin((1 + channel) * rows / max(height, 2) * 3 + channel) * np.cos(columns / max(width, 2) * 4 - channel)
        for channel in range(channels)
    ]
    values = np.rint(127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)
    picture = PIL.Image.fromarray(values[:, :, 0] if channels == 1 else values)
    for format in ("PNG",) if channels == 4 else ("PNG", "JPEG"):
        stream = io.BytesIO()
        picture.save(stream, format, **({"quality": 100, "subsampling": 0} if format == "JPEG" else {}))
        with PIL.Image.open(io.BytesIO(stream.getvalue())) as decoded:
            array = np.asarray(decoded, np.float32).reshape(height, width, channels) / np.float32(255)
        yield format, stream.getvalue(), array
