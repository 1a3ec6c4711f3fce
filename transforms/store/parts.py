"""One atomic pair of files per chunk: `errors/part-<chunk id>.parquet` first, then `attributions/…`.

The presence of the attributions part means that the chunk is finished; an errors part exists only where an
image failed. A retry writes the same rows to the same names, so nothing is lost or doubled, whichever worker
dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.record import Chunk, Failure, Row
from transforms.store import schema
from transforms.store.files import (
    ParquetFileWriter,
    StoredFile,
    describe_file,
    iter_tables,
    open_parquet,
    read_metadata,
    read_table,
    write_parquet,
)
from transforms.store.labels import NO_LABEL, LabelCounts
from transforms.store.schema import KEY, Provenance

ATTRIBUTIONS = "attributions"
ERRORS = "errors"

DAMAGES = (OSError, ValueError, pa.ArrowException)
"""What reading a part raises if it is missing or damaged, besides a StorageError, which says nothing of the part."""

CHUNK = KEY + "chunk"
"""Metadata of a part: its chunk, as JSON."""

FINGERPRINT = KEY + "fingerprint"
"""Metadata of a part: the fingerprint of what was read of its chunk."""

_ROW_GROUP_BYTES = 4 << 20
_CHECKED_ROWS = 64


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What a finished chunk wrote.

    Attributes:
        chunk: the chunk's id.
        shard: URI of the chunk's shard.
        start: index of the chunk's first image within the shard.
        attributions: the part with its rows.
        errors: the part with its failures; None where no image failed.
        images: number of images read, attributed or failed.
        rows: number of rows; an image has one for each of its targets.
        failures: number of images that failed, rows in errors.
        labels: what the labels of attributed images are good for; None in runs of earlier versions.
        untargeted: number of images without what was to be explained, rows in errors too.
        unsampled: number of images that were not looked at, as they are not in the run's sample.
    """

    chunk: str
    shard: str
    start: int
    attributions: StoredFile
    errors: StoredFile | None
    images: int
    rows: int
    failures: int
    labels: LabelCounts | None = None
    untargeted: int = 0
    unsampled: int = 0

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PartSummary:
        """Returns the summary that `dataclasses.asdict` turned into `content`."""
        files = {name: content[name] and StoredFile(**content[name]) for name in (ATTRIBUTIONS, ERRORS)}
        labels = LabelCounts(**found) if (found := content.get("labels")) else None
        return cls(**{**content, **files, "labels": labels})


@dataclass(frozen=True)
class PartFooter:
    """What an attributions part says of itself, read without its rows; counts as in PartSummary.

    Attributes:
        fingerprint: a digest of all that was read of the chunk; empty in runs of earlier versions.
    """

    provenance: Provenance
    chunk: Chunk
    images: int
    rows: int
    failures: int
    labels: LabelCounts | None
    untargeted: int
    unsampled: int = 0
    fingerprint: str = ""

    @property
    def has_errors(self) -> bool:
        """Whether a file of errors belongs to the part."""
        return bool(self.failures + self.untargeted)

    def summary(self, chunk: Chunk, attributions: StoredFile, errors: StoredFile | None) -> PartSummary:
        """Returns the summary of such a part of `chunk` in these files."""
        names = ("images", "rows", "failures", "labels", "untargeted", "unsampled")
        counts = {name: getattr(self, name) for name in names}
        return PartSummary(chunk.id, chunk.shard, chunk.start, attributions, errors, **counts)


