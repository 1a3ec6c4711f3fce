"""The check itself: looks at the input, loads the model and looks at its predictions, each with its own time limit."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline import cost as costs
from pipeline import launch, sampling
from pipeline.check.labels import count_labels, index_of, suspicions_of
from pipeline.check.report import Failures, Report
from pipeline.config import AuditConfig, ConfigError
from pipeline.cost import Cost, IntervalCost, Spread
from transforms import formats, process, survey, worker
from transforms.core.errors import UsageError
from transforms.core.explain.label import Labels
from transforms.core.explain.suspicion import Suspicion
from transforms.core.explain.target import Targets
from transforms.core.model.facts import ModelFacts
from transforms.core.record import Failure, Image
from transforms.preflight import TRIED, Look, Subject, look
from transforms.worker import AttributorSpec

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor
    from transforms.core.explain.job import Predicted

LOOKED_AT = 2000
PICTURES = 128

_COUNT_SECONDS = 4.0
_READ_SECONDS = 4.0
_PREDICT_SECONDS = 3.0
_TRY_SECONDS = 3.0
_ATTRIBUTE_SECONDS = 3.0
_LETTERS = 200
_MENDS = {
    "read": "--image_feature or --image_column, or the shards",
    "decode": "--max_pixels, or the files",
    "label": "--class_names, or --targets top1",
    "attribute": "--pixels, or the model: its outputs are not finite",
}


def examine(config: AuditConfig, interval: float | None = None) -> Report:
    """Returns what a run with these options would find and cost, and what it costs to know a mean to an interval.

    Raises:
        ConfigError: an option, the input or the model cannot be used.
        OSError: the storage fails.
    """
    discovered, spec = launch.discover(config), launch.spec_of(config)
    shards = discovered.shards
    options = config.read_options()
    start = time.monotonic()
    try:
        found = survey.survey(shards, options, _COUNT_SECONDS)
        items = list(survey.read(found.places, options, LOOKED_AT, PICTURES, _READ_SECONDS))
    except UsageError as error:
        raise ConfigError(str(error)) from error
    before = time.monotonic() - start
    attributor, load_seconds = _load(spec)
    start = time.monotonic()
    classifier = attributor.classifier
    meaning = Labels(classifier.names, classifier.task, classifier.label_offset)
    images = [item for item in items if isinstance(item, Image)]
    predicted, failed = _predict(attributor, [image for image in images if image.data][:PICTURES])
    came = len(predicted) + len(failed)
    failed += [item for item in items if isinstance(item, Failure)]
    seen = _look(attributor, meaning, predicted)
    total = min(found.images, options.limit) if options.limit else found.images
    cost = costs.measure(attributor, [each.decoded.image for each in predicted], total, _ATTRIBUTE_SECONDS)
    described = dataclasses.replace(spec, facts=classifier.facts)
    sample = sampling.plan(config, shards, described, costs.known_runs(config), cost) if cost else None
    if cost:
        expected = sample.expected if sample else total
        cost = dataclasses.replace(costs.from_last_run(cost, config, classifier.digest), images=expected)
    labels = count_labels(images, meaning)
    fields = {name: sum(name in dict(image.fields) for image in images) for name in options.fields}
    kinds = [shard.format for shard in shards]
    failures = _by_reason(failed, len(items), came)
    needs_label = Targets.parse(config.targets).needs_label
    return Report(
        shards=dict(Counter(kinds)),
        passed_over=dict(discovered.passed_over),
        images=found.images,
        exact=found.exact,
        limit=options.limit,
        looked_at=len(items),
        predicted=came,
        labels=labels,
        fields=fields,
        failures=failures,
        model=(*_described(classifier.facts), *formats.describe(shards, options)),
        look=seen,
        cost=cost,
        sample=tuple(sampling.explain(sample)) if sample else (),
        interval=_intervals(config, cost, interval, found.images, _sizes(images, meaning, found.images)),
        suspicions=(
            *(seen.suspicions or _of_model(classifier.facts)),
            *suspicions_of(labels, needs_label, sorted(set(kinds))),
            *_of_fields(fields, len(images)),
            *_of_failures(failures, config.max_error_rate),
        ),
        load_seconds=load_seconds,
        seconds=before + time.monotonic() - start,
    )


def _intervals(
    config: AuditConfig, cost: Cost | None, half_width: float | None, images: int, classes: Collection[float]
) -> tuple[IntervalCost, ...]:
    """Returns what it costs to know a mean to a half width, if that is asked for and an image's cost is known."""
    if not cost or not half_width:
        return ()
    spread = costs.spread_of_runs(costs.known_runs(config), config.grid) or cost.spread or Spread()
    return costs.interval_costs(cost, spread, half_width, images, classes)


