"""Columns of the stored tables, the provenance in their metadata, and rows ↔ Arrow.

Only types that every reader of Parquet knows: arrays are plain lists, row by row, whose shape stands in the metadata of
their field (and that of maps in the file's, too). Fixed-size lists would not do, as pyarrow cannot read them back where
some are null; nor extension types and map types, which Hugging Face's `datasets` refuses.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.record import Failure, Row
from transforms.core.statistics.importance import taken_columns
from transforms.core.statistics.statistic import Columns
from transforms.core.vocabulary import (
    CELLS,
    CONTENT,
    OPTIONAL_COLUMNS,
    REFERENCE,
    REFERENCE_EXTRA,
    REFERENCED,
    SECOND_CELLS,
    TASK_COLUMNS,
)

KEY = "ig_audit."
"""What the keys of our file metadata begin with."""

MAP_SHAPE = KEY + "map_shape"
"""Metadata of a file of attributions: the shape of its maps, as JSON."""

_SHAPE = b"shape"
"""Metadata of a field of arrays: their shape, as JSON."""

PLACING_COLUMNS = ("label", "label_name", "predictions", "target", "target_name", "target_rank", "shard", "fields")
"""The columns of attributions that place a row in its slices, beside those that only runs of some tasks have."""

STATISTIC_COLUMNS = (*dict.fromkeys((*taken_columns(), *PLACING_COLUMNS)),)
"""The columns of attributions from which the statistics of every run are computed."""

SUMMARIZED_COLUMNS = (*dict.fromkeys((*STATISTIC_COLUMNS, *taken_columns(optional=True), *OPTIONAL_COLUMNS)),)
"""The columns from which all statistics are computed; those that a run does not store may be asked for too."""

_NAMED = pa.list_(pa.struct([("target", pa.int32()), ("name", pa.string())]))
_OPTIONAL_TYPES = {"labels": _NAMED, "decided": _NAMED, "label_value": pa.float64(), "label_difference": pa.float32()}

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
        config_digest: of these options and the files they name; files of another digest do not mix.
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
        except (KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"the file's metadata does not say what made it ({error!r})") from error


def attributions_schema(settings: Settings, map_shape: tuple[int, int, int], task: str = "classes") -> pa.Schema:
    """Returns the columns of attributions.

    Args:
        settings: how maps are stored, and the cells of the importance grid.
        map_shape: (height, width, channels) of a map before channels are reduced.
        task: what the model decides, one of `vocabulary.TASKS`.
    """
    cells = (settings.grid, settings.grid)
    vectors = {CELLS: cells, "grid": cells, "signed_grid": cells, "channel_share": map_shape[2:]}
    element = pa.from_numpy_dtype(np.dtype(settings.dtype))
    prediction = [("target", pa.int32()), ("name", pa.string()), ("probability", pa.float32())]
    prediction += [("value", pa.float32())] if task == "values" else []
    shape = stored_shape(settings, map_shape)
    maps = [] if shape is None else [_arrays("attribution", element, shape), ("scale", pa.float32())]
    step = pa.struct([("alpha", pa.float32()), ("score", pa.float32()), ("slope", pa.float32())])
    pair = pa.struct([("key", pa.string()), ("value", pa.string())])
    gradient = [_arrays("gradient", pa.int8(), map_shape[:2]), ("gradient_scale", pa.float32())]
    schema = pa.schema(
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
            ("predictions", pa.list_(pa.struct(prediction))),
            *maps,
            *(gradient if settings.gradient else ()),
            *(_arrays(name, pa.float32(), shape) for name, shape in vectors.items()),
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
            (CONTENT, pa.string()),
            ("path", pa.list_(step)),
            ("fields", pa.list_(pair)),
            *((name, _OPTIONAL_TYPES[name]) for name in TASK_COLUMNS.get(task, ())),
        ]
    )
    for field in _of_few_steps(settings, schema):
        schema = schema.append(field)
    return schema


def _of_few_steps(settings: Settings, schema: pa.Schema) -> list[pa.Field]:
    """Returns the columns of further maps that only some rows have, of the same types as those of the rows' own."""
    second = [schema.field(CELLS).with_name(SECOND_CELLS)] if settings.rule == "shifted" else []
    if not settings.reference_share:
        return second
    referenced = [schema.field(name).with_name(REFERENCE + name) for name in REFERENCED]
    return [*second, *referenced, pa.field(REFERENCE_EXTRA, pa.bool_())]