class PartWriter:
    """Takes what became of a chunk's images, in their order; see `write_part`.

    Attributes:
        summary: what was written, once the block of `write_part` has ended.
        fingerprint: of all that was read of the chunk, to be set before the block ends; empty if nobody is to know.
        unsampled: number of images of the chunk that are not in the sample, to be set before the block ends, too.
    """

    summary: PartSummary
    fingerprint: str = ""
    unsampled: int = 0

    def __init__(self, parquet: ParquetFileWriter, columns: pa.Schema, group_rows: int):
        self._parquet = parquet
        self._columns = columns
        self._group_rows = group_rows
        self._pending: list[Row] = []
        self.rows = 0
        self.labels = LabelCounts()
        self.failures: list[Failure] = []
        self.notes: dict[str, str] = {}

    @property
    def images(self) -> int:
        """Number of images so far, attributed, failed or without a target."""
        return self.labels.images + len(self.failures)

    def add(self, rows: Sequence[Row], label: LabelCounts = NO_LABEL) -> None:
        """Adds the rows of one image, one for each of its targets, and the counts of its label."""
        self._pending.extend(rows)
        self.labels = LabelCounts.total((self.labels, label))
        self.rows += len(rows)
        if len(self._pending) >= self._group_rows:
            self.flush()

    def fail(self, failure: Failure) -> None:
        """Adds an image that could not be attributed."""
        self.failures.append(failure)

    def note(self, name: str, value: object) -> None:
        """Adds what the part says of its making beyond its provenance; `value` becomes JSON."""
        self.notes[KEY + name] = schema.to_json(value)

    def flush(self) -> None:
        """Writes the rows that are still in memory."""
        if self._pending:
            self._parquet.write(schema.rows_to_table(self._pending, self._columns))
            self._pending = []


