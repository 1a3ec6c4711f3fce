"""A model → `Classifier`: raw pixels in, one output per class and one score per image out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.core.model.evidence import Evidence, examine
from transforms.core.model.evidence_cache import keep, recall
from transforms.core.model.explained import Traced, choose_explained, flattened
from transforms.core.model.facts import ModelFacts, facts_of
from transforms.core.model.file import OpenedModel, load_resolved, open_model
from transforms.core.model.input import ModelInput, adapt
from transforms.core.model.kept import Kept
from transforms.core.model.kind import check_agrees
from transforms.core.model.names import class_names
from transforms.core.model.options import ModelOptions
from transforms.core.model.outputs import Packing, outputs_function
from transforms.core.model.passes.freeze import freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.input_scale import input_scale
from transforms.core.model.passes.logits import ending
from transforms.core.model.score import Score, on_tensors, score_function, to_probabilities, two_columns


@dataclass(frozen=True, eq=False)
class Classifier:
    """An image classifier that can be traced and differentiated.

    Attributes:
        input_shape: `(height, width, channels)` of one image.
        names: one name per class.
        digest: sha256 of the model's files, or of the graph and weights of a model in memory.
        size_bytes: their size.
        kind: what the outputs are: `logits`, `softmax`, `sigmoid` or `values`.
        task: what the model decides, one of `vocabulary.TASKS`.
        outputs: float32 `[batch, height, width, channels]` in [0, 1] → float32 `[batch, classes]`; traceable. Arrays
            become tensors first. A single logit or sigmoid comes as two columns, those of both classes.
        explained: the same to what the score is made of, float32 `[batch, …]`: `outputs` itself, the logits before
            them, or a layer; traceable.
        outputs_of: what `explained` gives → the outputs; None if only the model itself can compute them.
        by_class: whether what is explained has one number for each class.
        score: `(what explained gives, int32 targets [batch])` → float32 `[batch]`; likewise.
        frozen: `explained` as a frozen graph, or None where the model cannot be frozen.
        evidence: what the model's outputs for fixed pictures showed.
        facts: what follows from that, and what was assumed.
        frozen_reason: why the model cannot be frozen; empty when it is.
        label_offset: what is added to a label that is a number.
        pixels: the range of its input, one of `vocabulary.PIXELS`.
        kept: what of it lies in a cache, if anything.
    """

    input_shape: tuple[int, int, int]
    names: tuple[str, ...]
    digest: str
    size_bytes: int
    kind: str
    task: str
    outputs: Callable[[tf.Tensor], tf.Tensor]
    explained: Callable[[tf.Tensor], tf.Tensor]
    outputs_of: Callable[[tf.Tensor], tf.Tensor] | None
    by_class: bool
    score: Score
    frozen: FrozenGraph | None
    evidence: Evidence
    facts: ModelFacts
    frozen_reason: str = ""
    label_offset: int = 0
    pixels: str = "unit"
    kept: Kept | None = None

    @property
    def explains_outputs(self) -> bool:
        """Whether what is explained is the outputs themselves."""
        return self.outputs_of is tf.identity

    def check(self, outputs: np.ndarray) -> None:
        """Checks `outputs` of real images, float32 `[n, classes]`, against what they were found to be.

        Raises:
            UsageError: they cannot be that.
        """
        check_agrees(outputs, self.kind)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def to_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns `outputs`, float32 `[batch, classes]`, as probabilities; `values` as they are. Likewise."""
        return to_probabilities(outputs, self.kind, self.task)


@dataclass(frozen=True, eq=False)
class Parts:
    """What a classifier was made of, as far as another can be made of it without the model.

    Attributes:
        explained: what the numbers are of which the score is made, as `Classifier.kind`.
        packing: how several outputs are packed into one row; None if there is one.
        whole: the model up to its last operation as a frozen graph, which need not be flat; None if there is none.
    """

    explained: str
    packing: Packing | None
    whole: FrozenGraph | None


def load(model: object, options: ModelOptions = ModelOptions()) -> Classifier:
    """Loads a model and makes it a classifier.

    Args:
        model: a TF-Hub `https://` handle, a local SavedModel folder or a local Keras file; or a model in memory: a
            Keras model, a loaded SavedModel, or a callable that TensorFlow can trace.
        options: what the function is; its class names in the order of the outputs, not a file's; none numbers the
            classes. For 1,001 outputs, 1,000 names are taken as a list without the leading `background` class of
            TF-Hub's slim models; of other models, `background` says so.

    Raises:
        UnreadableError: the files cannot be loaded or called; a damaged copy of a handle has been downloaded again.
        UsageError: an option does not fit the model; the text names the option, its value and what is allowed.
        MemoryError: not even one image fits into the device's memory.
    """
    if options.class_names and isinstance(options.class_names, str):
        raise UsageError(f"class_names: {options.class_names!r:.80} is a file; expected a sequence of class names")

    def opened(path: object) -> Classifier:
        return _classifier(open_model(path, options), options)[0]

    return load_resolved(opened, os.fspath(model)) if isinstance(model, str | os.PathLike) else opened(model)


