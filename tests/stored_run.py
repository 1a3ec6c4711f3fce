"""A small stored run made without a model: for tests of what reads one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from support.random_rows import merge_slices
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.image.decode import encode_thumbnail
from transforms.core.maps.importance import summarize_map, summarize_mask
from transforms.core.maps.quantize import quantize, reduce_channels
from transforms.core.record import Chunk, Failure, Faithfulness, Row
from transforms.core.statistics.importance import summarize_rows
from transforms.core.statistics.statistic import Columns
from transforms.store.run import Run
from transforms.store.schema import SUMMARIZED_COLUMNS, statistic_columns

SHAPE = (12, 16, 3)
SETTINGS = Settings()
PROVENANCE = store.Provenance(
    config={"baseline": "black", "grid": 8},
    config_digest="c0ffee",
    model="models/tiny",
    model_digest="deca",
    versions={"numpy": "2"},
    baseline_images=(b"\x00\xffpicture",),
)
CHUNKS = tuple(
    Chunk(id=f"{shard}-{start}", shard=f"/in/{shard}", name=shard, format="tfrecord", start=start, count=count)
    for shard, start, count in (("a.tfrecord", 0, 4), ("a.tfrecord", 4, 4), ("b.tfrecord", 0, 3))
)


def make_image(chunk: Chunk, position: int) -> np.ndarray:
    """Returns float32 [height, width, 3] in [0, 1], the same for the same image; smooth, so that JPEG keeps it."""
    rng = np.random.default_rng([chunk.start + position, len(chunk.id)])
    rows, cols = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] / max(SHAPE)
    return np.clip(rng.random(3) + (rows * cols)[:, :, None] - 0.5, 0, 1).astype(np.float32)


def make_values(chunk: Chunk, position: int, rank: int = 0) -> np.ndarray:
    """Returns a float32 [height, width, 3] attribution map, the same for the same image and rank."""
    rng = np.random.default_rng([chunk.start + position, len(chunk.id), rank])
    return (rng.normal(0.1, 1, size=SHAPE) * rng.random((*SHAPE[:2], 1)) ** 4 * 0.05).astype(np.float32)


def make_rows(chunk: Chunk, position: int, settings: Settings = SETTINGS, targets: int = 1) -> list[Row]:
    """Returns the rows of one image, as the job would make them."""
    classes = [(position + rank) % 5 for rank in range(5)]
    label = None if position == 2 else 1
    shared = {
        "image_id": f"{chunk.name}#{chunk.start + position}",
        "shard": chunk.shard,
        "index": chunk.start + position,
        "label": label,
        "label_name": None if label is None else "class 1",
        "predictions": [
            {"target": target, "name": f"class {target}", "probability": 0.5 / (rank + 1)}
            for rank, target in enumerate(classes)
        ],
        "height": 240,
        "width": 320,
        "thumbnail": encode_thumbnail(make_image(chunk, position)),
        "content": f"{chunk.start + position:016x}{chunk.name.encode().hex():0>16.16}",
        "fields": [("camera", "north")],
    }
    return [shared | _explained(chunk, position, rank, classes[rank], settings) for rank in range(targets)]


def _explained(chunk: Chunk, position: int, rank: int, target: int, settings: Settings) -> Row:
    values = make_values(chunk, position, rank)
    stored = quantize(reduce_channels(values, settings.channels), settings.dtype)
    gradient = quantize(reduce_channels(make_values(chunk, position, 100 + rank), "abs_sum"), "int8")
    mask = None if position == 1 else np.arange(SHAPE[0])[:, None] < np.full(SHAPE[1], position + 1)
    return (
        vars(summarize_map(values, settings.grid))
        | vars(summarize_mask(values, mask))
        | vars(Faithfulness(0.4, 0.1) if position == 0 else Faithfulness())
        | {
            "target": target,
            "target_name": f"class {target}",
            "target_rank": rank,
            "score": 0.5 / (rank + 1),
            "baseline_score": 0.01,
            "convergence_delta": 0.001 * (position - 1),
            "error_estimate": 0.04,
            "converged": True,
            "steps": 40 + position,
            "attribution": stored.values,
            "scale": stored.scale,
            "path": np.array([[0.25, 0.1, 1.5], [0.75, 0.4, 0.5]], np.float32),
            **({"gradient": gradient.values, "gradient_scale": gradient.scale} if settings.gradient else {}),
        }
    )


def make_failure(chunk: Chunk, position: int) -> Failure:
    """Returns the failure of one image."""
    image_id = f"{chunk.name}#{chunk.start + position}"
    return Failure(image_id, chunk.shard, chunk.start + position, "decode", "DecodeError", "not an image: ☠\n")


def write_chunk(run_uri: str, chunk: Chunk, settings: Settings = SETTINGS, targets: int = 1) -> store.PartSummary:
    """Writes a chunk's part, in which the last image of shard b failed."""
    with store.write_part(run_uri, chunk, PROVENANCE, settings, SHAPE) as part:
        for position in range(chunk.count):
            if chunk.name == "b.tfrecord" and position == chunk.count - 1:
                part.fail(make_failure(chunk, position))
            else:
                part.add(make_rows(chunk, position, settings, targets))
    return part.summary


def drop_maps(run_uri: str) -> None:
    """Rewrites a complete run as one that stores no maps."""
    manifest = Run.open(run_uri).manifest
    parts = []
    for part in manifest.parts:
        path = Path(run_uri) / part.attributions.name
        metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
        table = pq.read_table(path).drop_columns(["attribution", "scale"])
        pq.write_table(table.replace_schema_metadata(metadata), path)
        stored = store.files.describe_file(run_uri, part.attributions.name)
        parts.append(dataclasses.replace(part, attributions=stored))
    store.write_manifest(run_uri, dataclasses.replace(manifest, parts=tuple(parts)))


def read_columns(run_uri: str, part: store.PartSummary) -> Columns:
    """Returns what statistics are computed from, of all rows of a part."""
    return statistic_columns(Run.open(run_uri).part_rows(part, SUMMARIZED_COLUMNS))


def write_run(run_uri: str, settings: Settings = SETTINGS, targets: int = 1) -> store.Manifest:
    """Writes a complete run of 11 images in 3 chunks, of which one failed."""
    parts = tuple(write_chunk(run_uri, chunk, settings, targets) for chunk in CHUNKS)
    statistics = merge_slices(summarize_rows(read_columns(run_uri, part)) for part in parts)
    stored = store.write_statistics(run_uri, statistics, PROVENANCE)
    manifest = store.Manifest("2026-11-21T22:00:00Z", PROVENANCE, stored, parts, {"speed": 3.5})
    store.write_manifest(run_uri, manifest)
    return manifest
