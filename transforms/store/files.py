"""Parquet files of a run: written whole with their digest, read by row groups."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.vocabulary import FEW_STEPS_COLUMNS, LATER_COLUMNS, MAP_COLUMNS, OPTIONAL_COLUMNS

BATCH_ROWS = 1024
"""Rows that are read at a time."""

_HASH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a run: its name relative to the run directory, its size, and its sha256."""

    name: str
    bytes: int
    sha256: str


class ParquetFileWriter:
    """Writes tables into one Parquet file, zstd and checksummed; the same tables make the same bytes.

    Attributes:
        stored: what was written, once the file is closed.
    """

    stored: StoredFile

    def __init__(self, name: str, stream: IO[bytes], schema: pa.Schema, metadata: Mapping[str, str]):
        self._name = name
        self._hashed = _HashedStream(stream)
        self._parquet = pq.ParquetWriter(
            self._hashed,
            schema.with_metadata(dict(metadata)),
            compression="zstd",
            use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        """Writes `table` as one row group."""
        self._parquet.write_table(table, row_group_size=max(1, len(table)))

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Adds to the metadata in the footer."""
        self._parquet.add_key_value_metadata(dict(metadata))

    def close(self) -> None:
        """Writes the footer."""
        self._parquet.close()
        self.stored = StoredFile(self._name, self._hashed.size, self._hashed.digest.hexdigest())


@contextlib.contextmanager
def write_parquet(
    run_uri: str, name: str, schema: pa.Schema, metadata: Mapping[str, str]
) -> Iterator[ParquetFileWriter]:
    """Opens the file `name` of a run; it appears when the block ends, or, on an error, not at all."""
    with storage.write_atomic(storage.join(run_uri, name)) as stream:
        writer = ParquetFileWriter(name, stream, schema, metadata)
        with contextlib.closing(writer):
            yield writer


@contextlib.contextmanager
def open_parquet(uri: str, columns: Iterable[str] = ()) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file whose pages are checked against their checksums as they are read.

    Args:
        uri: the file.
        columns: what is to be read; reading itself passes over columns that a file lacks, maps among them.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the storage fails: nothing is known of the file.
        OSError: the file is damaged.
        ValueError: it is not a Parquet file, or lacks a column that every run has: an earlier version wrote it.
    """
    with storage.open_read(uri) as stream, _parquet(stream, uri) as parquet:
        stored = parquet.schema_arrow.names
        may_lack = {*OPTIONAL_COLUMNS, *LATER_COLUMNS, *FEW_STEPS_COLUMNS, *MAP_COLUMNS}
        needed = [name for name in columns if name not in may_lack]
        if missing := [name for name in needed if name.partition(".")[0] not in stored]:
            raise UsageError(
                f"{uri}: has no column {', '.join(missing)}; another version of ig-audit wrote this run: "
                "make it again with this one"
            )
        yield parquet


def read_metadata(parquet: pq.ParquetFile) -> dict[str, str]:
    """Returns the key-value metadata of a file's footer."""
    pairs = parquet.metadata.metadata or {}
    return {key.decode(): value.decode() for key, value in pairs.items()}


def iter_tables(
    parquet: pq.ParquetFile, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Yields the file's rows, `rows` at a time, with only `columns`.

    In batches and in one thread, since reading row groups whole costs megabytes for each column of each of them.
    """
    for batch in parquet.iter_batches(rows, columns=columns, use_threads=False):
        yield pa.Table.from_batches([batch])


def read_table(parquet: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Returns `columns` of all rows of the file, read by `iter_tables`."""
    tables = list(iter_tables(parquet, columns))
    return pa.concat_tables(tables) if tables else parquet.read(columns=list(columns))


def describe_file(run_uri: str, name: str) -> StoredFile:
    """Returns size and digest of a file that is there.

    Raises:
        FileNotFoundError: it is not.
    """
    digest, size = hashlib.sha256(), 0
    with storage.open_read(storage.join(run_uri, name)) as stream:
        while block := stream.read(_HASH_BYTES):
            digest.update(block)
            size += len(block)
    return StoredFile(name, size, digest.hexdigest())


def _parquet(stream: IO[bytes], uri: str) -> pq.ParquetFile:
    try:  # gathering what is to be read pays where each request is a round trip; of local files it takes a third longer
        return pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=storage.is_remote(uri))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{uri}: is damaged, or not a Parquet file: {error}") from error


class _HashedStream(io.RawIOBase):
    """Passes on what is written, and keeps its size and sha256."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)
