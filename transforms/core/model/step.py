"""A classifier → the compiled gradient step: one score's gradient along straight paths, in full batches.

The step does what no library call does at once: it interpolates in the graph, so that only the ends
of each path cross into TensorFlow; differentiates the score with respect to the interpolated points
alone; and sums the weighted gradients per segment in the graph, so that memory does not grow with the
number of steps. One shape, one trace: functions that are traced again are never freed.

Where the model's first layers are affine, the *path space* is their output: a straight path of images
is a straight path there too. `enter` takes images into path space, `leave` takes a gradient back by
the transpose of the same layers, both once per image instead of once per step.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
import tensorflow as tf

from transforms.core.cpus import usable_cpus
from transforms.core.model.classifier import Classifier
from transforms.core.model.passes.batch_norm import fold_batch_norm
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.half import halve
from transforms.core.model.passes.pointwise import mark_pointwise
from transforms.core.model.passes.simplify import simplify
from transforms.core.model.passes.stem import Stem, cut_stem
from transforms.core.model.passes.sums import keep_sums_apart
from transforms.core.model.sharing import without_shared_sums
from transforms.core.model.step_batch import StepBatch, StepResult
from transforms.core.model.stored_graphs import Graphs, StoredGraphs, graph_digest

_REWRITES: dict[str, Callable[[FrozenGraph], FrozenGraph]] = {
    "simplify": simplify,
    "fold_batch_norm": fold_batch_norm,
    "pointwise_gradients": mark_pointwise,
}

ALL = ("freeze", *_REWRITES, "cut_stem")
"""The passes, in the order in which they run."""

T = TypeVar("T")

_HALVES = {"half_precision": tf.float16, "bfloat16": tf.bfloat16}
_LOSS_SCALES = {tf.float16: 1024.0}
"""float16 would lose small gradients; bfloat16 has the range of float32."""
_NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class PassReport:
    """Whether a pass was applied, and the reason where it was not."""

    name: str
    applied: bool
    reason: str = ""


@dataclass(frozen=True)
class Route:
    """The way from images through path space to outputs, as traceable functions.

    Attributes:
        point_shape: shape of one point in path space.
        explained: points `[n, ...point_shape]` → what the score is made of, float32 `[n, …]`.
        enter: images `[n, height, width, channels]` → points; None where path space is that of images.
        leave: gradients at points → gradients of raw pixels; None likewise.
        halved: makes the same way in float16 or bfloat16; None where there is no graph to do it on.
        fuse: whether TensorFlow may fuse its layers when threads share it.
        loss_scale: factor on the score while it is differentiated, so that float16 holds small gradients.
        graphs: what the functions compute; None where there is no graph.
        recalled: whether an earlier start made the graphs.
        asked: the passes that were asked for.
    """

    point_shape: tuple[int, ...]
    explained: Callable[[tf.Tensor], tf.Tensor]
    enter: Callable[[tf.Tensor], tf.Tensor] | None = None
    leave: Callable[[tf.Tensor], tf.Tensor] | None = None
    halved: Callable[[tf.DType], Route] | None = None
    fuse: bool = True
    loss_scale: float = 1.0
    graphs: Graphs | None = None
    recalled: bool = False
    asked: tuple[str, ...] = ()


class CompiledStep:
    """The gradient step of one classifier at one batch size; threads may share it.

    Attributes:
        batch: number of steps in one call of `run`.
        report: one entry per pass.
    """

    def __init__(
        self, classifier: Classifier, batch: int, route: Route, report: tuple[PassReport, ...], xla: bool = False
    ) -> None:
        self.batch = batch
        self.report = report
        self._classifier = classifier
        self._route = route
        self._xla = xla
        self._enter = _Once(lambda: _traced(route.enter, classifier.input_shape))
        self._leave = _Once(lambda: _traced(route.leave, route.point_shape))
        self._explained = _Once(lambda: _trace_explained(classifier, route, batch))
        self._outputs = _Once(lambda: _trace_outputs(classifier, batch, self._explained()))
        self._step = _trace_step(classifier, route, batch, xla)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, (height, width, channels)."""
        return self._classifier.input_shape

    @property
    def path_shape(self) -> tuple[int, ...]:
        """Shape of one point in path space."""
        return self._route.point_shape

    @property
    def is_cut(self) -> bool:
        """Whether path space is another than that of images."""
        return self._route.leave is not None

    def with_batch(self, batch: int) -> CompiledStep:
        """Returns the same step at another batch size, without running the passes again."""
        return CompiledStep(self._classifier, batch, self._route, self.report, self._xla)

    def with_graph(self, rewrite: Callable[[FrozenGraph], FrozenGraph]) -> CompiledStep:
        """Returns the step of another graph, of which the affine stem remains what it is.

        Args:
            rewrite: takes the graph behind the stem to another one with the same input.

        Raises:
            NotApplicableError: there is no graph, or `rewrite` refuses it.
        """
        graphs = self._route.graphs
        if graphs is None:
            raise NotApplicableError("the model could not be frozen")
        changed = replace(graphs, tail=rewrite(graphs.tail)) if isinstance(graphs, Stem) else rewrite(graphs)
        route = replace(_route_of(changed, self.image_shape, self._route.fuse), loss_scale=self._route.loss_scale)
        return CompiledStep(self._classifier, self.batch, route, self.report, self._xla)

    @functools.cached_property
    def graph(self) -> str:
        """The sha256 of the graph that is differentiated, in hex; empty where there is none."""
        return graph_digest(self._route.graphs) if self._route.graphs is not None else ""

    @property
    def recalled(self) -> bool:
        """Whether an earlier start made its graph."""
        return self._route.recalled

    def keep(self) -> str:
        """Keeps the graph where the classifier is kept, for the next start; returns why that cannot be done."""
        kept, graphs = self._classifier.kept, self._route.graphs
        if kept is None or graphs is None:
            return "there is no graph"
        reasons = {entry.name: entry.reason for entry in self.report if not entry.applied}
        return kept.keep_graphs(self._route.asked, _device(), StoredGraphs(graphs, self._route.fuse, reasons))

    def with_report(self, entry: PassReport) -> CompiledStep:
        """Returns the same step with one more entry in its report; both share what is traced."""
        step = copy.copy(self)
        step.report = (*self.report, entry)
        return step

    def with_reason(self, name: str, reason: str) -> CompiledStep:
        """Returns the same step with another reason for a pass that was left out; both share what is traced."""
        step = copy.copy(self)
        step.report = tuple(PassReport(name, False, reason) if each.name == name else each for each in self.report)
        return step

    def accelerated(self, name: str) -> CompiledStep:
        """Returns the same step with one of the accelerations that `accelerate` tries.

        Raises:
            NotApplicableError: this step cannot have it.
            ValueError: there is no such acceleration.
        """
        if name == "xla":
            return CompiledStep(self._classifier, self.batch, self._route, self.report, xla=True)
        if name not in _HALVES:
            raise ValueError(f"acceleration={name}: allowed are {', '.join(_HALVES)}, xla")
        if self._route.halved is None:
            raise NotApplicableError("the model could not be frozen")
        return CompiledStep(self._classifier, self.batch, self._route.halved(_HALVES[name]), self.report, self._xla)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's raw outputs, float32 `[n, classes]`.

        Args:
            images: float32 `[n, height, width, channels]` in [0, 1], n at most `batch`.

        Raises:
            MemoryError: a batch does not fit into the device's memory.
        """
        return self._in_batch(self._outputs(), images)

    def explained(self, images: np.ndarray) -> np.ndarray:
        """Returns what the score is made of, float32 `[n, …]`: the raw outputs, logits before them, or a layer.

        Args:
            images: float32 `[n, height, width, 3]` in [0, 1], n at most `batch`.

        Raises:
            MemoryError: a batch does not fit into the device's memory.
        """
        return self._in_batch(self._explained(), images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 `[n, classes]`, of at most `batch` images `[n, height, width, channels]`."""
        return np.asarray(self._classifier.to_probabilities(self.outputs(images)))

    def enter(self, images: np.ndarray) -> np.ndarray:
        """Returns where images `[n, height, width, channels]` lie in path space, `[n, ...path space]`.

        Raises:
            MemoryError: they do not fit into the device's memory.
        """
        return _apply(self._enter(), images)

    def place(self, point: np.ndarray) -> tf.Tensor:
        """Returns a point of path space `[...path space]` where steps run: of many steps, only the first copies it.

        Raises:
            MemoryError: it does not fit into the device's memory.
        """
        with _calls():
            return _placed(point)

    def leave(self, gradients: np.ndarray) -> np.ndarray:
        """Returns gradients in path space `[n, ...path space]` as gradients of raw pixels.

        Raises:
            MemoryError: they do not fit into the device's memory.
        """
        return _apply(self._leave(), gradients)

    def run(self, batch: StepBatch) -> StepResult:
        """Evaluates the gradients of `batch`, as many as `self.batch`.

        Raises:
            MemoryError: a batch does not fit into the device's memory.
        """
        with _calls(self._route.fuse):
            starts, ends = ([_placed(point) for point in points] for points in (batch.starts, batch.ends))
            sums, scores, slopes = self._step(
                *(points[slot] for points in (starts, ends) for slot in batch.slots),
                tf.constant(batch.alphas, tf.float32),
                tf.constant(batch.weights, tf.float32),
                tf.constant(batch.targets, tf.int32),
                tf.constant(batch.segments, tf.int32),
            )
            return StepResult(np.asarray(sums)[: batch.sums], scores.numpy(), slopes.numpy())

    def _in_batch(self, function: Callable[..., Any], images: np.ndarray) -> np.ndarray:
        count = len(images)
        padding = [(0, self.batch - count), (0, 0), (0, 0), (0, 0)]
        with _calls(self._route.fuse):
            return function(tf.constant(np.pad(images, padding), tf.float32)).numpy()[:count]


