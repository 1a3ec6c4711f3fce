"""AttributeChunks and AttributeImages: the stages that hold the worker's model.

`AttributeChunks` writes each chunk's rows itself and passes on only a summary: no image and no map
goes through a shuffle. `AttributeImages` is the same attributor for someone's own Beam pipeline.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms import formats, process, store
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.record import Chunk, Explanation, Failure, Image
from transforms.core.statistics.importance import ImportanceStatistics, summarize_rows
from transforms.core.statistics.slices import Slice, Slicer
from transforms.formats import ReadOptions
from transforms.formats.fingerprint import Fingerprint, fingerprint
from transforms.formats.sample import Sample
from transforms.progress import Meter
from transforms.store.parts import ATTRIBUTIONS
from transforms.store.reuse import COMPUTED, Origin, take_part
from transforms.store.rows import rows_of
from transforms.store.run import Run
from transforms.store.schema import SUMMARIZED_COLUMNS, statistic_columns
from transforms.worker import AttributorSpec, Loaded, attributor, resolve

if TYPE_CHECKING:
    from transforms.core.explain.attributor import Attributor

NAMESPACE = "ig_audit"


@dataclass(frozen=True)
class ChunkResult:
    """What a finished chunk says of itself.

    Attributes:
        part: what was written.
        statistics: of the part's rows, by slice.
        passes: how the worker's step was compiled: (pass, "" where applied, else the reason).
        seconds: how long the chunk took; 0 if it was finished already, or taken from another run.
        graph: sha256 of the graph that was differentiated, in hex; empty where there is none, or none was needed.
        origin: where the part comes from.
        resumed: whether an interrupted start of this run had finished it.
    """

    part: store.PartSummary
    statistics: dict[Slice, ImportanceStatistics]
    passes: tuple[tuple[str, str], ...]
    seconds: float
    graph: str = ""
    origin: Origin = COMPUTED
    resumed: bool = False

    @property
    def is_computed(self) -> bool:
        """Whether this start of the run attributed the chunk's images."""
        return not (self.resumed or self.origin.run)


@dataclass
class AttributeChunks(beam.PTransform):
    """Attributes each chunk's images into a part file.

    Attributes:
        spec: what each worker loads.
        options: how chunks are read.
        output: the run directory.
        provenance: what every part says about its making.
        slicer: names the slices of a row.
        meter: where progress is told, if anywhere.
        reuse: URIs of earlier runs, the first choice first, from which parts are taken that this run would write alike.
        share: of the images that are attributed, chosen by their content.
    """

    spec: AttributorSpec
    options: ReadOptions
    output: str
    provenance: store.Provenance
    slicer: Slicer
    meter: Meter
    reuse: tuple[str, ...] = ()
    share: float = 1.0

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[ChunkResult]:
        """Takes chunks; returns their results."""
        return chunks | beam.ParDo(_AttributeChunks(self))


@dataclass
class AttributeImages(beam.PTransform):
    """Attributes images of someone's own pipeline: `images | AttributeImages("models/approved")`.

    Attributes:
        model: TF-Hub handle, SavedModel folder or Keras file, by URI.
        options: what the function is.
        settings: how it is attributed.
        batch_size: steps in one model call, from 1 to 4096; 0 lets the worker choose.
    """

    model: str
    options: ModelOptions = ModelOptions()
    settings: Settings = Settings()
    batch_size: int = 0

    def expand(self, images: beam.PCollection[Image]) -> beam.PCollection[Explanation | Failure]:
        """Takes images; returns an explanation or a failure for each.

        Raises:
            UsageError: an option is for stored runs alone, or class names or the picture of a baseline cannot be read.
        """
        self.settings.check_nothing_stored()
        spec = resolve(self.model, self.options, self.settings, self.batch_size)
        batches = images | "Batch" >> beam.BatchElements(min_batch_size=16, max_batch_size=256)
        return batches | "Attribute" >> beam.ParDo(_AttributeImages(spec))


class _Attributing(beam.DoFn):
    """A DoFn with this process's attributor, and the counters of what it does."""

    def __init__(self, spec: AttributorSpec) -> None:
        self._spec = spec
        self._loaded: Loaded | None = None

    def attributor(self) -> Attributor:
        """Returns this process's attributor, loaded when it is first needed: not for chunks that are finished."""
        if self._loaded is None:
            self._loaded = attributor(self._spec)
            Metrics.distribution(NAMESPACE, "load_model_latency_milli_secs").update(int(self._loaded.seconds * 1e3))
            Metrics.distribution(NAMESPACE, "model_byte_size").update(self._loaded.attributor.classifier.size_bytes)
        return self._loaded.attributor

    def start_bundle(self) -> None:
        counter, distribution = Metrics.counter, Metrics.distribution
        self._images = counter(NAMESPACE, "images_attributed")
        self._failures = counter(NAMESPACE, "images_failed")
        self._untargeted = counter(NAMESPACE, "images_untargeted")
        self._unsampled = counter(NAMESPACE, "images_unsampled")
        self._evaluations = counter(NAMESPACE, "gradient_evaluations")
        self._inferences = counter(NAMESPACE, "num_inferences")
        self._failed_batches = counter(NAMESPACE, "failed_batches_counter")
        self._batch_size = distribution(NAMESPACE, "inference_request_batch_size")
        self._latency = distribution(NAMESPACE, "inference_batch_latency_micro_secs")

    def explanations(
        self, attributor: Attributor, images: Iterable[Image | Failure]
    ) -> Iterator[Explanation | Failure]:
        """Yields what `attributor` makes of `images`, and counts it."""
        try:
            for outcome in attributor.attribute(images, self._count_batch):
                if isinstance(outcome, Failure):
                    (self._untargeted if outcome.stage == "target" else self._failures).inc()
                else:
                    self._images.inc()
                yield outcome
        except Exception:
            self._failed_batches.inc()
            raise

    def _count_batch(self, steps: int, seconds: float) -> None:
        self._inferences.inc(steps)
        self._evaluations.inc(steps)
        self._batch_size.update(steps)
        self._latency.update(int(seconds * 1e6))


