"""FinishRun: results of all chunks → statistics, the check of the model, then the manifest.

A stage, not the launcher's work, because a launcher that submits a job does not wait for it.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from transforms import check_model, storage, store
from transforms.attribute import ChunkResult
from transforms.core.record import Randomization
from transforms.core.statistics.importance import ImportanceStatistics, fold_slices
from transforms.core.statistics.slices import Slice, kept_slices
from transforms.progress import Meter
from transforms.store import lock
from transforms.store.files import describe_file
from transforms.store.run import Run
from transforms.store.sampling import SAMPLED, SAMPLING
from transforms.summarize import SummarizeChunks, pack, unpack
from transforms.worker import AttributorSpec


@dataclass
class FinishRun(beam.PTransform):
    """Writes the files of the whole run: statistics and the manifest, whose presence marks the run as complete.

    Attributes:
        output: the run directory.
        provenance: the options, model and versions of the run.
        started: when the run was launched, ISO 8601 in UTC.
        max_slices: the most slices of one kind that are kept.
        spec: what a worker loads; for the check of the model.
        machine: Beam's resource hints for that check.
        meter: for a job on this machine, reports whether it has ended meanwhile.
        holder: identifies this run's lock among those of others; empty if there is none.
        passed_over: how many files of the input's folders were not taken, by extension.
        notes: what is taken for granted of the input, a sentence each.
        effort: what the run is for, and the options that this set.
        planned: the number of images of the whole input, of which the run takes a sample; None if it takes all.
        launched: what else the launcher knows, as facts of the manifest.
    """

    output: str
    provenance: store.Provenance
    started: str
    max_slices: int
    spec: AttributorSpec
    machine: Mapping[str, str]
    meter: Meter
    holder: str
    passed_over: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    effort: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    planned: beam.PCollection[int] | None = None
    launched: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def expand(self, results: beam.PCollection[ChunkResult]) -> beam.PCollection[str]:
        """Takes the chunks' results; returns the URI of the manifest."""
        stage = dataclasses.replace(self, planned=None)  # is sent to workers, which take no collection
        statistics = (
            results
            | "Slices" >> beam.FlatMap(lambda result: result.statistics.items())
            | "SummarizeChunks" >> SummarizeChunks()
        )
        counts = statistics | "Counts" >> beam.MapTuple(lambda key, value: (key, value.count))
        chunks = results | "Chunks" >> beam.Map(lambda result: dataclasses.replace(result, statistics={}))
        packed = chunks | "Batch" >> beam.BatchElements(min_batch_size=64) | "Pack" >> beam.Map(pack)
        once = results.pipeline | "Once" >> beam.Create([self.output])
        shown = beam.pvalue.AsSingleton(chunks | "Shown" >> _FirstParts())
        check = once | "CheckModel" >> beam.Map(stage._check, shown).with_resource_hints(**self.machine)
        return once | "Write" >> beam.Map(
            stage._write,
            beam.pvalue.AsIter(statistics),
            beam.pvalue.AsList(counts),
            beam.pvalue.AsList(packed),
            beam.pvalue.AsSingleton(check),
            *([] if self.planned is None else [beam.pvalue.AsSingleton(self.planned)]),
        )

    def _check(self, output: str, parts: list[store.PartSummary]) -> tuple[Randomization, Mapping[str, Any] | None]:
        of = Run.open(output), parts, self.spec, self.provenance.config_digest
        return check_model.check_run(*of), check_model.look_at_run(*of)

    def _write(
        self,
        output: str,
        statistics: Iterable[tuple[Slice, ImportanceStatistics]],
        counts: list[tuple[Slice, int]],
        packed: list[bytes],
        checks: tuple[Randomization, Mapping[str, Any] | None],
        planned: int | None = None,
    ) -> str:
        chunks: list[ChunkResult] = [chunk for batch in packed for chunk in unpack(batch)]
        parts = sorted((chunk.part for chunk in chunks), key=lambda part: (part.shard, part.start))
        self._check_lock()
        store.delete_strays(output, {part.chunk for part in parts})  # every chunk is done by now
        kept = kept_slices(dict(counts), self.max_slices)
        stored = store.write_statistics(output, fold_slices(statistics, kept), self.provenance)
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        facts = {
            "output": output,
            **({"model": self.spec.facts.to_json()} if self.spec.facts else {}),
            "started": self.started,
            "passed_over": dict(self.passed_over),
            "notes": list(self.notes),
            "effort": dict(self.effort),
            "passes": sorted({compiled for chunk in chunks for compiled in chunk.passes}),
            "graphs": sorted({chunk.graph for chunk in chunks if chunk.graph}),
            "worker_seconds": round(sum(chunk.seconds for chunk in chunks), 3),
            "worker_images": sum(chunk.part.images for chunk in chunks if chunk.is_computed),
            **self.launched,
        }
        if "reuse" in facts:
            facts["reuse"] = {**facts["reuse"], **_reuse_facts(chunks)}
        check, look = checks
        facts |= {} if planned is None else {"sample_of": planned}
        facts |= {} if look is None else {"look": look}
        self._check_lock()
        sampling = describe_file(output, SAMPLING) if SAMPLED in self.provenance.config else None
        manifest = store.Manifest(created, self.provenance, stored, tuple(parts), facts, check, sampling)
        store.write_manifest(output, manifest)
        lock.release_submitted(output)
        return storage.join(output, "manifest.json")

    def _check_lock(self) -> None:
        """Checks that this run still owns its directory, so that nothing of another run is deleted or replaced.

        Raises:
            JobError: another run holds the directory, or this job has ended meanwhile.
        """
        self.meter.check()
        if self.holder:
            lock.check_holder(self.output, self.holder)


def _reuse_facts(chunks: Sequence[ChunkResult]) -> dict[str, Any]:
    """Returns where the parts of a run come from, in chunks; images are those of parts that were taken."""
    taken = [chunk for chunk in chunks if chunk.origin.run]
    return {
        "chunks": len(taken),
        "images": sum(chunk.part.images for chunk in taken),
        "runs": dict(sorted(Counter(chunk.origin.run for chunk in taken).items())),
        "computed": dict(sorted(Counter(chunk.origin.reason for chunk in chunks if chunk.origin.reason).items())),
        "resumed": sum(chunk.resumed for chunk in chunks),
    }


class _FirstParts(beam.PTransform):
    """The parts from which the checks of the model take their pictures, as one list: no others need to be sent."""

    def expand(self, chunks: beam.PCollection[ChunkResult]) -> beam.PCollection[list[store.PartSummary]]:
        parts = chunks | beam.Map(lambda chunk: chunk.part) | beam.Filter(lambda part: part.rows)
        return parts | beam.combiners.Top.Smallest(check_model.PARTS, key=check_model.rank)
