"""Parts of earlier runs that this run would write alike: copied, not computed.

A part is taken if its chunk has the same name, its options, model and versions are the run's own, the fingerprint of
what was read of the chunk is that of what is read now, and each of its pages is sound. The copy is, byte for byte, what
the run would have written: if the part says something else of its making (its shard was elsewhere), it is written anew
from its rows, with what has changed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import pyarrow as pa

from transforms import storage
from transforms.core.record import Chunk
from transforms.store.files import StoredFile, open_parquet, read_metadata, write_parquet
from transforms.store.parts import (
    ATTRIBUTIONS,
    DAMAGES,
    ERRORS,
    PartFooter,
    PartSummary,
    check_files,
    opening_metadata,
    part_name,
    read_footer,
)
from transforms.store.schema import MAP_SHAPE, Provenance

NEW = "new"
OTHER_BYTES = "of other bytes"
OTHER_RANGE = "of another range of its shard"
OTHER_OPTIONS = "of other options, another model or other versions"
WITHOUT_FINGERPRINT = "without a fingerprint"
UNSOUND = "damaged there, or of a shard that was refused"
"""Why a chunk is computed although there are earlier runs; `new` if none of them has a part of this name."""

_ARROW_SCHEMA = "ARROW:schema"
"""Metadata of a file that Arrow wrote: the schema as it was given."""

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where the part of a chunk comes from.

    Attributes:
        run: the earlier run that it was taken from; empty if it was computed.
        reason: why it was computed although there are earlier runs; empty otherwise.
    """

    run: str = ""
    reason: str = ""


COMPUTED = Origin()
"""Of a part that was computed since there was no earlier run to look at, or that is of an interrupted start."""


def take_part(
    run_uri: str,
    earlier: Sequence[tuple[str, Container[str]]],
    chunk: Chunk,
    provenance: Provenance,
    fingerprint: Callable[[], str],
) -> tuple[PartSummary | None, Origin]:
    """Returns the part of a chunk as taken from the first earlier run that has it; None if none has.

    Args:
        run_uri: the run directory, into which the part is copied.
        earlier: URIs of earlier runs, each with the names of its parts.
        chunk: the chunk, as planned now.
        provenance: what every part of the run says about its making.
        fingerprint: reads the chunk now; is called at most once.

    Raises:
        StorageError: the storage fails.
        OSError: the copy cannot be written.
    """
    name = part_name(ATTRIBUTIONS, chunk.id)
    reason, read = NEW, ""
    for uri, names in earlier:
        if name not in names:
            continue
        footer = _footer(storage.join(uri, name))
        reason = _difference(footer, chunk, provenance)
        if footer is None or reason:
            continue
        read = read or fingerprint()
        if footer.fingerprint != read:
            reason = OTHER_BYTES
        elif not _is_sound(uri, chunk, footer):
            reason = UNSOUND
        else:
            return _take(run_uri, uri, chunk, provenance, footer), Origin(uri)
    return None, Origin(reason=reason)


def _footer(uri: str) -> PartFooter | None:
    """Returns what a part says of itself; None if it is damaged."""
    try:
        return read_footer(uri)
    except storage.StorageError:
        raise
    except DAMAGES:
        return None


def _difference(footer: PartFooter | None, chunk: Chunk, provenance: Provenance) -> str:
    """Returns why a part cannot be that of `chunk`, as far as its footer shows without reading the shard."""
    if footer is None:
        return UNSOUND
    made = footer.provenance
    if (made.config_digest, made.versions) != (provenance.config_digest, provenance.versions):
        return OTHER_OPTIONS
    if (footer.chunk.start, footer.chunk.count) != (chunk.start, chunk.count):
        return OTHER_RANGE
    return "" if footer.fingerprint else WITHOUT_FINGERPRINT


def _is_sound(run_uri: str, chunk: Chunk, footer: PartFooter) -> bool:
    try:
        check_files(run_uri, chunk.id, footer)
    except storage.StorageError:
        raise
    except DAMAGES:
        return False
    return True


def _take(run_uri: str, earlier_uri: str, chunk: Chunk, provenance: Provenance, footer: PartFooter) -> PartSummary:
    """Copies a part and its errors; these come first, since the part's presence means that the chunk is finished."""
    is_alike = footer.chunk == chunk and footer.provenance == provenance
    stored: dict[str, StoredFile] = {}
    for table in (ERRORS, ATTRIBUTIONS):
        name = part_name(table, chunk.id)
        if table == ERRORS and not footer.has_errors:
            storage.delete(storage.join(run_uri, name))  # an earlier attempt may have left one
        elif is_alike:
            stored[table] = _copy(run_uri, earlier_uri, name)
        else:
            stored[table] = _write_anew(run_uri, earlier_uri, name, chunk, provenance)
    return footer.summary(chunk, stored[ATTRIBUTIONS], stored.get(ERRORS))


def _copy(run_uri: str, earlier_uri: str, name: str) -> StoredFile:
    """Copies a file as it is."""
    digest, size = hashlib.sha256(), 0
    source, target = storage.join(earlier_uri, name), storage.join(run_uri, name)
    with storage.open_read(source) as stream, storage.write_atomic(target) as copy:
        while block := stream.read(_BLOCK_BYTES):
            copy.write(block)
            digest.update(block)
            size += len(block)
    return StoredFile(name, size, digest.hexdigest())


def _write_anew(run_uri: str, earlier_uri: str, name: str, chunk: Chunk, provenance: Provenance) -> StoredFile:
    """Writes the rows of a file again, under the run's provenance and with the place where the shard is now."""
    with open_parquet(storage.join(earlier_uri, name)) as parquet:
        stored = read_metadata(parquet)
        opening = opening_metadata(provenance, chunk, stored.get(MAP_SHAPE))
        closing = {key: text for key, text in sorted(stored.items()) if key not in opening and key != _ARROW_SCHEMA}
        schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(stored[_ARROW_SCHEMA]))).remove_metadata()
        with write_parquet(run_uri, name, schema, opening) as written:
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, use_threads=False).cast(schema)  # Parquet names items of lists
                written.write(_placed(rows, chunk.shard))
            written.add_metadata(closing)
    return written.stored


def _placed(rows: pa.Table, shard: str) -> pa.Table:
    """Returns rows, in one piece, with the URI of their shard."""
    position = rows.schema.get_field_index("shard")
    field = rows.schema.field(position)
    return rows.set_column(position, field, pa.array([shard] * len(rows), field.type)).combine_chunks()