def compile_step(
    classifier: Classifier, batch: int, passes: Sequence[str] = ALL, left_out: Mapping[str, str] = MappingProxyType({})
) -> CompiledStep:
    """Compiles the gradient step of a classifier.

    A pass that cannot do its work is left out, with its reason in the step's report.

    Args:
        classifier: the loaded model.
        batch: number of steps in one model call.
        passes: names out of `ALL`; what is left out is not tried. All others need `freeze`.
        left_out: why, for the report, by name.

    Raises:
        ValueError: `passes` names an unknown pass, or the score cannot be differentiated.
    """
    if unknown := sorted(set(passes) - set(ALL)):
        raise ValueError(f"passes={','.join(unknown)}: allowed are {', '.join(ALL)}")
    asked = tuple(name for name in ALL if name in passes)
    stored = classifier.kept.graphs(asked, _device()) if classifier.kept else None
    if stored:
        route = replace(_route_of(stored.graphs, classifier.input_shape, stored.fuse), recalled=True)
        reasons = dict(stored.reasons)
    else:
        route, reasons = _compile(classifier, passes)
    reasons |= {name: reason for name, reason in left_out.items() if name not in passes}
    report = tuple(PassReport(name, name not in reasons, reasons.get(name, "")) for name in ALL)
    return CompiledStep(classifier, batch, replace(route, asked=asked), report)


