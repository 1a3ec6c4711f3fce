"""explain and Attributor: explanations of pictures in a notebook, with a model from wherever it lies.

The same attributor as in the job; this door brings the model's files, class names and pictures of baselines, takes
pictures, labels and targets as people have them (`given`), and returns them as one object (`explanations`).
"""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms import worker
from transforms.core.errors import UsageError
from transforms.core.explain import attributor
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Failure
from transforms.explanations import Explanations
from transforms.given import Given

if TYPE_CHECKING:
    from tqdm import tqdm
    from typing_extensions import Self

PROGRESS_SECONDS = 2.0
"""A call that ends sooner shows no progress."""


class Attributor:
    """Explains images with one model, which is loaded and compiled once.

    >>> options = ModelOptions(input_size="4x4")
    >>> opened = Attributor.open(lambda images: 9 * images[:, 0, 0], model=options)
    >>> opened.explain(np.ones((1, 4, 4, 3)), targets=[2]).maps.shape
    (1, 4, 4, 3)
    """

    def __init__(self, engine: attributor.Attributor) -> None:
        """Takes the attributor of a loaded model; `open` makes one."""
        self._engine = engine

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

        def opened(path: object) -> attributor.Attributor:
            return attributor.Attributor.open(
                path, model=named, settings=settings, batch_size=batch_size, baseline_images=pictures
            )

        if isinstance(source, str | os.PathLike):
            return cls(worker.on_local_copy(os.fspath(source), opened))
        return cls(opened(source))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the model's classes, by class index."""
        return self._engine.classifier.names

    def explain(
        self,
        images: Any,
        labels: Any = None,
        *,
        targets: Any = None,
        value_range: tuple[float, float] | None = None,
        progress: bool = True,
    ) -> Explanations:
        """Returns the explanations of images; the arguments are those of `explain`.

        Raises:
            UsageError: a picture, a label or a target cannot be used; the text names its image.
            ValueError: an image has no finite attribution; the text names it.
        """
        engine = self._engine
        if targets is not None and engine.targets.none:
            raise UsageError("targets: what is explained has no classes, as settings.targets is 'none'; leave them out")
        given = Given(engine.classifier, engine.settings, value_range).decoded(images, labels, targets)
        explained = []
        with _bar(len(given), progress) as bar:
            for outcome in engine.attribute(given):
                if isinstance(outcome, Failure):
                    wrong = UsageError if outcome.stage == "label" else ValueError
                    raise wrong(f"image {outcome.image_id}: {outcome.message}")
                explained.append(outcome)
                bar.update()
        names, shape = engine.classifier.names, engine.classifier.input_shape
        return Explanations(tuple(explained), names, tuple(engine.baselines), shape)


def explain(
    model: object,
    images: Any,
    labels: Any = None,
    *,
    targets: Any = None,
    class_names: Sequence[str] | str | os.PathLike[str] | None = None,
    value_range: tuple[float, float] | None = None,
    options: ModelOptions | None = None,
    settings: Settings | None = None,
    progress: bool = True,
) -> Explanations:
    """Returns the explanations of images by a model opened for this call: `explain(model, images).plot()`.

    >>> def colors(images):
    ...     return 9 * images[:, 0, 0]
    >>> names, options = ["red", "green", "blue"], ModelOptions(input_size="4x4", score="logit")
    >>> explain(colors, np.ones((2, 4, 4, 3)), targets="blue", class_names=names, options=options).scores
    array([9., 9.])

    Args:
        model: as for `Attributor.open`, which keeps it for more calls: a Keras model, a callable, a path, a URI.
        images: array or tensor `[n, height, width, channels]` at the model's input size, or one image without the
            first axis; a list of these; files or encoded pictures, which are decoded and resized as in the job; or a
            `tf.data.Dataset` of images, or of (images, labels), batched or not.
        labels: what the images show, `[n]`: class indices or names, or one-hot rows. They are kept with the
            explanations, and explained with `Settings(targets="label")`.
        targets: the classes to explain, likewise; one index or name is for all images; None follows the settings.
        class_names: one name for each class, in the order of the outputs; or a file of them.
        value_range: the values that stand for black and white in arrays, such as (0, 255); None takes the range of the
            type: [0, 255] for uint8, [0, 1] for floats.
        options: what the function is.
        settings: how it is attributed.
        progress: whether a bar is shown, in notebooks and terminals, if this takes longer than two seconds.

    Raises:
        UsageError: an option, a picture, a label or a target cannot be used.
        ValueError: an image has no finite attribution; the text names it.
    """
    options = options or ModelOptions()
    if class_names is not None:
        if options.class_names:
            raise UsageError("class_names: given twice, also in options; give them once")
        names = os.fspath(class_names) if isinstance(class_names, str | os.PathLike) else tuple(class_names)
        options = dataclasses.replace(options, class_names=names)
    opened = Attributor.open(model, model=options, settings=settings or Settings())
    return opened.explain(images, labels, targets=targets, value_range=value_range, progress=progress)


def _bar(total: int, progress: bool) -> tqdm[Any]:
    """Returns a bar of progress over images; hidden if nobody looks, or if the call ends soon."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, a notebook gets the terminal's bar
        from tqdm.auto import tqdm
    seen = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, unit="image", disable=not (progress and seen), delay=PROGRESS_SECONDS, dynamic_ncols=True)