def stored_shape(settings: Settings, map_shape: tuple[int, int, int]) -> tuple[int, ...] | None:
    """Returns the shape in which maps of `map_shape` (height, width, channels) are stored; None if none are."""
    if settings.channels == "none":
        return None
    return map_shape if settings.channels == "all" else map_shape[:2]


def shape_of(field: pa.Field) -> tuple[int, ...] | None:
    """Returns the shape of a column's arrays, as its field says; None if the column holds none, or does not say."""
    if isinstance(field.type, pa.FixedShapeTensorType):  # of version 0.1.0, as the next
        return tuple(field.type.shape)
    if pa.types.is_fixed_size_list(field.type):
        return (field.type.list_size,)
    found = (field.metadata or {}).get(_SHAPE)
    return tuple(json.loads(found)) if found else None


def rows_to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Returns `rows` as a table.

    Arrays come in the shape of their field, or as None; `path` as float32 `[n, 3]`; `fields` as a dict or pairs.
    What cannot be written as UTF-8 (a lone surrogate, from an odd file name or JSON) is escaped with a backslash.
    Equal numbers are stored alike: −0 as 0. A number that is NaN is unknown, and stored as null.

    Raises:
        KeyError: a row lacks a column.
        ValueError: an array's shape is not the schema's.
    """
    columns = [_column([row[field.name] for row in rows], field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def failures_to_table(failures: Iterable[Failure]) -> pa.Table:
    """Returns `failures` as a table, in their order."""
    return rows_to_table([vars(failure) for failure in failures], ERRORS)


def statistic_columns(table: pa.Table) -> Columns:
    """Returns what `statistics.summarize_rows` takes, from the SUMMARIZED_COLUMNS of stored rows."""
    names = [name for name in taken_columns(optional=True) if name in table.column_names]
    columns = {name: matrix(table, name) if shape_of(table.field(name)) else _values(table, name) for name in names}
    return columns | slice_columns(table)


def _values(table: pa.Table, name: str) -> np.ndarray:
    """Returns a column of numbers, null as NaN, or of truth values, of which what is unknown is not true."""
    column = table.column(name)
    values: np.ndarray = (pc.fill_null(column, False) if pa.types.is_boolean(column.type) else column).to_numpy()
    return values


def slice_columns(table: pa.Table) -> dict[str, list[Any]]:
    """Returns the `slices.SLICE_COLUMNS` of rows, from their PLACING_COLUMNS."""
    columns = {name: table.column(name).to_pylist() for name in PLACING_COLUMNS if name != "predictions"}
    columns["fields"] = list(map(pairs, columns["fields"]))
    top = first_predictions(table)
    columns |= {
        "predicted": pc.struct_field(top, "target").to_pylist(),
        "predicted_name": pc.struct_field(top, "name").to_pylist(),
    }
    for stored, number, name in (("labels", "label", "label_name"), ("decided", "predicted", "predicted_name")):
        if stored in table.column_names:
            found = table.column(stored).to_pylist()
            columns |= {number: [_part_of(each, "target") for each in found]}
            columns |= {name: [_part_of(each, "name") for each in found]}
    return columns


def _part_of(labels: list[Any] | None, name: str) -> tuple[Any, ...] | None:
    """Returns one field of each of an image's labels; None if it has no label."""
    return None if labels is None else tuple(each[name] for each in labels)


def first_predictions(table: pa.Table) -> pa.StructArray:
    """Returns the first of each row's `predictions`; null where a row has none."""
    predictions = table.column("predictions").combine_chunks()
    return pc.list_slice(predictions, 0, 1, return_fixed_size_list=True).flatten()


def matrix(table: pa.Table, name: str) -> np.ndarray:
    """Returns a column of arrays of numbers as `[rows, elements]`; null is NaN in every element.

    Raises:
        ValueError: they differ in length, or from the shape that the column says they have.
    """
    return np.concatenate([np.zeros((0, _elements(table, name)), np.float32), *_matrices(table, name, np.nan)])


