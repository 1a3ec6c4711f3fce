"""The stages of the pipeline, with the reason for each."""

from __future__ import annotations

import apache_beam as beam

from pipeline.launch import Job
from transforms.attribute import AttributeChunks
from transforms.core.statistics.slices import Slicer
from transforms.finish import FinishRun
from transforms.plan import ChooseChunks, PlanChunks
from transforms.progress import Meter


def define_pipeline(root: beam.Pipeline, job: Job, meter: Meter, holder: str = "") -> None:
    """Adds the audit's stages to `root`.

    Args:
        root: an empty pipeline.
        job: a checked run.
        meter: where workers on this machine report their progress.
        holder: identifies this run's lock among those of others, if it holds one.
    """
    config = job.config
    options = config.read_options()

    # Shards are cut into chunks, the unit of work and retry. The reshuffle inside is essential: without it
    # a runner fuses planning with attribution, and one worker would attribute a whole shard.
    chunks = root | "Shards" >> beam.Create(job.shards) | "PlanChunks" >> PlanChunks(options, meter)

    # A sample is chosen among the chunks of all shards, so it waits for their plans; these read no pixels.
    planned = None
    if options.limit:
        planned = chunks | "Images" >> beam.Map(lambda chunk: chunk.count) | "Planned" >> beam.CombineGlobally(sum)
        chunks = chunks | "ChooseChunks" >> ChooseChunks(options.limit, meter)

    # Each chunk becomes a part file, written by the worker that computed it. Only summaries are passed on. The hints
    # are set only on stages that run the model, so that a runner that chooses machines by stage uses GPUs for no other.
    hints = config.resource_hints()
    slicer, reuse = Slicer(config.slice_by), job.reuse.runs if job.reuse else ()
    share = job.plan.share if job.plan else 1.0
    attribute = AttributeChunks(job.spec, options, config.output, job.provenance, slicer, meter, reuse, share)
    results = chunks | "AttributeChunks" >> attribute.with_resource_hints(**hints)

    # Statistics are exact in any order, so partial sums may be combined as they come. The model is checked
    # once, and the manifest is written last, by any worker: the launcher may have ended long before.
    finish = FinishRun(
        config.output,
        job.provenance,
        job.started,
        config.max_slices,
        job.spec,
        hints,
        meter,
        holder,
        dict(job.passed_over),
        job.notes,
        config.effort_facts(),
        planned,
        {"reuse": {"left_out": [str(each) for each in job.reuse.left_out]}} if job.reuse else {},
    )
    results | "FinishRun" >> finish
