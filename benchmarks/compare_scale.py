"""Seconds and memory of a comparison by its rows: `python -m benchmarks.compare_scale --rows 1000000 --references 7`.

The runs are redrawn from random rows, without a model, in parts as large as a job's. Their statistics are of the first
rows only, since a comparison takes no more of them than names and means of slices. What is written is kept in
`--folder`, and not written again. The times are of the whole command, its start included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import table, write_json
from pipeline.config import options
from support import redraw
from transforms.core.drift.contrast import SCALARS
from transforms.core.explain.settings import Settings
from transforms.core.vocabulary import CONTENT
from transforms.store.run import Run
from transforms.store.schema import Provenance, attributions_schema

_POOL_ROWS = 50_000
_SHARD_ROWS = 1000
_GRID = Settings().grid


def main() -> None:
    """Writes what is missing, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each run (default 1000000)")
    parser.add_argument("--references", type=int, default=7, help="runs to compare with (default 7)")
    parser.add_argument("--classes", type=int, default=10, help="of the model (default 10)")
    parser.add_argument(
        "--part_rows", type=int, default=options()["chunk_images"].default, help="of a part (default: as a job's)"
    )
    parser.add_argument("--folder", help="where runs are kept (default: a temporary one)")
    parser.add_argument("--json", metavar="FILE", help="also write the result")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ig-audit-") as temporary:
        runs = [
            _run(Path(given.folder or temporary), night, given.rows, given.classes, given.part_rows)
            for night in range(given.references + 1)
        ]
        found = measure(runs[-1], runs[:-1])
    sizes = {"rows": given.rows, "references": given.references, "classes": given.classes, "a part": given.part_rows}
    print(table([sizes | found]))
    write_json(given.json, sizes | found)


def measure(candidate: Run, references: list[Run]) -> dict[str, Any]:
    """Returns seconds by the clock and of the processor, and the largest memory, of the command `compare`."""
    command = [sys.executable, "-m", "pipeline", "compare", candidate.uri, *(run.uri for run in references)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):
        raise RuntimeError(f"compare ended with exit code {code}")
    processor = used.ru_utime + used.ru_stime
    return {"seconds": seconds, "of the processor": processor, "MiB": used.ru_maxrss / 1024, "exit code": code}


def _run(folder: Path, night: int, rows: int, classes: int, part_rows: int) -> Run:
    uri = folder / f"{rows}-{classes}-{part_rows}-{night}"
    run = Run.open(str(uri))
    if run.is_finished:
        return run
    pool, rng = make_rows(min(rows, _POOL_ROWS), classes), np.random.default_rng(night)
    parts = (_draw(pool, rng, night, start, min(part_rows, rows - start)) for start in range(0, rows, part_rows))
    provenance = Provenance({}, "benchmark", "net.keras", "benchmark", {})  # of the default options
    return redraw.write_parts(str(uri), parts, provenance, f"2026-11-{night + 1:02d}T00:00:00+00:00", pool)


def make_rows(count: int, classes: int, seed: int = 0) -> pa.Table:
    """Returns `count` random rows with `redraw.COLUMNS`, of pictures that are labeled, and mostly rightly predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count, dtype=np.int32)
    predicted = np.where(rng.random(count) < 0.8, labels, rng.integers(classes, size=count, dtype=np.int32))
    names = pa.array([f"class {code}" for code in range(classes)])
    schema = attributions_schema(Settings(), (224, 224, 3))
    grid = rng.gamma(0.5, size=(count, _GRID**2))
    grid /= grid.sum(axis=1, keepdims=True)
    vectors = {"grid": grid, "signed_grid": grid * rng.normal(0.1, 1, grid.shape), "channel_share": _thirds(rng, count)}
    top = {"target": predicted, "name": names.take(pa.array(predicted)), "probability": rng.random(count)}
    kind = schema.field("predictions").type.value_type
    fields = [pa.array(values).cast(field.type) for values, field in zip(top.values(), kind, strict=True)]
    ends = pa.array(np.arange(count + 1, dtype=np.int32))
    columns: dict[str, Any] = {name: np.zeros(count) for name in redraw.COLUMNS}
    columns |= {name: rng.normal(size=count) for name in SCALARS}
    columns |= {"insertion_auc": pa.nulls(count), "deletion_auc": pa.nulls(count), "fields": pa.nulls(count)}
    columns |= {
        "image_id": pa.array([""] * count),
        "shard": pa.array([""] * count),
        "converged": np.ones(count, bool),
        "steps": rng.integers(24, 512, count),
        "label": labels,
        "label_name": names.take(pa.array(labels)),
        "predictions": pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays(fields, fields=list(kind))),
        "target": predicted,
        "target_name": names.take(pa.array(predicted)),
    }
    columns |= {name: _lists(values) for name, values in vectors.items()}
    wanted = [schema.field(name) for name in redraw.COLUMNS]
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in wanted]
    return pa.Table.from_arrays(arrays, schema=pa.schema(wanted))


def _thirds(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.dirichlet([30, 30, 30], count)


def _lists(values: np.ndarray) -> pa.Array:
    ends = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(ends, pa.array(values.astype(np.float32).ravel()))


def _draw(pool: pa.Table, rng: np.random.Generator, night: int, start: int, count: int) -> pa.Table:
    """Returns rows drawn from the pool, as those of pictures with numbers from `start` on."""
    numbers = range(start, start + count)
    rows = redraw.take(pool, rng.integers(len(pool), size=count))
    shards = [f"/in/photos-{number // _SHARD_ROWS:05d}.tfrecord" for number in numbers]
    ids = [f"photos-{number // _SHARD_ROWS:05d}.tfrecord#night-{night}-{number}" for number in numbers]
    contents = [f"{night:08x}{number:024x}" for number in numbers]  # no picture comes again
    drawn = {"image_id": ids, "shard": shards, "index": list(numbers), CONTENT: contents}
    for name, values in drawn.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(name), pa.array(values, rows.schema.field(name).type))
    return rows


if __name__ == "__main__":
    main()
