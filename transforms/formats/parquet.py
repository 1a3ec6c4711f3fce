"""Parquet shards of images: binary, Hugging Face's `struct<bytes, path>`, or arrays; each row is an image.

If no column has the default name of images or labels, Hugging Face's metadata may name one; see `describe`.
Planning reads only the footer; reading takes the row groups that a chunk overlaps, a few rows at a time,
and holds no more than one page of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Chunk, Failure, Image
from transforms.core.vocabulary import MAX_LABEL_ITEMS, MAX_SCHEMA_LIST
from transforms.formats.features import features_of
from transforms.formats.label import MEMBERS, StoredLabel, parse_label, unusable
from transforms.formats.pages import check_pages, column_chunks
from transforms.formats.shard import (
    ReadOptions,
    RecordError,
    Shard,
    ShardError,
    as_text,
    cut,
    failure,
)
from transforms.formats.tensor import fixed_bytes, is_tensor, tensor

_BATCH_ROWS = 16
_BUFFER_BYTES = 1 << 20
_SHOWN_NAMES = 3
_LABEL_TYPES = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null),
)
_IMAGE_TYPES = (
    "binary, struct<bytes: binary, path: string>, or arrays in the order [height, width] or [height, width, channels]"
)


@dataclass(frozen=True)
class _Columns:
    """The columns that are read of a shard.

    Attributes:
        image: the column of images.
        label: the column of labels; empty if there is none.
        label_names: the names of the classes that labels count, as the metadata give them; empty if they do not.
        others: masks and fields.
        notes: what was taken for granted, a sentence each.
    """

    image: str
    label: str
    label_names: tuple[str, ...]
    others: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        return [name for name in dict.fromkeys((self.image, self.label, *self.others)) if name]


def plan(shard: Shard, options: ReadOptions) -> Iterator[Chunk]:
    """Yields the chunks of a shard; reads only the footer.

    Raises:
        ValueError: a column that the options name is missing or has an unsuitable type.
    """
    yield from cut(shard, _rows(shard.uri, options), options.chunk_images)


def read(chunk: Chunk, options: ReadOptions) -> Iterator[Image | Failure]:
    """Yields a chunk's images in order.

    Raises:
        ShardError: the shard is damaged within the chunk.
    """
    index = chunk.start
    with _opened(chunk.shard) as (file, stream):
        columns = _columns(file.schema_arrow, options)
        for batch in _slice(file, stream, chunk, columns.names):
            for position in range(batch.num_rows):
                try:
                    image = _image(chunk, index, _Row(batch, position, options), columns, options)
                except RecordError as error:
                    yield failure(chunk, index, index, error)
                else:
                    yield image
                index += 1
    if index < chunk.start + chunk.count:
        raise ShardError(f"the shard ends before row {index}")


def describe(shard: Shard, options: ReadOptions) -> tuple[str, ...]:
    """Returns what is taken for granted of a shard's columns, a sentence each; reads only the footer.

    Raises:
        ValueError: a column that the options name is missing or has an unsuitable type.
        ShardError: the shard is damaged.
    """
    with _opened(shard.uri) as (file, _):
        return _columns(file.schema_arrow, options).notes


def _rows(uri: str, options: ReadOptions) -> Iterator[int]:
    with _opened(uri) as (file, _):
        _columns(file.schema_arrow, options)
        rows = file.metadata.num_rows
        groups = sum(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
    if not 0 <= rows == groups <= (storage.size(uri) or 0):
        raise ShardError(f"the footer claims {rows} rows, more than the file can hold")
    yield from range(rows)


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[tuple[pq.ParquetFile, IO[bytes]]]:
    """Opens a shard, as Parquet and as bytes.

    Inside the block, errors of the content are raised as `ShardError`, and errors of the storage unchanged.
    """
    with storage.open_read(uri) as stream:
        try:
            file = pq.ParquetFile(
                stream, buffer_size=_BUFFER_BYTES, pre_buffer=False, thrift_container_size_limit=MAX_SCHEMA_LIST
            )
            yield file, stream
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise ShardError(f"not readable as Parquet: {error}") from error
        except (FileNotFoundError, storage.StorageError):
            raise
        except OSError as error:  # raised by Arrow for damaged pages
            raise ShardError(f"not readable as Parquet: {error}") from error


def _columns(schema: pa.Schema, options: ReadOptions) -> _Columns:
    """Returns the columns to read, after checking that their types suit the options."""
    features = features_of(schema)
    images = [name for name in features.images if _holds_images(schema.field(name).type)]
    image, notes = _named(schema, "image_column", options.image_column, images, "Image")
    _check(schema, "image_column", image, _holds_images, _IMAGE_TYPES)
    if (size := _array_bytes(schema.field(image).type)) > options.max_bytes:
        raise UsageError(f"image_column: arrays of {size} bytes in column {image!r}; max_bytes is {options.max_bytes}")
    label, more = _named(schema, "label_column", options.label_column, list(features.labels), "ClassLabel")
    if label in schema.names or label != ReadOptions.label_column:
        if label:
            _check(schema, "label_column", label, _holds_labels, "numbers, texts, or lists or structs of these")
    else:
        label = ""
    names = features.labels.get(label, ())
    if names:
        more += (
            f"labels: class names in the Parquet metadata ({_some(names)}) count if class_names has another order",
        )
    masks = (options.mask_column,) if options.mask_column else ()
    for name in masks:
        _check(schema, "mask_column", name, _holds_encoded, "binary or struct<bytes: binary, path: string>")
    for name in options.fields:
        _check(schema, "fields", name, lambda kind: not pa.types.is_nested(kind), "plain values")
    return _Columns(image, label, names, (*masks, *options.fields), notes + more)


def _named(schema: pa.Schema, option: str, name: str, known: list[str], feature: str) -> tuple[str, tuple[str, ...]]:
    """Returns the column that an option names, or, in place of the default name, the only `known` one, with a note."""
    if name in schema.names or name != getattr(ReadOptions, option) or len(known) != 1:
        return name, ()
    found = f"column {known[0]!r}, the only {feature} feature of the Parquet metadata; there is no column {name!r}"
    return known[0], (f"{option}: {found}",)


def _some(names: tuple[str, ...]) -> str:
    more = f", … ({len(names) - _SHOWN_NAMES} more)" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(f"{name:.40}" for name in names[:_SHOWN_NAMES]) + more


def _check(schema: pa.Schema, option: str, name: str, fits: Callable[[pa.DataType], bool], expected: str) -> None:
    if schema.get_field_index(name) < 0:
        raise UsageError(f"{option}: column {name!r} is missing or not unique in {', '.join(schema.names):.400}")
    if not fits(schema.field(name).type):
        raise UsageError(f"{option}: column {name!r} is {schema.field(name).type}, not {expected}")


def _holds_images(kind: pa.DataType) -> bool:
    return _holds_encoded(kind) or is_tensor(kind)


def _array_bytes(kind: pa.DataType) -> int:
    return fixed_bytes(kind) if is_tensor(kind) else 0


def _holds_encoded(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _holds_labels(kind: pa.DataType) -> bool:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if _is_list(kind):
        return _holds_labels(kind.value_type)
    if pa.types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in MEMBERS)
    return _is_binary(kind) or any(check(kind) for check in _LABEL_TYPES)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _slice(file: pq.ParquetFile, stream: IO[bytes], chunk: Chunk, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yields the chunk's rows, a few at a time, by row groups: damage to one does not affect those before it."""
    position, stop = 0, chunk.offset + chunk.count
    groups = column_chunks(stream)
    if len(groups) != file.metadata.num_row_groups:
        raise ShardError("the footer is damaged: its row groups can be read in two ways")
    for group, column_group in enumerate(groups):
        end = position + file.metadata.row_group(group).num_rows
        if end > chunk.offset:
            for column in column_group:
                if column.name in columns:
                    check_pages(stream, column)
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
                first, last = max(chunk.offset - position, 0), min(stop - position, batch.num_rows)
                if first < last:
                    yield batch.slice(first, last - first)
                position += batch.num_rows
                if position >= stop:
                    return
        position = end


