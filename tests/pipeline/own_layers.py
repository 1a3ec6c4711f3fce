"""A layer and a function that a Keras file needs, named by the tests as a user's would be."""

from __future__ import annotations

from typing import Any

import keras


class Scale(keras.layers.Layer):
    """Scales pixels to [-1, 1]."""

    def call(self, images: Any) -> Any:
        return images * 2.0 - 1.0


def bent(values: Any) -> Any:
    return keras.ops.softplus(values)
