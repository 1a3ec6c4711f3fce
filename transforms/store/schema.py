"""Columns of the stored tables, the provenance in their metadata, and rows ↔ Arrow."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.record import Failure, Row
from transforms.core.settings import Settings
from transforms.core.statistics import STORED_SCALARS, VECTORS, Columns

KEY = "ig_audit."
"""What the keys of our file metadata begin with."""

PLACING_COLUMNS = ("label", "label_name", "predictions", "target", "target_name", "target_rank", "shard", "fields")
"""The columns of attributions that place a row in its slices."""

STATISTIC_COLUMNS = (
    *VECTORS,
    *STORED_SCALARS,
    "baseline_score",
    "converged",
    *PLACING_COLUMNS,
)
"""The columns of attributions from which statistics are computed."""

ERRORS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Provenance:
    """What a file was made by; stands in the metadata of every file of a run.

    Attributes:
        config: the options that shape results, JSON values only.
        config_digest: of these options and the files they name; files of another digest don't mix.
        model: URI of the model.
        model_digest: sha256 of the model's files.
        versions: library versions by name.
        baseline_images: encoded pictures of `image:` baselines in their order, so that they can be shown
            without their source.
    """

    config: Mapping[str, Any]
    config_digest: str
    model: str
    model_digest: str
    versions: Mapping[str, str]
    baseline_images: tuple[bytes, ...] = ()

    def to_metadata(self) -> dict[str, str]:
        """Returns the file metadata, by key."""
        return {
            KEY + "config": to_json(self.config),
            KEY + "config_digest": self.config_digest,
            KEY + "model": self.model,
            KEY + "model_digest": self.model_digest,
            KEY + "versions": to_json(self.versions),
            KEY + "baseline_images": to_json([base64.b64encode(data).decode("ascii") for data in self.baseline_images]),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Provenance:
        """Returns the provenance in a file's metadata.

        Raises:
            ValueError: the metadata holds none.
        """
        try:
            return cls(
                config=json.loads(metadata[KEY + "config"]),
                config_digest=metadata[KEY + "config_digest"],
                model=metadata[KEY + "model"],
                model_digest=metadata[KEY + "model_digest"],
                versions=json.loads(metadata[KEY + "versions"]),
                baseline_images=tuple(map(base64.b64decode, json.loads(metadata[KEY + "baseline_images"]))),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the file's metadata doesn't say what made it ({error!r})") from error


def attributions_schema(settings: Settings, map_shape: tuple[int, int, int]) -> pa.Schema:
    """Returns the columns of attributions.

    Args:
        settings: how maps are stored, and the cells of the importance grid.
        map_shape: (height, width, channels) of a map before channels are reduced.
    """
    stored_shape = map_shape if settings.channels == "all" else map_shape[:2]
    shares = {"grid": settings.grid**2, "signed_grid": settings.grid**2, "channel_share": map_shape[2]}
    element = pa.from_numpy_dtype(np.dtype(settings.dtype))
    prediction = pa.struct([("target", pa.int32()), ("name", pa.string()), ("probability", pa.float32())])
    step = pa.struct([("alpha", pa.float32()), ("score", pa.float32()), ("slope", pa.float32())])
    gradient = [("gradient", pa.fixed_shape_tensor(pa.int8(), map_shape[:2])), ("gradient_scale", pa.float32())]
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("shard", pa.string(), nullable=False),
            pa.field("index", pa.int64(), nullable=False),
            ("label", pa.int32()),
            ("label_name", pa.string()),
            pa.field("target", pa.int32(), nullable=False),
            ("target_name", pa.string()),
            ("target_rank", pa.int32()),
            ("score", pa.float32()),
            ("baseline_score", pa.float32()),
            ("convergence_delta", pa.float32()),
            ("error_estimate", pa.float32()),
            ("converged", pa.bool_()),
            ("steps", pa.int32()),
            ("predictions", pa.list_(prediction)),
            ("attribution", pa.fixed_shape_tensor(element, stored_shape)),
            ("scale", pa.float32()),
            *(gradient if settings.gradient else ()),
            *((name, pa.list_(pa.float32(), size)) for name, size in shares.items()),
            ("positive_share", pa.float32()),
            ("gini", pa.float32()),
            ("entropy", pa.float32()),
            ("center_row", pa.float32()),
            ("center_col", pa.float32()),
            ("border_share", pa.float32()),
            ("mask_share", pa.float32()),
            ("pointing_hit", pa.float32()),
            ("insertion_auc", pa.float32()),
            ("deletion_auc", pa.float32()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("thumbnail", pa.binary()),
            ("path", pa.list_(step)),
            ("fields", pa.map_(pa.string(), pa.string())),
        ]
    )


def rows_to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Returns `rows` as a table; `path` may be float32 `[n, 3]`, and `fields` a dict or pairs.

    What can't be written as UTF-8 (a lone surrogate, from an odd file name or JSON) is escaped with a backslash.
    Equal numbers are stored alike: −0 as 0. A number that is NaN is unknown, and stored as null.

    Raises:
        KeyError: a row lacks a column.
        ValueError: an array's shape isn't the schema's.
    """
    columns = [_column([row[field.name] for row in rows], field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def failures_to_table(failures: Iterable[Failure]) -> pa.Table:
    """Returns `failures` as a table, in their order."""
    return rows_to_table([vars(failure) for failure in failures], ERRORS)


def statistic_columns(table: pa.Table) -> Columns:
    """Returns what `statistics.summarize_rows` takes, from the STATISTIC_COLUMNS of stored rows."""
    columns: dict[str, Any] = {name: matrix(table.column(name)) for name in VECTORS}
    for name in (*STORED_SCALARS, "baseline_score"):
        columns[name] = table.column(name).to_numpy()  # NaN where there is none
    columns["converged"] = table.column("converged").to_numpy()
    return columns | slice_columns(table)


def slice_columns(table: pa.Table) -> dict[str, list[Any]]:
    """Returns the `slices.SLICE_COLUMNS` of rows, from their PLACING_COLUMNS."""
    columns = {name: table.column(name).to_pylist() for name in PLACING_COLUMNS if name != "predictions"}
    top = first_predictions(table)
    return columns | {
        "predicted": pc.struct_field(top, "target").to_pylist(),
        "predicted_name": pc.struct_field(top, "name").to_pylist(),
    }


def first_predictions(table: pa.Table) -> pa.StructArray:
    """Returns the first of each row's `predictions`; null where a row has none."""
    predictions = table.column("predictions").combine_chunks()
    return pc.list_slice(predictions, 0, 1, return_fixed_size_list=True).flatten()


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column of fixed-size lists as `[rows, elements]`."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), column.type.list_size)


def to_json(value: Any) -> str:
    """Returns `value` as JSON, the same text for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    if isinstance(field.type, pa.FixedShapeTensorType):
        storage = _fixed_size(values, field.type.storage_type, tuple(field.type.shape))
        return pa.ExtensionArray.from_storage(field.type, storage)
    if pa.types.is_fixed_size_list(field.type):
        return _fixed_size(values, field.type, None)
    if field.name == "path":
        return _steps(values, field.type)
    elif pa.types.is_map(field.type):
        values = [[(_text(key), _text(value)) for key, value in dict(pairs).items()] for pairs in values]
    elif pa.types.is_string(field.type):
        values = [None if value is None else _text(value) for value in values]
    elif pa.types.is_floating(field.type):
        return _numbers(values, field.type)
    return pa.array(values, field.type)


def _numbers(values: list[Any], kind: pa.DataType) -> pa.Array:
    found = np.array([np.nan if value is None else value for value in values], np.float64)
    return pa.array(_without_minus_zero(found.astype(kind.to_pandas_dtype())), kind, from_pandas=True)


def _without_minus_zero(values: np.ndarray) -> np.ndarray:
    return values + values.dtype.type(0)  # −0 + 0 is 0


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _fixed_size(values: list[Any], kind: pa.DataType, shape: tuple[int, ...] | None) -> pa.Array:
    dtype = pa.array([], kind.value_type).to_numpy(zero_copy_only=False).dtype  # its own answer needs pandas
    arrays = [np.asarray(value, dtype) for value in values]
    for array in arrays:
        if array.size != kind.list_size or (shape is not None and array.shape != shape):
            raise ValueError(f"an array of shape {array.shape}, where {shape or kind.list_size} is stored")
    flat = np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0, dtype)
    return pa.FixedSizeListArray.from_arrays(pa.array(_without_minus_zero(flat)), type=kind)


def _steps(paths: list[Any], kind: pa.ListType) -> pa.Array:
    step = kind.value_type
    steps = [np.asarray(path, np.float32).reshape(-1, 3) for path in paths]
    ends = np.cumsum([0, *map(len, steps)], dtype=np.int32)
    values = np.ascontiguousarray(_without_minus_zero(np.concatenate([np.zeros((0, 3), np.float32), *steps])).T)
    columns = pa.StructArray.from_arrays(list(map(pa.array, values)), fields=list(step))
    return pa.ListArray.from_arrays(pa.array(ends), columns, kind)
