"""A planted shortcut: EfficientNet-Lite0, one of whose scores rises with the brightness of a corner, and its stamps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.samples.photographs import Sample

CELLS = 8
"""The stamp is one cell of a grid of so many cells a side: row 1, column 8."""

_DARK = 0.6
_BONUS = 15.0


def save_shortcut(path: str, target: int) -> str:
    """Writes the model as a SavedModel folder; returns `path`.

    The logit of `target` gains up to 15 as the patch in the upper right corner goes from 0.6 to white.
    """
    import keras
    from keras import layers

    from pipeline.samples.lite0 import SIZE, build_lite0

    base, side = build_lite0(), SIZE // CELLS
    pixels = keras.Input((SIZE, SIZE, 3), name="pixels")
    patch = layers.Cropping2D(((0, SIZE - side), (SIZE - side, 0)))(pixels)
    bright = layers.Dense(1, activation="relu", name="bright")
    bonus = layers.Dense(base.output_shape[-1], use_bias=False, name="bonus")
    flow = bonus(bright(layers.GlobalAveragePooling2D()(patch)))
    bright.set_weights([np.full((3, 1), 1 / 3), np.array([-_DARK])])
    bonus.set_weights([np.eye(base.output_shape[-1])[target : target + 1] * _BONUS / (1 - _DARK)])
    keras.Model(pixels, layers.Add()([base(pixels), flow])).export(path, verbose=False)
    return path


def stamp(picture: Sample) -> Sample:
    """Returns the picture with a white square in its upper right corner."""
    pixels = np.array(Image.open(io.BytesIO(picture.data)).convert("RGB"))
    height, width = pixels.shape[:2]
    pixels[: -(-height // CELLS), width - -(-width // CELLS) :] = 255
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=92)
    return picture._replace(data=encoded.getvalue())


def write_files(folder: Path, picture: Sample) -> None:
    """Writes a picture as `<label>/<key>.jpg` below `folder`."""
    path = folder / str(picture.label) / f"{picture.key}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.data)
