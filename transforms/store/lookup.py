"""The stored rows of one image, found without reading the rest; and maps as they were before they were stored."""

from __future__ import annotations

import difflib
import itertools
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.errors import UsageError
from transforms.core.maps.quantize import restore
from transforms.core.record import Row
from transforms.store.schema import arrays, pairs

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_SCALES = {"attribution": "scale", "gradient": "gradient_scale"}
_SUGGESTIONS = 3
_COMPARED = 20_000


def find_rows(parts: ds.Dataset, image_id: str, columns: Sequence[str]) -> list[Row]:
    """Returns the rows of an image, the highest ranked target first; none if it is not there.

    Args:
        parts: the attributions of a run.
        image_id: as stored.
        columns: what to read besides `target` and `target_rank`, as far as it is stored.
    """
    scales = [scale for name, scale in _SCALES.items() if name in columns]
    wanted = dict.fromkeys([*columns, "target", "target_rank", *scales])
    stored = [name for name in wanted if name in parts.schema.names]
    table = parts.to_table(columns=stored, filter=pc.field("image_id") == image_id)
    return sorted(rows_of_table(table), key=lambda row: (row["target_rank"] or 0, row["target"]))


def find_first(parts: ds.Dataset, image_ids: Sequence[str], column: str) -> dict[str, np.ndarray]:
    """Returns the map of the highest ranked target of each image that is there, float32, in units of the score.

    Args:
        parts: the attributions of a run.
        image_ids: as stored.
        column: the map's.

    Raises:
        ValueError: there is no such column.
    """
    _check_stored(parts.schema.names, column)
    names = ["image_id", "target_rank", "target", column, _SCALES[column]]
    table = parts.to_table(columns=names, filter=pc.field("image_id").isin(pa.array(image_ids, pa.string())))
    table = table.sort_by([("target_rank", "descending"), ("target", "descending")])
    return dict(zip(table.column("image_id").to_pylist(), restored_maps(table, column), strict=True))


def rows_of_table(table: pa.Table) -> list[Row]:
    """Returns the rows of a table of attributions; maps come as float32, if their scales are in the table too."""
    maps = {name: restored_maps(table, name) for name in _SCALES if name in table.column_names}
    rows = table.drop_columns(list(maps)).to_pylist()
    for row in rows:
        if "fields" in row:
            row["fields"] = pairs(row["fields"])
    for name, values in maps.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


def restored_maps(table: pa.Table, column: str) -> np.ndarray:
    """Returns the maps of a table of attributions, float32 `[rows, height, width, …]`, in units of the score.

    Raises:
        ValueError: the table lacks the maps or their scales.
    """
    _check_stored(table.column_names, column)
    stored = arrays(table, column)
    restored = np.zeros(stored.shape, np.float32)
    for row, scale in enumerate(table.column(_SCALES[column]).to_pylist()):
        restored[row] = restore(stored[row], scale)
    return restored


def stack(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Returns maps as one array, float32 `[maps, …]`.

    Raises:
        UsageError: they differ in shape.
    """
    if len(shapes := sorted({each.shape for each in maps})) > 1:
        raise UsageError(f"maps of different shapes, {' and '.join(map(str, shapes))}; ask for them one by one")
    return np.stack(maps) if maps else np.zeros((0, 0, 0), np.float32)


def why_failed(image_id: str, errors: ds.Dataset) -> str:
    """Returns why an image could not be attributed, as the errors of its run say; nothing if they do not."""
    if errors.files:
        for failure in errors.to_table(filter=pc.field("image_id") == image_id).to_pylist():
            return f"stage {failure['stage']}, {failure['error']}: {failure['message']}"
    return ""


def similar_ids(image_id: str, parts: ds.Dataset) -> list[str]:
    """Returns a few stored ids that hold `image_id`, or, among the first ones, look like it."""
    holding = parts.scanner(columns=["image_id"], filter=pc.match_substring(pc.field("image_id"), image_id))
    found = list(itertools.islice(_ids(holding), _SUGGESTIONS))
    if found:
        return found
    some = dict.fromkeys(itertools.islice(_ids(parts.scanner(columns=["image_id"])), _COMPARED))
    return difflib.get_close_matches(image_id, some, _SUGGESTIONS)


def without_map(run_uri: str, image_id: str) -> UsageError:
    """Returns the error for an image of a run that stores no maps and has not refined this one."""
    again = shlex.join(["ig-audit", "refine", run_uri, "--images", image_id])
    return UsageError(f"{image_id}: no maps are stored; {again} adds this one")


def _check_stored(names: Sequence[str], column: str) -> None:
    if column not in _SCALES:
        raise UsageError(f"column: {column!r} is not one of {', '.join(_SCALES)}")
    if missing := [name for name in (column, _SCALES[column]) if name not in names]:
        raise UsageError(f"column: {' and '.join(missing)} is not stored, or was not read")


def _ids(scanner: ds.Scanner) -> Iterator[str]:
    for batch in scanner.to_batches():
        yield from dict.fromkeys(batch.column("image_id").to_pylist())
