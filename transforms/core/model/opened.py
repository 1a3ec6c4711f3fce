"""OpenedModel: what becomes of a model of any kind, a traceable function of one batch of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

Outputs = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class OpenedModel:
    """An opened model.

    Attributes:
        name: what messages call it.
        path: the local SavedModel folder or Keras file; None for a model in memory.
        spec: the input's shape (None where unknown) and dtype: as the model has it when it is opened, of any layout
            and type; `[batch, height, width, channels]` and of floats once `input.adapt` has been there.
        call: images in the model's own scale and dtype → outputs by name; traceable.
        owner: what keeps the model's variables alive.
        pixels: the range of its input, one of `vocabulary.PIXELS`, if that is known from the model itself.
        endings: what an output ends in by its name, `softmax` or `sigmoid`, if a loop around the model hides it.
        assumptions: what was found out or assumed about the input that the model does not say, one sentence each.
    """

    name: str
    path: Path | None
    spec: tf.TensorSpec
    call: Callable[[tf.Tensor], Outputs]
    owner: object
    pixels: str = ""
    endings: Mapping[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


def named(outputs: Any, heads: Sequence[str] = ()) -> Outputs:
    """Returns outputs by name: their own, the names of the layers that they come from, or numbers."""
    if isinstance(outputs, Mapping):
        return outputs
    flat = tf.nest.flatten(outputs)
    names = heads if len(set(heads)) == len(flat) else [f"output_{index}" for index in range(len(flat))]
    return dict(zip(names, flat, strict=True))