def load_parts(path: str, options: ModelOptions) -> tuple[Classifier, Parts]:
    """Loads the model at a local path and makes it a classifier; arguments and errors are those of `load`."""
    return _classifier(open_model(path, options), options)


def _classifier(model: OpenedModel, options: ModelOptions) -> tuple[Classifier, Parts]:
    """Returns the classifier of an opened model, which has been called with one image, and what it was made of."""
    fed, operator = adapt(model, options), ":" in options.score
    shape = fed.shape
    function = outputs_function(fed.model, fed.scale, options.output_name, any_shape=operator)
    outputs = on_tensors(function, tf.float32)
    images = tf.TensorSpec([None, *shape], tf.float32)
    concrete = tf.function(outputs, autograph=False).get_concrete_function(images)
    outputs(tf.zeros([1, *shape]))  # tracing a SavedModel looks at no size inside
    packing = Packing(concrete.structured_outputs) if isinstance(concrete.structured_outputs, dict) else None
    if packing:
        outputs = _then(outputs, packing.pack)
        concrete = tf.function(outputs, autograph=False).get_concrete_function(images)
    whole, reason = _frozen(concrete)
    identity, size = _identity(model, concrete, whole)
    evidence = recall(identity, options) if model.path else None
    if evidence is None:
        dense = packing is not None or concrete.outputs[0].shape.rank != 2
        evidence = _examine(concrete, fed, whole, dense, _ending(fed.model, options.output_name))
        if model.path:
            keep(identity, options, evidence)
    facts = facts_of(evidence, options)
    kind, task = facts.outputs, facts.task
    if task == "binary":
        outputs = _then(outputs, functools.partial(two_columns, kind=kind))
    traced = Traced(model.owner, function, outputs, images, whole, reason, kind, task, evidence.count)
    explained = choose_explained(traced, options)
    made = Classifier(
        input_shape=shape,
        names=class_names(options, evidence.count, task)[0],
        digest=identity,
        size_bytes=size,
        kind=kind,
        task=task,
        outputs=outputs,
        explained=explained.function,
        outputs_of=explained.outputs_of,
        by_class=explained.by_class,
        score=score_function(options.score, explained.kind, task, packing),
        frozen=explained.frozen,
        evidence=evidence,
        facts=facts,
        frozen_reason=explained.frozen_reason,
        label_offset=options.label_offset,
        pixels=fed.pixels,
    )
    return made, Parts(explained.kind, packing, whole)


def _examine(
    concrete: tf.types.experimental.ConcreteFunction,
    fed: ModelInput,
    whole: FrozenGraph | None,
    dense: bool,
    hidden: str,
) -> Evidence:
    """Returns what a model's outputs for fixed pictures show, of which a loop may hide the activation.

    Raises:
        MemoryError: they do not fit into the device's memory.
    """
    flat = flattened(whole)[0] if whole else None
    scale = input_scale(flat, fed.shape) if flat else 0.0
    last = ending(whole).kind if whole else ""
    activation = last if last in ("softmax", "sigmoid") else hidden

    def call(pictures: np.ndarray) -> np.ndarray:
        try:
            return concrete(tf.constant(pictures)).numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(str(error)) from error

    found = examine(call, fed.shape, activation, dense, _tolerance(concrete.outputs[0]), scale)
    return dataclasses.replace(found, pixels=fed.pixels, assumptions=fed.assumptions)


def _tolerance(outputs: tf.Tensor) -> float:
    """Returns how far rounding moves a sum of probabilities of the type that the model puts out."""
    operation = outputs.op
    while operation.type in ("Identity", "Reshape"):
        operation = operation.inputs[0].op
    kind = operation.inputs[0].dtype if operation.type == "Cast" else outputs.dtype
    return {tf.bfloat16: 2e-2, tf.float16: 2e-3}.get(kind, 1e-3)


def _then(first: Callable[[tf.Tensor], tf.Tensor], second: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., Any]:
    return lambda values: second(first(values))


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


def _frozen(concrete: tf.types.experimental.ConcreteFunction) -> tuple[FrozenGraph | None, str]:
    """Returns a model's frozen graph, which need not be flat, or the reason why it has none."""
    try:
        return freeze(concrete), ""
    except NotApplicableError as refusal:
        return None, str(refusal)


def _ending(model: OpenedModel, name: str) -> str:
    """Returns what the output of that name, or the only one, ends in; empty if that is not known."""
    return model.endings.get(name or next(iter(model.endings), ""), "")
