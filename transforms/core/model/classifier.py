"""A model → `Classifier`: raw pixels in, one output per class and one score per image out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.core.model.file import OpenedModel, load_resolved, open_model
from transforms.core.model.input import SCALINGS, input_size
from transforms.core.model.options import ModelOptions
from transforms.core.model.outputs import outputs_function
from transforms.core.model.passes.final_activation import final_activation
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.score import Score, on_tensors, score_function, to_probabilities
from transforms.core.model.task import task_of


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier that can be traced and differentiated.

    Attributes:
        input_shape: `(height, width, 3)` of one image.
        names: one name per class.
        digest: sha256 of the model's files, or of the graph and weights of a model in memory.
        size_bytes: their size.
        kind: what the outputs are: `logits`, `softmax`, `sigmoid` or `values`.
        outputs: float32 `[batch, height, width, 3]` in [0, 1] → float32 `[batch, classes]`; traceable. Arrays
            become tensors first.
        score: `(float32 outputs [batch, classes], int32 targets [batch])` → float32 `[batch]`; likewise.
        frozen: `outputs` as a frozen graph, or None where the model cannot be frozen.
        frozen_reason: why the model cannot be frozen; empty when it is.
        assumptions: what was found out or assumed about the model that its files do not say, one sentence each.
    """

    input_shape: tuple[int, int, int]
    names: tuple[str, ...]
    digest: str
    size_bytes: int
    kind: str
    outputs: Callable[[tf.Tensor], tf.Tensor]
    score: Score
    frozen: FrozenGraph | None
    frozen_reason: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """What the model decides, one of `vocabulary.TASKS`."""
        return task_of(self.kind, self.classes)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def to_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns `outputs`, float32 `[batch, classes]`, as probabilities; likewise."""
        return to_probabilities(outputs, self.kind)


def load(model: object, options: ModelOptions = ModelOptions()) -> Classifier:
    """Loads a model and makes it a classifier.

    Args:
        model: a TF-Hub `https://` handle, a local SavedModel folder or a local `.keras` file; or a model in memory: a
            Keras model, a loaded SavedModel, or a callable that TensorFlow can trace.
        options: what the function is; its class names in the order of the outputs, not a file's. One name fewer than
            outputs is taken as a list without the leading `background` class of TF-Hub's slim models; none numbers
            the classes.

    Raises:
        UnreadableError: the files cannot be loaded or called; a damaged copy of a handle has been downloaded again.
        UsageError: an option does not fit the model; the text names the option, its value and what is allowed.
        MemoryError: not even one image fits into the device's memory.
    """
    if options.class_names and isinstance(options.class_names, str):
        raise UsageError(f"class_names: {options.class_names!r:.80} is a file; expected a sequence of class names")

    def opened(path: object) -> Classifier:
        return _classifier(open_model(path, options.signature), options)

    return load_resolved(opened, os.fspath(model)) if isinstance(model, str | os.PathLike) else opened(model)


def _classifier(model: OpenedModel, options: ModelOptions) -> Classifier:
    """Returns the classifier of an opened model, which has been called with one image."""
    height, width = input_size(model.spec, options)
    outputs = on_tensors(outputs_function(model, SCALINGS[options.pixels], options.output_name), tf.float32)
    images = tf.TensorSpec([None, height, width, 3], tf.float32)
    concrete = tf.function(outputs, autograph=False).get_concrete_function(images)
    outputs(tf.zeros([1, height, width, 3]))  # tracing a SavedModel looks at no size inside
    activation, frozen, reason = _freeze(concrete)
    kind = (activation or "logits") if options.outputs == "auto" else options.outputs
    identity, size = _identity(model, concrete, frozen)
    return Classifier(
        input_shape=(height, width, 3),
        names=_names(options, concrete.outputs[0].shape[1]),
        digest=identity,
        size_bytes=size,
        kind=kind,
        outputs=outputs,
        score=score_function(options.score, kind),
        frozen=frozen,
        frozen_reason=reason,
    )


def _identity(
    model: OpenedModel, concrete: tf.types.experimental.ConcreteFunction, frozen: FrozenGraph | None
) -> tuple[str, int]:
    """Returns a model's digest and size: of its files, else of its graph and weights."""
    if model.path is not None:
        return digest.digest(model.path), digest.size(model.path)
    nodes = (frozen.graph if frozen else concrete.graph.as_graph_def()).node
    variables = () if frozen else concrete.variables
    parts = (node.SerializeToString(deterministic=True) for node in nodes)
    return digest.of_parts(itertools.chain(parts, (variable.numpy().tobytes() for variable in variables)))


def _freeze(concrete: tf.types.experimental.ConcreteFunction) -> tuple[str, FrozenGraph | None, str]:
    """Returns what the model ends in, and its frozen graph or the reason why it has none."""
    try:
        frozen = freeze(concrete)
    except NotApplicableError as refusal:
        return "", None, str(refusal)
    try:
        return final_activation(frozen), flatten(frozen), ""
    except NotApplicableError as refusal:
        return final_activation(frozen), None, str(refusal)


def _names(options: ModelOptions, classes: int) -> tuple[str, ...]:
    names = tuple(options.class_names)
    if not names:
        return tuple(f"class_{index}" for index in range(classes))
    if len(names) == classes - 1:
        return "background", *names
    if len(names) != classes:
        raise UsageError(f"class_names: {len(names)} class names for a model with {classes} outputs")
    return names
