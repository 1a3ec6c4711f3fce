"""Attributor and explain: explanations of arrays in a notebook, with a model from wherever it lies.

The same attributor as in the job; this door only brings the model's files, class names and pictures of baselines.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms import worker
from transforms.core.explain import attributor
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Explanation

if TYPE_CHECKING:
    from typing_extensions import Self


class Attributor(attributor.Attributor):
    """Explains images with one model, which is loaded and compiled once.

    >>> attributor = Attributor.open(lambda images: 9 * images[:, 0, 0], model=ModelOptions(input_size="4x4"))
    >>> attributor.explain(np.ones((1, 4, 4, 3)), [2])[0].attributions[0].values.shape
    (4, 4, 3)
    """

    @classmethod
    def open(
        cls,
        source: object,
        *,
        model: ModelOptions = ModelOptions(),
        settings: Settings = Settings(),
        batch_size: int = 0,
        baseline_images: Sequence[np.ndarray | bytes] = (),
    ) -> Self:
        """Returns the attributor of a model: `Attributor.open("models/approved", model=ModelOptions(pixels="signed"))`.

        Args:
            source: a TF-Hub handle, a SavedModel folder or a Keras file, by path or URI; or a model in memory: a
                Keras model, a loaded SavedModel, or a callable that TensorFlow can trace.
            model: what the function is; its class names, or the path or URI of a file with one a line.
            settings: how it is attributed.
            batch_size: steps in one model call, from 1 to 4096; 0 takes what is fastest on this device.
            baseline_images: one for each `image:` baseline, in place of what lies at its URI: float
                `[height, width, channels]` in [0, 1] or uint8, at the model's input size; or an encoded picture.

        Raises:
            UsageError: a file cannot be read, an option does not fit the model, or is for stored runs alone.
            MemoryError: a batch of one does not fit into the device's memory.
        """
        named = worker.with_names(model)
        pictures = baseline_images or worker.baseline_images(settings.baseline, settings.decoding(0))
        opened = functools.partial(
            super().open, model=named, settings=settings, batch_size=batch_size, baseline_images=pictures
        )
        return (
            worker.on_local_copy(os.fspath(source), opened) if isinstance(source, str | os.PathLike) else opened(source)
        )


def explain(
    model: object,
    images: Any,
    targets: Any = None,
    *,
    options: ModelOptions | None = None,
    settings: Settings | None = None,
) -> list[Explanation]:
    """Returns the explanations of arrays by a model opened for this call: `explain(model, images)[0].predictions`.

    Args:
        model: as for `Attributor.open`, which keeps it for more calls.
        images: array or tensor `[n, height, width, channels]` at the model's input size, float in [0, 1] or uint8; or a
            `tf.data.Dataset` of such images, or of (images, targets), batched.
        targets: class indices `[n]` or one-hot rows `[n, classes]`; None follows the settings.
        options: what the function is.
        settings: how it is attributed.

    Raises:
        UsageError: an option cannot be used.
        ValueError: shapes, values or targets do not fit the model; or an image has no finite attribution.
    """
    opened = Attributor.open(model, model=options or ModelOptions(), settings=settings or Settings())
    return opened.explain(images, targets)
