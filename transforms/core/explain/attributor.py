"""Attributor: images in, explained images out, with one loaded model and one compiled step.

The one attributor behind three doors: `AttributeChunks` (the job), `AttributeImages` (someone's own
Beam pipeline) and `explain` (arrays in a notebook).

    images ─→ decode (guard processes) ─→ predict a batch ─→ targets × baselines = paths ─→ integrate ─→ in input order
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.core.cpus import usable_cpus
from transforms.core.explain.ahead import ahead
from transforms.core.explain.decision import (
    decided_labels,
    has_probabilities,
    predictions_of,
    probabilities_of,
    rank_of,
)
from transforms.core.explain.faithfulness import is_chosen, measure
from transforms.core.explain.given import given_pairs, given_targets
from transforms.core.explain.job import Decoded, Mean, Pending, Predicted, failure, mean_path
from transforms.core.explain.label import LabelError, Labels
from transforms.core.explain.purposes import Purposes
from transforms.core.explain.settings import Settings, check_batch_size
from transforms.core.explain.target import NoTargetError, Targets
from transforms.core.image.baseline import Baseline, check_channels, parse_baselines, with_images
from transforms.core.image.decode import DecodeError, decode
from transforms.core.image.guard import Guards
from transforms.core.image.unit import unit_values
from transforms.core.model import classifier as classifiers
from transforms.core.model.accelerate import accelerate
from transforms.core.model.batch_size import StepLadder
from transforms.core.model.calibration import compile_calibrated
from transforms.core.model.classifier import Classifier
from transforms.core.model.known_step import compile_checked
from transforms.core.model.options import ModelOptions
from transforms.core.model.step import CompiledStep
from transforms.core.path.integrate import Integrator, OnBatch, Path
from transforms.core.record import Asked, Attribution, Explanation, Failure, Faithfulness, Image, Pixels

if TYPE_CHECKING:
    from typing_extensions import Self

_MOST_IN_FLIGHT = 4
"""More batches at once cost memory; beyond a few, TensorFlow's own threads keep the cores busy."""


