"""The import of TensorFlow, first, quietly and without Keras."""

from __future__ import annotations

import os
import sys

from transforms.process import memory
from transforms.process.imports import lean_imports

_LEFT_OUT = ("keras", "pandas", "scipy")
"""Keras, in 2 of 5 seconds, is imported so that SavedModels find its optimizers: that is done where models are opened,
which the known ones are not. The others are for Keras of old, if they are there."""


def import_tensorflow() -> None:
    """Imports TensorFlow without its startup messages, some of which no setting silences; keeps freed memory."""
    memory.keep_freed()
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with open(os.devnull, "wb") as nowhere:
        errors = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            with lean_imports(*_LEFT_OUT):
                import tensorflow  # noqa: F401
        finally:
            os.dup2(errors, 2)
            os.close(errors)
