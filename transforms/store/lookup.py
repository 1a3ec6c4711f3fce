"""The stored rows of one image, found without reading the rest."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.maps.quantize import restore
from transforms.core.record import Row
from transforms.store.parts import ATTRIBUTIONS, ERRORS
from transforms.store.schema import arrays, pairs

_MAPS = {"attribution": "scale", "gradient": "gradient_scale"}
_SUGGESTIONS = 3
_COMPARED = 20_000


def find_rows(run_uri: str, image_id: str, columns: Sequence[str]) -> list[Row]:
    """Returns the rows of an image, the highest ranked target first.

    Args:
        run_uri: a run directory, complete or not.
        image_id: as stored.
        columns: what to read besides `target` and `target_rank`, as far as the run stores it; `attribution` and
            `gradient` come as float32 maps, in units of the score, and `fields` as pairs.

    Raises:
        ValueError: the run has no such image; the message tells why it failed, or which ids are like it.
    """
    try:
        return _find_rows(run_uri, image_id, columns)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{run_uri}: a part is damaged, or not a Parquet file: {error}") from error


def _find_rows(run_uri: str, image_id: str, columns: Sequence[str]) -> list[Row]:
    parts = _dataset(run_uri, ATTRIBUTIONS)
    scales = [scale for name, scale in _MAPS.items() if name in columns]
    wanted = dict.fromkeys([*columns, "target", "target_rank", *scales])
    stored = [name for name in wanted if name in parts.schema.names]
    table = parts.to_table(columns=stored, filter=ds.field("image_id") == image_id)
    if not len(table):
        raise UsageError(_why_missing(run_uri, image_id, parts))
    return sorted(rows_of_table(table), key=lambda row: (row["target_rank"], row["target"]))


def rows_of_table(table: pa.Table) -> list[Row]:
    """Returns the rows of a table of attributions; maps come as float32, if their scales are in the table too."""
    maps = {name: arrays(table, name) for name in _MAPS if name in table.column_names}
    rows = table.drop_columns(list(maps)).to_pylist()
    for row in rows:
        if "fields" in row:
            row["fields"] = pairs(row["fields"])
    for name, values in maps.items():
        for row, stored in zip(rows, values, strict=True):
            row[name] = restore(stored, row[_MAPS[name]])
    return rows


def _dataset(run_uri: str, table: str) -> ds.Dataset:
    filesystem, path = storage.resolve(storage.join(run_uri, table))
    names = [name for name in storage.names(storage.join(run_uri, table)) if not name.startswith(".")]
    return ds.dataset([f"{path}/{name}" for name in names], filesystem=filesystem, format="parquet")


def _why_missing(run_uri: str, image_id: str, parts: ds.Dataset) -> str:
    errors = _dataset(run_uri, ERRORS)
    if errors.files:
        for failure in errors.to_table(filter=ds.field("image_id") == image_id).to_pylist():
            reason = f"stage {failure['stage']}, {failure['error']}: {failure['message']}"
            return f"{image_id}: could not be attributed; {reason}"
    close = _similar(image_id, parts)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{image_id}: no such image in {run_uri}{hint}"


def _similar(image_id: str, parts: ds.Dataset) -> list[str]:
    """Returns a few stored ids that hold `image_id`, or, among the first ones, look like it."""
    holding = parts.scanner(columns=["image_id"], filter=pc.match_substring(ds.field("image_id"), image_id))
    found = list(itertools.islice(_ids(holding), _SUGGESTIONS))
    if found:
        return found
    some = dict.fromkeys(itertools.islice(_ids(parts.scanner(columns=["image_id"])), _COMPARED))
    return difflib.get_close_matches(image_id, some, _SUGGESTIONS)


def _ids(scanner: ds.Scanner) -> Iterator[str]:
    for batch in scanner.to_batches():
        yield from dict.fromkeys(batch.column("image_id").to_pylist())