@dataclass(frozen=True)
class _Row:
    """One row of a batch, of which values become Python's when they are asked for."""

    batch: pa.RecordBatch
    position: int
    options: ReadOptions

    def __getitem__(self, name: str) -> Any:
        return self.batch.column(name)[self.position].as_py()

    def picture(self, name: str) -> bytes | None:
        """Returns an encoded image, or an array as the bytes of a `.npy` file; None if there is none."""
        column = self.batch.column(name)
        if is_tensor(column.type):
            return tensor(column, self.position, self.options.max_bytes)
        value = self[name]
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is not None and len(data) > self.options.max_bytes:
            raise RecordError(f"the image's {len(data)} bytes are more than the {self.options.max_bytes} allowed")
        return data

    def label(self, name: str) -> StoredLabel:
        """Returns the label; of a list too long for one, not its items."""
        scalar = self.batch.column(name)[self.position]
        if scalar.is_valid and _is_list(scalar.type) and len(scalar) > MAX_LABEL_ITEMS:
            return unusable(f"the label is a list of {len(scalar)} items; at most {MAX_LABEL_ITEMS} are allowed")
        return parse_label(scalar.as_py())


def _image(chunk: Chunk, index: int, row: _Row, columns: _Columns, options: ReadOptions) -> Image:
    data = row.picture(columns.image)
    if data is None:
        raise RecordError("the row holds no image bytes")
    label = row.label(columns.label) if columns.label else StoredLabel()
    fields = tuple((name, as_text(value)) for name in options.fields if (value := row[name]) is not None)
    mask = row.picture(options.mask_column) if options.mask_column else None
    image_id = f"{chunk.name}#{index}"
    return Image(image_id, chunk.shard, index, data, label.value, fields, mask, columns.label_names, label.problem)
