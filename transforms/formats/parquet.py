"""Parquet shards of images, as Hugging Face's `struct<bytes, path>` or as plain binary; each row is an image.

Planning reads only the footer; reading takes the row groups that a chunk overlaps, a few rows at a time,
and holds no more than one page of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Chunk, Failure, Image
from transforms.core.vocabulary import MAX_SCHEMA_LIST
from transforms.formats.pages import check_pages, column_chunks
from transforms.formats.shard import (
    ReadOptions,
    RecordError,
    Shard,
    ShardError,
    as_text,
    cut,
    failure,
    parse_label,
)

_BATCH_ROWS = 16
_BUFFER_BYTES = 1 << 20


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
        for row in _slice(file, stream, chunk, _columns(file.schema_arrow, options)):
            try:
                image = _image(chunk, index, row, options)
            except RecordError as error:
                yield failure(chunk, index, index, error)
            else:
                yield image
            index += 1
    if index < chunk.start + chunk.count:
        raise ShardError(f"the shard ends before row {index}")


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


def _columns(schema: pa.Schema, options: ReadOptions) -> list[str]:
    """Returns the columns to read, after checking that their types suit the options."""
    _check(schema, "image_column", options.image_column, _holds_images, "binary or struct<bytes: binary, path: string>")
    columns = [options.image_column]
    if options.label_column in schema.names or options.label_column != ReadOptions.label_column:
        _check(schema, "label_column", options.label_column, _holds_labels, "integers or strings")
        columns.append(options.label_column)
    if options.mask_column:
        _check(
            schema, "mask_column", options.mask_column, _holds_images, "binary or struct<bytes: binary, path: string>"
        )
        columns.append(options.mask_column)
    for name in options.fields:
        _check(schema, "fields", name, lambda kind: not pa.types.is_nested(kind), "plain values")
    return list(dict.fromkeys([*columns, *options.fields]))


def _check(schema: pa.Schema, option: str, name: str, fits: Any, expected: str) -> None:
    if schema.get_field_index(name) < 0:
        raise UsageError(f"{option}: column {name!r} is missing or not unique in {', '.join(schema.names):.400}")
    if not fits(schema.field(name).type):
        raise UsageError(f"{option}: column {name!r} is {schema.field(name).type}, not {expected}")


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _holds_labels(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    return any(check(kind) for check in (*checks, pa.types.is_string_view))


def _slice(file: pq.ParquetFile, stream: IO[bytes], chunk: Chunk, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yields the chunk's rows, one row group after another, so that damage to one does not affect those before it."""
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
                    yield from batch.slice(first, last - first).to_pylist()
                position += batch.num_rows
                if position >= stop:
                    return
        position = end


def _image(chunk: Chunk, index: int, row: dict[str, Any], options: ReadOptions) -> Image:
    data = _bytes(row[options.image_column], options)
    if data is None:
        raise RecordError("the row holds no image bytes")
    label = parse_label(row.get(options.label_column))
    fields = tuple((name, as_text(row[name])) for name in options.fields if row[name] is not None)
    mask = _bytes(row[options.mask_column], options) if options.mask_column else None
    return Image(f"{chunk.name}#{index}", chunk.shard, index, data, label, fields, mask)


def _bytes(value: Any, options: ReadOptions) -> bytes | None:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is not None and len(data) > options.max_bytes:
        raise RecordError(f"the image's {len(data)} bytes are more than the {options.max_bytes} allowed")
    return data