def arrays(table: pa.Table, name: str) -> np.ndarray:
    """Returns a column of arrays as `[rows, …]` in their shape and type.

    Raises:
        ValueError: they have not the shape that the column says, it does not say one, or one is null.
    """
    shape = shape_of(table.schema.field(name))
    if shape is None or table.column(name).null_count:
        raise ValueError(f"{name}: the column does not say the shape of its arrays, or one is missing")
    found = list(_matrices(table, name, 0))
    return np.concatenate(found).reshape(-1, *shape) if found else np.zeros((0, *shape))


def pairs(stored: Iterable[Any] | None) -> list[tuple[str, str]]:
    """Returns the pairs of one row's `fields`, which version 0.1.0 stored as a map."""
    return [(pair["key"], pair["value"]) if isinstance(pair, dict) else tuple(pair) for pair in stored or ()]


def to_json(value: Any) -> str:
    """Returns `value` as JSON, the same text for the same content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    if shape := shape_of(field):
        return _lists(values, field, shape)
    if field.name == "path":
        return _steps(values, field.type)
    if field.name == "fields":
        values = [[{"key": _text(key), "value": _text(value)} for key, value in dict(row).items()] for row in values]
    elif pa.types.is_string(field.type):
        values = [None if value is None else _text(value) for value in values]
    elif pa.types.is_floating(field.type):
        return _numbers(values, field.type)
    return pa.array(values, field.type)


def _numbers(values: list[Any], kind: pa.DataType) -> pa.Array:
    found = np.array([np.nan if value is None else value for value in values], np.float64)
    return pa.array(_without_minus_zero(found.astype(_dtype(kind))), kind, from_pandas=True)


def _dtype(kind: pa.DataType) -> np.dtype:
    return np.asarray(pa.array([], kind).to_numpy(zero_copy_only=False)).dtype  # Arrow's own answer needs pandas


def _without_minus_zero(values: np.ndarray) -> np.ndarray:
    return values + values.dtype.type(0)  # −0 + 0 is 0


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _arrays(name: str, element: pa.DataType, shape: tuple[int, ...]) -> pa.Field:
    return pa.field(name, pa.list_(element), metadata={_SHAPE: to_json(shape)})


def _lists(values: list[Any], field: pa.Field, shape: tuple[int, ...]) -> pa.Array:
    dtype = _dtype(field.type.value_type)
    known = np.array([value is not None for value in values], bool)
    found = [np.asarray(value, dtype) for value in values if value is not None]
    for array in found:
        if array.shape != shape:
            raise ValueError(f"{field.name}: an array of shape {array.shape}, where {shape} is stored")
    flat = np.concatenate([np.zeros(0, dtype), *(array.ravel() for array in found)])
    ends = np.cumsum([0, *(known * math.prod(shape))], dtype=np.int32)
    mask = None if known.all() else pa.array(~known)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(_without_minus_zero(flat)), field.type, mask=mask)


def _elements(table: pa.Table, name: str) -> int:
    """Returns the length of a column's arrays; that of the first, if the column does not say it."""
    shape = shape_of(table.schema.field(name))
    if shape is not None:
        return math.prod(shape)
    return next((int(size) for size in pc.list_value_length(table.column(name)).to_pylist() if size is not None), 0)


def _matrices(table: pa.Table, name: str, unknown: float) -> Iterator[np.ndarray]:
    """Yields a column of arrays by chunks, `[rows, elements]` each."""
    elements = _elements(table, name)
    for chunk in table.column(name).chunks:
        if isinstance(chunk, pa.ExtensionArray):
            chunk = chunk.storage
        lengths = pc.unique(pc.list_value_length(chunk).drop_null()).to_pylist()
        if lengths not in ([], [elements]):
            raise ValueError(f"{name}: arrays of {lengths} numbers, where {elements} are stored")
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        if chunk.null_count:
            filled = np.full((len(chunk), elements), unknown, values.dtype)
            filled[chunk.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, elements)
            yield filled
        else:
            yield values.reshape(len(chunk), elements)


def _steps(paths: list[Any], kind: pa.ListType) -> pa.Array:
    step = kind.value_type
    steps = [np.asarray(path, np.float32).reshape(-1, 3) for path in paths]
    ends = np.cumsum([0, *map(len, steps)], dtype=np.int32)
    values = np.ascontiguousarray(_without_minus_zero(np.concatenate([np.zeros((0, 3), np.float32), *steps])).T)
    columns = pa.StructArray.from_arrays(list(map(pa.array, values)), fields=list(step))
    return pa.ListArray.from_arrays(pa.array(ends), columns, kind)