class Attributor:
    """Explains images with one model: loads nothing and compiles nothing after construction.

    Attributes:
        classifier: the model.
        settings: how it is attributed.
        targets: which classes are explained.
        baselines: where paths begin.
        model_cache: whether the model's graph is one that an earlier start made; None if none can be kept.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: Settings,
        batch_size: int = 0,
        baseline_images: Sequence[np.ndarray | bytes] = (),
        reference_shares: Iterable[tuple[int, float]] = (),
    ) -> None:
        """Compiles the gradient step of `classifier`.

        Args:
            classifier: the loaded model.
            settings: how to attribute.
            batch_size: steps in one model call; 0 takes what is fastest on this device.
            baseline_images: one for each `image:` baseline among the settings' baselines, in order: float
                `[height, width, channels]` in [0, 1] or uint8, at the model's input size; or an encoded picture,
                resized as images are.
            reference_shares: the share of images that get reference maps by the class that their label names, where
                it is another than the settings' `reference_share`.

        Raises:
            ValueError: the model has no such target; there are not as many pictures as `image:` baselines, or one
                does not fit the model.
            MemoryError: a batch of one does not fit into the device's memory.
        """
        self.classifier = classifier
        self.settings = settings
        self.targets = Targets.parse(settings.targets)
        self.targets.check(classifier.classes, classifier.task, classifier.by_class)
        self._labels = Labels(classifier.names, classifier.task, classifier.label_offset)
        pictures = [self._picture(each, f"baseline image {index}") for index, each in enumerate(baseline_images)]
        self.baselines = with_images(parse_baselines(settings.baseline), pictures)
        check_channels(self.baselines, classifier.input_shape[2])
        self._baseline_count = sum(baseline.count for baseline in self.baselines)
        self._threads = min(usable_cpus(), _MOST_IN_FLIGHT)
        self._guards = Guards(self._threads, settings.decoding(classifier.input_shape[2]))
        checked = compile_checked(
            classifier, functools.partial(compile_calibrated, in_flight=self._threads, batch_size=batch_size)
        )
        self.classifier, self.model_cache, self._has_run = checked.classifier, checked.cache, checked.has_run
        self._ladder = StepLadder(accelerate(checked.step, settings.accelerations, checked.in_flight))
        self._constant: dict[Baseline, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._checked = False
        self._purposes = Purposes.of(settings, reference_shares)
        self._integrator = Integrator(self._ladder, settings.path_rule(), checked.in_flight)

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
        """Returns the attributor of a model: `Attributor.open("models/approved", settings=Settings(baseline="gray"))`.

        Args:
            source: a TF-Hub `https://` handle, a local SavedModel folder or a local Keras file; or a model in
                memory: a Keras model, a loaded SavedModel, or a callable that TensorFlow can trace.
            model: what the function is; class names are a sequence here, not a file.
            settings: how it is attributed.
            batch_size: steps in one model call; 0 takes what is fastest on this device.
            baseline_images: as above.

        Raises:
            UsageError: an option does not fit the model, or is for stored runs alone.
            MemoryError: a batch of one does not fit into the device's memory.
        """
        settings.check_nothing_stored()
        check_batch_size(batch_size)
        return cls(classifiers.load(source, model), settings, batch_size, baseline_images)

    @property
    def step(self) -> CompiledStep:
        """The compiled step in use."""
        return self._ladder.step

    @property
    def in_flight(self) -> int:
        """How many batches of steps run at once."""
        return self._integrator.in_flight

    def warm_up(self) -> None:
        """Runs the model and one integral, so that the first image pays nothing extra; not if the model has run."""
        if self._has_run:
            return
        pixels = Pixels(np.zeros(self.classifier.input_shape, np.float32), *self.classifier.input_shape[:2])
        image = Decoded(Image("", "", 0, b""), pixels, targets=(0,))
        collections.deque(self._explain([image]), maxlen=0)

    def attribute(
        self, images: Iterable[Image | Asked | Decoded | Failure], on_batch: OnBatch = lambda steps, seconds: None
    ) -> Iterator[Explanation | Failure]:
        """Yields an explanation or a failure for each of `images`, in their order.

        Holds a few batches of images at once, however many there are. A failure that comes in goes
        out; an image that cannot be decoded, labeled or attributed becomes one.

        Args:
            images: as read from a shard, with the classes to explain if the settings do not choose them, or decoded
                already.
            on_batch: told of each batch of steps in the caller's thread: its size and seconds.
        """
        with ThreadPoolExecutor(self._threads, "decode") as threads:
            yield from self._explain(ahead(threads, self._decode, images, 2 * self.step.batch), on_batch)

    def predict(self, images: Iterable[Image | Failure]) -> Iterator[Predicted | Failure]:
        """Yields the model's outputs for each of `images`, in their order, or its failure; attributes none.

        Args:
            images: as read from a shard.
        """
        with ThreadPoolExecutor(self._threads, "decode") as threads:
            decoded = ahead(threads, self._decode, images, 2 * self.step.batch)
            while window := list(itertools.islice(decoded, self.step.batch)):
                for begun in self._begin(window):
                    yield begun.predicted if isinstance(begun, Pending) else begun

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """Returns the model's outputs `[n, classes]` for any number of images `[n, height, width, channels]`."""
        return self._ladder.outputs(images)

    def _picture(self, picture: np.ndarray | bytes, name: str) -> np.ndarray:
        """Returns the picture of a baseline, float32 `[height, width, channels]` in [0, 1]."""
        shape, settings = self.classifier.input_shape, self.settings
        if isinstance(picture, bytes):
            return decode(picture, shape[:2], settings.decoding(shape[2])).array
        return unit_values(np.asarray(picture), shape, name)

    def _decode(self, item: Image | Asked | Decoded | Failure) -> Decoded | Failure:
        """Returns an image as the model sees it, with its label."""
        if isinstance(item, Decoded | Failure):
            return item
        image, targets = (item.image, item.targets) if isinstance(item, Asked) else (item, ())
        try:
            pixels = self._pixels(image)
        except DecodeError as error:
            return failure(image, "decode", error)
        try:
            return Decoded(image, pixels, self._labels.resolve_image(image), targets)
        except LabelError as error:
            if self.targets.needs_label and not targets:
                return failure(image, "label", error)
            return Decoded(image, pixels, targets=targets, label_problem=str(error))

    def _pixels(self, image: Image) -> Pixels:
        """Returns an image as the model sees it, with its mask where there is one."""
        size = self.classifier.input_shape[0], self.classifier.input_shape[1]
        pixels = self._guards.decode(image.data, size)
        if image.mask is None:
            return pixels
        mask = self._guards.decode_mask(image.mask, (pixels.height, pixels.width), size)
        return dataclasses.replace(pixels, mask=mask)

    def explain(self, images: Any, targets: Any = None) -> list[Explanation]:
        """Returns the explanations of arrays; the notebook's door takes more.

        Args:
            images: array or tensor `[n, height, width, channels]` at the model's input size, float in
                [0, 1] or uint8, of gray images also `[n, height, width]`; or a `tf.data.Dataset` of such images, or
                of (images, targets), batched.
            targets: class indices or names `[n]`, or for each image a list of several, or a row of zeros and ones
                `[n, classes]`; one index or name is for all images; None follows the settings.

        Raises:
            ValueError: shapes, values or targets do not fit the model; or an image has no finite attribution.
        """
        shape = self.classifier.input_shape
        decoded = (
            self._decoded(i, array, target) for i, (array, target) in enumerate(given_pairs(images, targets, shape))
        )
        explained = []
        for result in self._explain(decoded):
            if isinstance(result, Failure):
                raise ValueError(f"image {result.image_id}: {result.message}")
            explained.append(result)
        return explained

    def _decoded(self, index: int, array: np.ndarray, target: Any) -> Decoded:
        """Returns an array as a decoded image."""
        values = unit_values(array, self.classifier.input_shape, f"image {index}")
        image, pixels = Image(str(index), "", index, b""), Pixels(values, *array.shape[:2])
        if target is None:
            return Decoded(image, pixels)
        names = () if self.targets.none else self.classifier.names
        try:
            chosen = given_targets(target, names)
        except ValueError as error:
            raise ValueError(f"image {index}: {error}") from error
        return Decoded(image, pixels, targets=chosen)

    def _explain(
        self, images: Iterable[Decoded | Failure], on_batch: OnBatch = lambda steps, seconds: None
    ) -> Iterator[Explanation | Failure]:
        """Yields the outcome of each image, in order, while later ones are already integrated."""
        order: collections.deque[Pending | Failure] = collections.deque()

        def paths() -> Iterator[Path[Any]]:
            source = iter(images)
            while window := list(itertools.islice(source, self.step.batch)):
                begun = list(self._begin(window))
                order.extend(begun)
                for each in begun:
                    if isinstance(each, Pending):
                        yield from self._paths(each)

        for integral in self._integrator.integrate(paths(), on_batch):
            pending, target, purpose = integral.key
            pending.absorb(target, purpose, integral)
            while order and (isinstance(order[0], Failure) or order[0].done):
                yield self._outcome(order.popleft())
        while order:
            yield self._outcome(order.popleft())

    def _begin(self, window: Sequence[Decoded | Failure]) -> Iterator[Pending | Failure]:
        """Yields up to a batch of images with the model's outputs and their targets, in order.

        Raises:
            UsageError: the outputs for the first images cannot be what they were found to be.
        """
        arrays = [each.pixels.array for each in window if isinstance(each, Decoded)]
        explained, outputs = self._evaluate(np.stack(arrays)) if arrays else (np.zeros(0), np.zeros(0))
        pairs = zip(outputs, explained, strict=True)
        for each in window:
            begun = self._predicted(each, *next(pairs)) if isinstance(each, Decoded) else each
            yield self._pending(begun) if isinstance(begun, Predicted) else begun

    def _pending(self, predicted: Predicted) -> Pending:
        purposes = self._purposes.chosen(predicted.decoded.content, predicted.decoded.label)
        return Pending(predicted, self._baseline_count, purposes)

    def _evaluate(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the scores of images are made of, and the model's outputs, `[n, …]` each."""
        explained = self._ladder.explained(images)
        if self.classifier.explains_outputs:
            outputs = explained
        elif self.classifier.outputs_of:
            outputs = np.asarray(self.classifier.outputs_of(explained))
        else:
            outputs = self._ladder.outputs(images)
        if not self._checked:
            self.classifier.check(outputs)
            self._checked = True
        return explained, outputs

    def _predicted(self, decoded: Decoded, outputs: np.ndarray, explained: np.ndarray) -> Predicted | Failure:
        if not (np.isfinite(outputs).all() and np.isfinite(explained).all()):
            return failure(decoded.image, "attribute", FloatingPointError("the model's outputs are not finite"))
        try:
            targets = decoded.targets or self._choose(outputs, decoded)
        except NoTargetError as error:
            return failure(decoded.image, "target", error)
        except LabelError as error:
            return failure(decoded.image, "label", error)
        return Predicted(decoded, outputs, explained, targets)

    def _choose(self, outputs: np.ndarray, decoded: Decoded) -> tuple[int, ...]:
        """Returns the classes of an image that the settings choose; an image without labels has none that is true."""
        label = () if decoded.label is None and self.classifier.task == "labels" else decoded.label
        probabilities = probabilities_of(self.classifier, outputs) if self.targets.above is not None else None
        return self.targets.choose(outputs, label, probabilities)

    def _paths(self, pending: Pending) -> Iterator[Path[Any]]:
        """Yields the paths of an image: to it from each baseline, for each target and purpose."""
        decoded, image = pending.predicted.decoded, pending.predicted.decoded.pixels.array
        end = self._ladder.enter(image[None])[0]
        for baseline in self.baselines:
            for start_image, start, explained in zip(*self._start(baseline, decoded), strict=True):
                number = len(pending.baseline_explained)
                pending.baseline_explained.append(explained)
                difference = image - start_image
                for target, purpose in itertools.product(pending.predicted.targets, pending.purposes):
                    gradient = self.settings.gradient and purpose == "map" and not number  # the same from any baseline
                    how = self._purposes.sampling(purpose, decoded.content, number)
                    key = pending, target, purpose
                    yield Path(key, start, end, difference, target, gradient, how.shift, how.rule)

    def _start(self, baseline: Baseline, decoded: Decoded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns a baseline's images, these in path space, and what their scores are made of, `[count, …]` each."""
        if baseline in self._constant:
            return self._constant[baseline]
        images = baseline.make(decoded.pixels.array, decoded.image.id)
        made = images, self._ladder.enter(images), self._ladder.explained(images)
        if baseline.constant:
            self._constant[baseline] = made
        return made

    def _outcome(self, ended: Pending | Failure) -> Explanation | Failure:
        """Returns what became of an image whose paths are integrated, or that has failed."""
        if isinstance(ended, Failure):
            return ended
        decoded = ended.predicted.decoded
        attributions = tuple(self._attribution(ended, target) for target in ended.predicted.targets)
        if not all(np.isfinite(attribution.values).all() for attribution in attributions):
            return failure(decoded.image, "attribute", FloatingPointError("the attribution is not finite"))
        model, outputs = self.classifier, ended.predicted.outputs
        predictions, label = predictions_of(model, outputs), decoded.label
        more = decoded.label_problem, model.task, decided_labels(model, outputs), decoded.content
        extra = self._purposes.is_extra(decoded.content, label)
        return Explanation(decoded.image, decoded.pixels, label, predictions, attributions, *more, extra)

    def _attribution(self, pending: Pending, target: int) -> Attribution:
        """Returns the mean over the baselines of a target's integrals, with the errors' bound."""
        integrals, predicted = pending.take(target), pending.predicted
        mean = Mean.of(integrals, self.settings.tolerance)
        ends = np.stack([predicted.explained, *pending.baseline_explained])
        scores = np.asarray(self.classifier.score(ends, np.full(len(ends), target, np.int32)))
        score, baseline_score = float(scores[0]), float(np.mean(scores[1:], dtype=np.float64))
        explained = None if self.targets.none else target
        return Attribution(
            target=explained,
            rank=rank_of(self.classifier, predicted.outputs, explained),
            values=mean.values.astype(np.float32),
            score=score,
            baseline_score=baseline_score,
            convergence_delta=float(mean.values.sum() - (score - baseline_score)),
            error_estimate=mean.error_estimate,
            converged=mean.converged,
            steps=mean.steps,
            path=mean_path([integral.nodes for integral in integrals]),
            gradient=next((found for integral in integrals if (found := integral.end_gradient) is not None), None),
            faithfulness=self._faithfulness(predicted.decoded, target, mean.values.astype(np.float32)),
            second=pending.second_map(target),
            reference=pending.reference_map(target, self.settings.tolerance),
        )

    def _faithfulness(self, decoded: Decoded, target: int, values: np.ndarray) -> Faithfulness:
        """Returns how far the probability of a target follows its map, from the first baseline, for chosen images."""
        chosen = is_chosen(decoded.image.id, self.settings.faithfulness)
        if not (chosen and has_probabilities(self.classifier)) or self.targets.none:
            return Faithfulness()

        def probability(pictures: np.ndarray) -> np.ndarray:
            return np.asarray(self.classifier.to_probabilities(self._ladder.outputs(pictures)))[:, target]

        baseline = self.baselines[0].make(decoded.pixels.array, decoded.image.id)[0]
        return measure(values, decoded.pixels.array, baseline, probability, self.step.batch)