def device_name() -> tuple[str, str]:
    """Returns the kind of device that steps run on, `GPU` or `CPU`, and what tells its model from others."""
    if gpus := tf.config.list_physical_devices("GPU"):
        return "GPU", str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    return "CPU", f"{platform.node()} {platform.machine()} {usable_cpus()}"


def _device() -> str:
    """Returns what tells devices apart for which graphs are kept: their kind, and of GPUs the model."""
    kind, name = device_name()
    return f"{kind} {name}" if kind == "GPU" else kind


@contextlib.contextmanager
def _calls(fuse: bool = True) -> Iterator[None]:
    """Lets threads share functions, and turns TensorFlow's out-of-memory error into Python's."""
    try:
        with without_shared_sums(fuse):
            yield
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(str(error)) from error


def _apply(function: Callable[..., Any] | None, values: np.ndarray) -> np.ndarray:
    """Returns what a traced function makes of `values`; these themselves where there is none."""
    if function is None:
        return values
    with _calls():
        return function(tf.constant(values, tf.float32)).numpy()


def _placed(point: np.ndarray | tf.Tensor) -> tf.Tensor:
    return point if tf.is_tensor(point) else tf.constant(point, tf.float32)


def _compile(classifier: Classifier, passes: Sequence[str]) -> tuple[Route, dict[str, str]]:
    """Returns the route that the passes make, and the reasons of those that made nothing."""
    reasons = {name: _NOT_ASKED for name in ALL if name not in passes}
    if classifier.frozen is None or "freeze" in reasons:
        reason = classifier.frozen_reason or reasons["freeze"]
        return Route(classifier.input_shape, classifier.explained, fuse=False), dict.fromkeys(ALL, reason)
    graph = classifier.frozen
    for name, rewrite in _REWRITES.items():
        if name not in reasons:
            try:
                graph = rewrite(graph)
            except NotApplicableError as refusal:
                reasons[name] = str(refusal)
    try:
        graph, fuse = keep_sums_apart(graph), True
    except NotApplicableError:
        fuse = False
    if "cut_stem" not in reasons:
        try:
            return _route_of(cut_stem(graph, classifier.input_shape), classifier.input_shape, fuse), reasons
        except NotApplicableError as refusal:
            reasons["cut_stem"] = str(refusal)
    return _route_of(graph, classifier.input_shape, fuse), reasons


