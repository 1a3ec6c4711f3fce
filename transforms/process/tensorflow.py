"""The import of TensorFlow, first and quietly."""

from __future__ import annotations

import os

from transforms.process import memory


def import_tensorflow() -> None:
    """Imports TensorFlow without its startup messages, some of which no setting silences; keeps freed memory."""
    memory.keep_freed()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with open(os.devnull, "wb") as nowhere:
        errors = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            import tensorflow  # noqa: F401
        finally:
            os.dup2(errors, 2)
            os.close(errors)