@contextlib.contextmanager
def write_part(
    run_uri: str,
    chunk: Chunk,
    provenance: Provenance,
    settings: Settings,
    map_shape: tuple[int, int, int],
    task: str = "classes",
) -> Iterator[PartWriter]:
    """Opens the writer of a chunk's part; on an error in the block, no part appears.

    Rows leave memory in row groups of about 4 MiB of maps, or of at most 4 MiB of pictures if no maps are stored.

    Args:
        run_uri: the run directory.
        chunk: the chunk whose images are written.
        provenance: what the part is made by.
        settings: how maps are stored.
        map_shape: (height, width, channels) of a map before channels are reduced.
        task: what the model decides, one of `vocabulary.TASKS`.
    """
    columns = schema.attributions_schema(settings, map_shape, task)
    stored_shape = schema.stored_shape(settings, map_shape)
    metadata = opening_metadata(provenance, chunk, schema.to_json(stored_shape) if stored_shape else None)
    if stored_shape is None:
        row_bytes = math.prod(map_shape[:2])  # of a picture: rows are still read a group at a time
    else:
        row_bytes = math.prod(stored_shape) * np.dtype(settings.dtype).itemsize
    with write_parquet(run_uri, part_name(ATTRIBUTIONS, chunk.id), columns, metadata) as parquet:
        writer = PartWriter(parquet, columns, max(1, _ROW_GROUP_BYTES // row_bytes))
        yield writer
        writer.flush()
        untargeted = sum(failure.stage == "target" for failure in writer.failures)
        failed = len(writer.failures) - untargeted
        counts = {"images": writer.images, "rows": writer.rows, "failures": failed, "untargeted": untargeted}
        counts["unsampled"] = writer.unsampled
        closing = {KEY + name: str(count) for name, count in counts.items()}
        closing[KEY + "labels"] = schema.to_json(dataclasses.asdict(writer.labels))
        closing |= writer.notes | ({FINGERPRINT: writer.fingerprint} if writer.fingerprint else {})
        parquet.add_metadata(dict(sorted(closing.items())))  # in an order that those who copy it know
        errors = _write_errors(run_uri, chunk.id, writer.failures, metadata)
    writer.summary = PartSummary(
        chunk.id, chunk.shard, chunk.start, parquet.stored, errors, **counts, labels=writer.labels
    )


def read_footer(uri: str) -> PartFooter:
    """Returns what the attributions part at `uri` says of itself.

    Raises:
        OSError: the file is missing or damaged.
        ValueError: it is not such a part.
    """
    with open_parquet(uri) as parquet:
        metadata = read_metadata(parquet)
    try:
        chunk = json.loads(metadata[CHUNK])
        counts = {name: int(metadata[KEY + name]) for name in ("images", "rows", "failures")}
        counts |= {name: int(metadata.get(KEY + name, 0)) for name in ("untargeted", "unsampled")}
        labels = LabelCounts(**json.loads(found)) if (found := metadata.get(KEY + "labels")) else None
        chunk = Chunk(**{**chunk, "members": tuple(chunk["members"])})
        fingerprint = metadata.get(FINGERPRINT, "")
        return PartFooter(Provenance.from_metadata(metadata), chunk, **counts, labels=labels, fingerprint=fingerprint)
    except (KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{uri}: not a part of a run ({error!r})") from error


def finished_part(run_uri: str, chunk: Chunk, config_digest: str) -> PartSummary | None:
    """Returns what `chunk` wrote in an earlier run of the same config, or None where it must be done (again).

    A part that is damaged, or was made by another config or of another chunk, counts as unfinished; so does one whose
    shard was refused.

    Raises:
        StorageError: the storage fails, so that it is unknown whether there is such a part.
    """
    name = part_name(ATTRIBUTIONS, chunk.id)
    try:
        footer = read_footer(storage.join(run_uri, name))
        if footer.provenance.config_digest != config_digest or footer.chunk != chunk:
            return None
        check_files(run_uri, chunk.id, footer)
        attributions = describe_file(run_uri, name)
        errors = describe_file(run_uri, part_name(ERRORS, chunk.id)) if footer.has_errors else None
    except storage.StorageError:
        raise
    except DAMAGES:
        return None
    return footer.summary(chunk, attributions, errors)


def check_files(run_uri: str, chunk_id: str, footer: PartFooter) -> None:
    """Checks that every page of a part and of its errors can be read.

    Raises:
        OSError: a file is missing or damaged.
        ValueError: it has not the rows that the footer says, or stands for a shard that the storage refused.
    """
    _check_rows(run_uri, part_name(ATTRIBUTIONS, chunk_id), footer.rows)
    if footer.has_errors:
        errors = part_name(ERRORS, chunk_id)
        _check_rows(run_uri, errors, footer.failures + footer.untargeted)
        if _was_refused(run_uri, errors):
            raise UsageError(f"{errors}: the storage refused the shard")


def opening_metadata(provenance: Provenance, chunk: Chunk, map_shape: str | None) -> dict[str, str]:
    """Returns the metadata of a part and of its errors that is known before their rows.

    Args:
        provenance: what the part is made by.
        chunk: the chunk whose images are written.
        map_shape: the shape of stored maps, as JSON; None if none are stored.
    """
    metadata = provenance.to_metadata() | {CHUNK: schema.to_json(dataclasses.asdict(chunk))}
    return metadata | ({schema.MAP_SHAPE: map_shape} if map_shape else {})


def part_name(table: str, chunk_id: str) -> str:
    """Returns a part's name relative to the run directory."""
    return f"{table}/part-{chunk_id}.parquet"


def _write_errors(
    run_uri: str, chunk_id: str, failures: Sequence[Failure], metadata: Mapping[str, str]
) -> StoredFile | None:
    name = part_name(ERRORS, chunk_id)
    if not failures:
        storage.delete(storage.join(run_uri, name))  # an earlier attempt may have left one
        return None
    with write_parquet(run_uri, name, schema.ERRORS, metadata) as parquet:
        parquet.write(schema.failures_to_table(failures))
    return parquet.stored


def _was_refused(run_uri: str, name: str) -> bool:
    """Returns whether the storage refused a shard, as errors say."""
    with open_parquet(storage.join(run_uri, name)) as parquet:
        return storage.RefusedError.__name__ in read_table(parquet, ["error"]).column("error").to_pylist()


def _check_rows(run_uri: str, name: str, rows: int) -> None:
    """Checks that every page of a file can be read.

    Raises:
        OSError: it is missing or damaged.
        ValueError: it has not `rows` rows.
    """
    with open_parquet(storage.join(run_uri, name)) as parquet:
        found = sum(len(table) for table in iter_tables(parquet, rows=_CHECKED_ROWS))
    if found != rows:
        raise UsageError(f"{name}: {found} rows, where {rows} were written")
