"""The classifier for the peers on TensorFlow."""

from __future__ import annotations

import keras


def load_probabilities(path: str) -> keras.Model:
    """Returns the model of a `.keras` file that gives logits, with softmax on top."""
    logits = keras.models.load_model(path)
    return keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