def _sizes(looked_at: Sequence[Image], labels: Labels, images: int) -> list[float]:
    """Returns how many images each class has, about, by the labels of those looked at."""
    found = Counter(index for image in looked_at if (index := index_of(image, labels)) is not None)
    return [count * images / len(looked_at) for count in found.values()]


def _load(spec: AttributorSpec) -> tuple[Attributor, float]:
    process.import_tensorflow()
    try:
        loaded = worker.attributor(dataclasses.replace(spec, model_digest=""))
    except OSError as error:
        raise ConfigError(f"model: {spec.model}: {error}") from error
    return loaded.attributor, loaded.seconds


def _predict(attributor: Attributor, images: Sequence[Image]) -> tuple[list[Predicted], list[Failure]]:
    """Returns the predictions for as many images as time allows, and the failures among them."""
    until = time.monotonic() + _PREDICT_SECONDS

    def in_time() -> Iterable[Image]:
        for number, image in enumerate(images):
            if number >= TRIED and time.monotonic() > until:
                return
            yield image

    outcomes = list(attributor.predict(in_time()))
    predicted = [each for each in outcomes if not isinstance(each, Failure)]
    return predicted, [each for each in outcomes if isinstance(each, Failure)]


def _look(attributor: Attributor, labels: Labels, predicted: Sequence[Predicted]) -> Look:
    shape = attributor.classifier.input_shape
    arrays = [each.decoded.pixels.array for each in predicted[:TRIED]]
    return look(
        Subject.of(attributor),
        np.stack(arrays) if arrays else np.zeros((0, *shape), np.float32),
        np.stack([each.outputs for each in predicted]) if predicted else np.zeros((0, 1), np.float32),
        [index_of(each.decoded.image, labels) for each in predicted],
        _TRY_SECONDS,
    )


def _described(facts: ModelFacts) -> tuple[str, ...]:
    """Returns what the model is, one line each; what is suspicious about it stands elsewhere."""
    described = dataclasses.replace(facts, suspicions=())
    return tuple(line.removeprefix("model: ") for line in described.lines())


def _of_model(facts: ModelFacts) -> list[Suspicion]:
    """Returns what is likely wrong by the model alone; its sentences end in what mends it.

    Predictions for pictures of the input show more: this is for inputs without labels, say.
    """
    found = (sentence.rpartition("; ") for sentence in facts.suspicions)
    return [Suspicion(problem or mend, "found in the model itself", mend) for problem, _, mend in found]


def _by_reason(failed: Sequence[Failure], looked_at: int, predicted: int) -> tuple[Failures, ...]:
    """Returns failures by stage and error, the most frequent first."""
    counts = Counter((failure.stage, failure.error) for failure in failed)
    first = {(failure.stage, failure.error): failure for failure in reversed(failed)}
    found = []
    for (stage, error), count in counts.most_common():
        example = first[stage, error]
        of = looked_at if stage == "read" else predicted
        found.append(Failures(count, of, stage, error, example.message[:_LETTERS], example.image_id))
    return tuple(found)


def _of_fields(fields: dict[str, int], images: int) -> list[Suspicion]:
    missing = [name for name, count in fields.items() if not count]
    if not missing or not images:
        return []
    evidence = f"none of {images:,} images looked at has {', '.join(missing)}"
    return [Suspicion("fields that were asked for are missing", evidence, "--fields, --slice_by")]


def _of_failures(failures: Sequence[Failures], allowed: float) -> list[Suspicion]:
    if sum(each.images / each.of for each in failures) <= allowed:
        return []
    most = max(failures, key=lambda each: each.images / each.of)
    return [
        Suspicion(
            f"more images fail than --max_error_rate {allowed:g} allows",
            f"{most.images:,} of {most.of:,} at the stage {most.stage}: {most.message}",
            _MENDS[most.stage],
        )
    ]
