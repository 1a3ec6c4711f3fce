"""`statistics/statistics.parquet`: one row per slice, sorted; the same statistics make the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.core.statistics.histogram import Histogram
from transforms.core.statistics.importance import (
    ImportanceStatistics,
    class_biases,
    optional_in,
    statistics_columns,
)
from transforms.core.statistics.slices import Slice
from transforms.core.statistics.statistic import ColumnType
from transforms.store.files import StoredFile, write_parquet
from transforms.store.schema import Provenance

STATISTICS = "statistics/statistics.parquet"

BLOCK_SLICES = 64
"""In memory at once as they are stored."""

_BUCKET = pa.struct([("low", pa.float64()), ("high", pa.float64()), ("count", pa.int64())])
_TYPES: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "numbers": pa.list_(pa.float64()),
    "histogram": pa.list_(_BUCKET),
}


def statistics_schema(optional: Collection[str] = ()) -> pa.Schema:
    """Returns the columns of statistics; lists over grid cells are row by row.

    Args:
        optional: names of the optional statistics that there are.
    """
    key = [(name, pa.string()) for name in ("kind", "value", "name")]
    columns = [(name, _TYPES[kind]) for name, kind in statistics_columns(optional).items()]
    return pa.schema([*key, *columns, ("state", pa.string())])


def statistics_table(statistics: Mapping[Slice, ImportanceStatistics]) -> pa.Table:
    """Returns `statistics` as they are stored."""
    return pa.concat_tables([_schema_of(statistics).empty_table(), *statistics_blocks(statistics)]).combine_chunks()


def statistics_blocks(statistics: Mapping[Slice, ImportanceStatistics]) -> Iterator[pa.Table]:
    """Yields the rows of statistics_table, BLOCK_SLICES at a time."""
    slices = sorted(statistics.items(), key=lambda item: item[0])
    optional, biases = optional_in(statistics.values()), class_biases(statistics)
    schema = statistics_schema(optional)
    for start in range(0, len(slices), BLOCK_SLICES):
        rows = [vars(key) | value.finish(optional, biases) for key, value in slices[start : start + BLOCK_SLICES]]
        yield pa.Table.from_arrays(
            [_column([row[field.name] for row in rows], field) for field in schema], schema=schema
        )


def _schema_of(statistics: Mapping[Slice, ImportanceStatistics]) -> pa.Schema:
    return statistics_schema(optional_in(statistics.values()))


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    return _histograms(values) if field.type == _TYPES["histogram"] else pa.array(values, field.type)


def _histograms(values: Sequence[Histogram]) -> pa.Array:
    """Returns histograms as lists of buckets, without a Python value for each: these would take far more memory."""
    ends = np.cumsum([0, *(len(histogram.buckets) for histogram in values)], dtype=np.int32)
    bars = itertools.chain.from_iterable(histogram.bars() for histogram in values)
    table = np.fromiter(bars, np.dtype("f8,f8,i8"), ends[-1])
    columns = [pa.array(np.ascontiguousarray(table[name])) for name in table.dtype.names or ()]
    buckets = pa.StructArray.from_arrays(columns, fields=list(_BUCKET))
    return pa.ListArray.from_arrays(pa.array(ends), buckets, _TYPES["histogram"])


def write_statistics(
    run_uri: str, statistics: Mapping[Slice, ImportanceStatistics], provenance: Provenance
) -> StoredFile:
    """Writes the statistics of a run; returns the file."""
    with write_parquet(run_uri, STATISTICS, _schema_of(statistics), provenance.to_metadata()) as parquet:
        for block in statistics_blocks(statistics):
            parquet.write(block)
    return parquet.stored


def statistics_of(table: pa.Table) -> dict[Slice, ImportanceStatistics]:
    """Returns statistics by slice, to be merged, of a table with their `kind`, `value`, `name` and `state`.

    Raises:
        ValueError: a state cannot be read.
    """
    rows = table.select(["kind", "value", "name", "state"]).to_pylist()
    return {
        Slice(row["kind"], row["value"], row["name"]): ImportanceStatistics.from_state(row["state"]) for row in rows
    }
