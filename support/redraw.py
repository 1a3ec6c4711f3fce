"""Nights from stored rows: runs whose rows are sampled from those of another, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import pyarrow as pa

from transforms import store
from transforms.core.record import Chunk
from transforms.core.statistics.importance import ImportanceStatistics, add_slices, summarize_rows
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.vocabulary import FEW_STEPS_COLUMNS, LATER_COLUMNS, OPTIONAL_COLUMNS
from transforms.store.files import write_parquet
from transforms.store.parts import ATTRIBUTIONS, PartSummary, part_name
from transforms.store.run import Run
from transforms.store.schema import KEY, STATISTIC_COLUMNS, Provenance, statistic_columns, to_json

COLUMNS = ("image_id", "index", *STATISTIC_COLUMNS, *LATER_COLUMNS)
"""The columns of a redrawn night, as far as the rows have them: no maps and no pictures. Some runs have
`vocabulary.OPTIONAL_COLUMNS` and `FEW_STEPS_COLUMNS`, too."""


def read_pool(run: Run) -> pa.Table:
    """Returns the rows of a finished run, with only these columns, as far as it stores them."""
    return pa.concat_tables(run.rows((*COLUMNS, *OPTIONAL_COLUMNS, *FEW_STEPS_COLUMNS))).combine_chunks()


def write_night(run_uri: str, rows: pa.Table, provenance: Provenance, created: str) -> Run:
    """Writes `rows` as a finished run; returns it.

    Args:
        run_uri: URI of the new run.
        rows: with COLUMNS, those that earlier versions lack aside; image ids are unique.
        provenance: options, model and versions that the run records.
        created: time of the run, ISO 8601.
    """
    return write_parts(run_uri, [rows], provenance, created)


def write_parts(
    run_uri: str, parts: Iterable[pa.Table], provenance: Provenance, created: str, counted: pa.Table | None = None
) -> Run:
    """Writes a finished run of several parts; returns it.

    Args:
        run_uri: URI of the new run.
        parts: the rows of each, with COLUMNS; image ids are unique.
        provenance: options, model and versions that the run records.
        created: time of the run, ISO 8601.
        counted: the rows of which the statistics are, if not all; then `verify` refuses the run.
    """
    slicer = Slicer(tuple(provenance.config.get("slice_by", ())))
    written, start = [], 0
    statistics: dict[Slice, ImportanceStatistics] = {}
    for number, rows in enumerate(parts):
        written.append(_write_part(run_uri, rows, provenance, f"night-{number}" if number else "night", start))
        start += len(rows)
        if counted is None:
            add_slices(statistics, summarize_rows(statistic_columns(rows), slicer).items())
    if counted is not None:
        statistics = summarize_rows(statistic_columns(counted), slicer)
    stored = store.write_statistics(run_uri, statistics, provenance)
    store.write_manifest(run_uri, store.Manifest(created, provenance, stored, tuple(written)))
    return Run.open(run_uri)


def _write_part(run_uri: str, rows: pa.Table, provenance: Provenance, name: str, start: int) -> PartSummary:
    chunk = Chunk(name, "/night", "night", "files", start, len(rows))
    counts = {"images": len(rows), "rows": len(rows), "failures": 0}
    metadata = provenance.to_metadata() | {KEY + "chunk": to_json(dataclasses.asdict(chunk))}
    metadata |= {KEY + name: str(count) for name, count in counts.items()}
    with write_parquet(run_uri, part_name(ATTRIBUTIONS, chunk.id), rows.schema, metadata) as parquet:
        parquet.write(rows)
    return PartSummary(chunk.id, chunk.shard, chunk.start, parquet.stored, None, **counts, labels=None)


def take(rows: pa.Table, positions: Sequence[int]) -> pa.Table:
    """Returns the rows at `positions`."""
    return rows.take(pa.array(positions, pa.int64()))