class _AttributeChunks(_Attributing):
    def __init__(self, stage: AttributeChunks) -> None:
        super().__init__(stage.spec)
        self._stage = stage

    def setup(self) -> None:
        if "tensorflow" not in sys.modules:  # whose import keeps freed memory; finished chunks do not need it
            process.return_freed()

    def process(self, chunk: Chunk) -> Iterator[ChunkResult]:
        stage = self._stage
        stage.meter.check()
        part = store.finished_part(stage.output, chunk, stage.provenance.config_digest)
        if part is not None:
            stage.meter.add(resumed=part.images + part.unsampled)
            yield self._result(part, resumed=True)
            return
        part, origin = self._take(chunk) if stage.reuse else (None, COMPUTED)
        if part is not None:
            stage.meter.add(reused=part.images + part.unsampled)
            Metrics.counter(NAMESPACE, "images_reused").inc(part.images)
            yield self._result(part, origin=origin)
            return
        attributor, start = self.attributor(), time.monotonic()
        part = self._attribute(chunk, attributor)
        reports = [*attributor.step.report, *([attributor.model_cache] if attributor.model_cache else [])]
        passes = tuple((report.name, "" if report.applied else report.reason) for report in reports)
        yield self._result(part, passes, time.monotonic() - start, attributor.step.graph, origin)

    def _result(
        self,
        part: store.PartSummary,
        passes: tuple[tuple[str, str], ...] = (),
        seconds: float = 0.0,
        graph: str = "",
        origin: Origin = COMPUTED,
        resumed: bool = False,
    ) -> ChunkResult:
        """Returns a part's result; its statistics come from the rows as they are stored."""
        rows = Run.open(self._stage.output).part_rows(part, SUMMARIZED_COLUMNS)
        statistics = summarize_rows(statistic_columns(rows), self._stage.slicer)
        return ChunkResult(part, statistics, passes, seconds, graph, origin, resumed)

    def _take(self, chunk: Chunk) -> tuple[store.PartSummary | None, Origin]:
        """Returns the part of a chunk, taken from an earlier run that has it; None if none has."""
        stage = self._stage
        earlier = [(uri, _names_of(uri)) for uri in stage.reuse]
        now = functools.partial(_fingerprint, chunk, stage.options)
        return take_part(stage.output, earlier, chunk, stage.provenance, now)

    def _attribute(self, chunk: Chunk, attributor: Attributor) -> store.PartSummary:
        stage = self._stage
        settings, classifier = stage.spec.settings, attributor.classifier
        with store.write_part(
            stage.output, chunk, stage.provenance, settings, classifier.input_shape, classifier.task
        ) as part:
            read, sample = Fingerprint(), Sample(stage.share)
            images = sample.of(read.over(formats.read(chunk, stage.options)))
            for outcome in self.explanations(attributor, images):
                if isinstance(outcome, Failure):
                    part.fail(outcome)
                    stage.meter.add(failed=1, unsampled=sample.take_count())
                else:
                    part.add(rows_of(outcome, settings, classifier.names), store.LabelCounts.of(outcome))
                    stage.meter.add(attributed=1, unsampled=sample.take_count())
            stage.meter.add(unsampled=sample.take_count())
            part.note("engine", _engine(attributor))
            part.fingerprint, part.unsampled = read.hexdigest(), sample.left_out
            self._unsampled.inc(sample.left_out)
        return part.summary


@functools.lru_cache(maxsize=64)
def _names_of(uri: str) -> frozenset[str]:
    """Returns the names of the parts of an earlier run, which is listed once in a process."""
    return frozenset(Run.open(uri).names_of(ATTRIBUTIONS))


def _fingerprint(chunk: Chunk, options: ReadOptions) -> str:
    return fingerprint(formats.read(chunk, options))


def _engine(attributor: Attributor) -> dict[str, Any]:
    """Returns how steps ran: a batch's, batches at once, each pass with why it was left out, and the graph's digest."""
    passes = {entry.name: "" if entry.applied else entry.reason for entry in attributor.step.report}
    return {
        "batch": attributor.step.batch,
        "in_flight": attributor.in_flight,
        "passes": passes,
        "graph": attributor.step.graph,
    }


class _AttributeImages(_Attributing):
    def process(self, images: list[Image]) -> Iterator[Explanation | Failure]:
        yield from self.explanations(self.attributor(), images)