def _route_of(graphs: Graphs, shape: tuple[int, ...], fuse: bool) -> Route:
    """Returns the route by a graph of images of a shape, which may be cut."""

    def halved(kind: tf.DType) -> Route:
        half = replace(graphs, tail=halve(graphs.tail, kind)) if isinstance(graphs, Stem) else halve(graphs, kind)
        return replace(_route_of(half, shape, fuse), loss_scale=_LOSS_SCALES.get(kind, 1.0))

    if isinstance(graphs, Stem):
        ways = graphs.point_shape, graphs.outputs, graphs.enter, graphs.leave
        return Route(*ways, halved=halved, fuse=fuse, graphs=graphs)
    return Route(shape, graphs, halved=halved, fuse=fuse, graphs=graphs)


class _Once(Generic[T]):
    """What a function makes, when it is first needed, once for all threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        """Returns what was made."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


def _traced(function: Callable[[tf.Tensor], tf.Tensor] | None, shape: tuple[int, ...]) -> Callable[..., Any] | None:
    """Returns a function of float32 `[n, ...shape]` traced once for every n."""
    if function is None:
        return None
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([None, *shape], tf.float32))


def _trace_explained(classifier: Classifier, route: Route, batch: int) -> Callable[..., Any]:
    def explained(images: tf.Tensor) -> tf.Tensor:
        return route.explained(route.enter(images) if route.enter else images)

    images = tf.TensorSpec([batch, *classifier.input_shape], tf.float32)
    return tf.function(explained, autograph=False).get_concrete_function(images)


def _trace_outputs(classifier: Classifier, batch: int, explained: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the traced function from images to outputs, which is that of what is explained if they are the same."""
    if classifier.explains_outputs:
        return explained

    def outputs(images: tf.Tensor) -> tf.Tensor:
        return classifier.outputs_of(explained(images)) if classifier.outputs_of else classifier.outputs(images)

    images = tf.TensorSpec([batch, *classifier.input_shape], tf.float32)
    return tf.function(outputs, autograph=False).get_concrete_function(images)


def _trace_step(classifier: Classifier, route: Route, batch: int, xla: bool) -> Callable[..., Any]:
    def step(*inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        start = tf.stack(inputs[:batch])
        direction = tf.stack(inputs[batch : 2 * batch]) - start
        alphas, weights, targets, segments = inputs[2 * batch :]
        points = start + _per_point(alphas, start) * direction
        scores = classifier.score(route.explained(points), targets)
        scaled = scores if route.loss_scale == 1 else scores * route.loss_scale
        (gradients,) = tf.gradients(scaled, points)
        gradients = gradients if route.loss_scale == 1 else gradients / route.loss_scale
        slopes = tf.reduce_sum(gradients * direction, axis=list(range(1, gradients.shape.rank)))
        weighted = gradients * _per_point(weights, gradients)
        count = batch if xla else tf.reduce_max(segments) + 1
        return tf.math.unsorted_segment_sum(weighted, segments, count), scores, slopes

    point = tf.TensorSpec(route.point_shape, tf.float32)
    floats, integers = (tf.TensorSpec([batch], kind) for kind in (tf.float32, tf.int32))
    return tf.function(step, autograph=False, jit_compile=xla or None).get_concrete_function(
        *[point] * (2 * batch), floats, floats, integers, integers
    )


def _per_point(numbers: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Returns `numbers` `[batch]` shaped to multiply `points` `[batch, ...]`."""
    return tf.reshape(numbers, [-1] + [1] * (points.shape.rank - 1))
