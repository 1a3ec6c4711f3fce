"""A run as a value: everything that is read of a run directory once, or while, the job writes it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Row
from transforms.core.statistics.slices import Slice, Slicer
from transforms.store import lookup
from transforms.store.files import BATCH_ROWS, StoredFile, iter_tables, open_parquet, read_table
from transforms.store.json_object import read_object
from transforms.store.labels import LabelCounts
from transforms.store.manifest import MANIFEST, Manifest
from transforms.store.parts import ATTRIBUTIONS, DAMAGES, ERRORS, PartSummary, read_footer
from transforms.store.refined import Refined
from transforms.store.schema import Provenance
from transforms.store.tables import STATISTICS

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from transforms.store.given_labels import GivenLabels
    from transforms.store.sample import Sample

AUDIT = "audit.json"


@dataclass(frozen=True)
class Run:
    """A run directory: a value that is cheap to make and to compare; its files are read when they are asked for.

    The manifest, the provenance, the audit and the names of the statistics are read once and kept, so open a run again
    after its job has changed it. Only `provenance`, `has_begun`, `is_finished` and `find` take unfinished runs.

    >>> run = Run.open("tests/runs/0.1.0")
    >>> run.manifest.images, run.manifest.failures
    (7, 1)
    >>> run.statistics(["count", "mean_score"], kind="all").to_pylist()[0]["count"]
    6
    >>> run.maps(["pictures-00000-of-00002.tar#2"]).shape
    (1, 16, 16, 3)

    Attributes:
        uri: of the directory, as it was given.
        labels: those that came later and count instead of the stored ones; see `given_labels.give_labels`.
    """

    uri: str
    labels: GivenLabels | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, uri: str) -> Run:
        """Returns the run at `uri`; whether there is one is known once something of it is read."""
        return cls(uri)

    @functools.cached_property
    def manifest(self) -> Manifest:
        """What the complete run consists of.

        Raises:
            FileNotFoundError: there is none: the run is unfinished, or there is no run.
            ValueError: it is not a manifest of this version.
        """
        try:
            return self._stored_manifest
        except FileNotFoundError as error:
            if self.names_of(ATTRIBUTIONS):
                text = f"{self.uri_of(MANIFEST)}: no manifest, so the run is unfinished"
                raise FileNotFoundError(text) from error
            raise self._nothing_here() from error

    @functools.cached_property
    def _stored_manifest(self) -> Manifest:
        uri = self.uri_of(MANIFEST)
        content = storage.read_bytes(uri)
        try:
            return Manifest.from_json(content)
        except UsageError as error:
            raise UsageError(f"{uri}: {error}") from error

    @functools.cached_property
    def provenance(self) -> Provenance:
        """What the run is made by, complete or not, as its first sound part says, or else its manifest.

        Raises:
            FileNotFoundError: the run has no parts.
            StorageError: the storage fails, so that it is unknown what the directory holds.
            ValueError: all parts are damaged, or they are gone and the manifest is damaged.
        """
        damage = ""
        for name in self._parts_of(ATTRIBUTIONS):
            try:
                return read_footer(self.uri_of(name)).provenance
            except storage.StorageError:
                raise
            except DAMAGES as error:
                damage = damage or f"{name}: {error}"
        if self.is_finished:
            return self.manifest.provenance
        if damage:
            reason = f"all its parts are damaged ({damage})"
            raise UsageError(f"{self.uri}: whose run this is is unknown: {reason}; delete it, or write elsewhere")
        raise self._nothing_here()

    @functools.cached_property
    def audit(self) -> Mapping[str, Any] | None:
        """What was found in the run and in comparing it, as its audit.json says; None if it has none.

        Raises:
            ValueError: it is not a JSON object.
        """
        uri = self.uri_of(AUDIT)
        try:
            content = storage.read_bytes(uri)
        except FileNotFoundError:
            return None
        try:
            return read_object(content)
        except UsageError as error:
            raise UsageError(f"{uri}: {error}") from error

    @functools.cached_property
    def refined(self) -> Refined | None:
        """The converged maps that were added to some of its pictures; None if there are none of this run's options.

        Raises:
            ValueError: their manifest cannot be read.
        """
        found = Refined.open(self.uri)
        return found if found and found.manifest.run_digest == self.provenance.config_digest else None

    @functools.cached_property
    def stores_maps(self) -> bool:
        """Whether the rows of a complete run have maps; without them, only refined ones can be drawn.

        Raises:
            OSError: the first part is missing or damaged.
        """
        for part in self.manifest.parts[:1]:
            with self.parquet(part.attributions.name) as parquet:
                return "attribution" in parquet.schema_arrow.names
        return True

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.rstrip("/").rpartition("/")[2]

    @property
    def has_begun(self) -> bool:
        """Whether a job has begun to write here, as of now."""
        return storage.size(self.uri_of(MANIFEST)) is not None or bool(self.names_of(ATTRIBUTIONS))

    @property
    def is_finished(self) -> bool:
        """Whether there is a manifest, so that the run is complete.

        Raises:
            ValueError: it is not a manifest of this version.
        """
        try:
            return bool(self._stored_manifest)
        except FileNotFoundError:
            return False

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The files of a complete run that the manifest describes: parts in their order, statistics, sampling."""
        of_parts = (file for part in self.manifest.parts for file in (part.attributions, part.errors) if file)
        others = (self.manifest.statistics, self.manifest.sampling)
        return (*of_parts, *(file for file in others if file))

    def uri_of(self, name: str) -> str:
        """Returns the URI of a file by its name relative to the run directory."""
        return storage.join(self.uri, name)

    def names_of(self, table: str) -> list[str]:
        """Returns the names, relative to the run directory, of the files that stand in one of its folders now."""
        return [f"{table}/{name}" for name in storage.names(self.uri_of(table))]

    @contextlib.contextmanager
    def parquet(self, name: str, columns: Collection[str] = ()) -> Iterator[pq.ParquetFile]:
        """Opens a Parquet file of the run, for what the other methods do not read.

        Raises:
            OSError: it is missing or damaged.
            ValueError: it is not such a file, or lacks one of `columns`.
        """
        with contextlib.ExitStack() as stack:
            try:
                parquet = stack.enter_context(open_parquet(self.uri_of(name), columns))
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.uri_of(name)} is missing") from error
            yield parquet

    def statistics(self, columns: Sequence[str] | None = None, kind: str | None = None) -> pa.Table:
        """Returns the statistics, one row for each slice, in the order stored.

        Args:
            columns: what to read of `tables.statistics_schema`; None reads all.
            kind: of the slices; None takes all.

        Raises:
            OSError: the file is missing or damaged.
            ValueError: it lacks a column.
        """
        if self.labels:
            table = self._relabelled_statistics
            wanted = table.column_names if columns is None else list(columns)
        else:
            with self.parquet(STATISTICS, columns or ()) as parquet:
                wanted = parquet.schema_arrow.names if columns is None else list(columns)
                table = parquet.read(columns=list(dict.fromkeys(["kind", *wanted])))
        if kind is not None:
            table = table.filter(pc.equal(table.column("kind"), kind))
        return table.select(wanted)

    @functools.cached_property
    def scalars(self) -> tuple[str, ...]:
        """The numbers whose distributions the statistics hold, in the order stored: earlier versions knew fewer.

        Raises:
            OSError: the statistics are missing or damaged.
        """
        stored = (name for name in self.statistics_columns if name.startswith("histogram_"))
        return tuple(name.removeprefix("histogram_") for name in stored)

    @functools.cached_property
    def statistics_columns(self) -> tuple[str, ...]:
        """The columns of the statistics, in the order stored: earlier versions knew fewer.

        Raises:
            OSError: the statistics are missing or damaged.
        """
        with self.parquet(STATISTICS) as parquet:
            return tuple(parquet.schema_arrow.names)

    def rows(
        self,
        columns: Sequence[str] | None = None,
        parts: Sequence[PartSummary] | None = None,
        most: int = BATCH_ROWS,
    ) -> Iterator[pa.Table]:
        """Yields the rows as they are stored, in order, a few at a time; of a part without rows, an empty table.

        Args:
            columns: what to read; None reads all, maps and pictures included.
            parts: whose rows; None takes all parts of a complete run.
            most: rows of a table.

        Raises:
            FileNotFoundError: the run is unfinished, and `parts` is None.
            OSError: a part is missing or damaged.
            ValueError: a part lacks a column.
        """
        for part in self.manifest.parts if parts is None else parts:
            yield from self._tables(part.attributions, columns, most)

    def errors(
        self, columns: Sequence[str] | None = None, parts: Sequence[PartSummary] | None = None
    ) -> Iterator[pa.Table]:
        """Yields the images that could not be attributed, in order, a few at a time; see `rows`."""
        for part in self.manifest.parts if parts is None else parts:
            if part.errors:
                yield from self._tables(part.errors, columns, BATCH_ROWS)

    def relabel(self, table: pa.Table) -> pa.Table:
        """Returns rows with the labels that came later, if there are any; the table has their image ids."""
        return self.labels.join(table) if self.labels else table

    @property
    def label_counts(self) -> LabelCounts | None:
        """What the labels of attributed images are good for, also of those that came later; see the manifest."""
        return self.labels.counts if self.labels else self.manifest.labels

    def part_rows(self, part: PartSummary, columns: Sequence[str]) -> pa.Table:
        """Returns `columns` of all rows of one part; see `rows`."""
        wanted = self.labels.to_read(columns) if self.labels else columns
        with self.parquet(part.attributions.name, columns) as parquet:
            return self.relabel(read_table(parquet, wanted or columns))

    def first_rows(self, count: int, columns: Sequence[str], parts: Sequence[PartSummary] | None = None) -> list[Row]:
        """Returns the first `count` rows, or as many as there are; see `rows`."""
        found: list[Row] = []
        for table in self.rows(columns, parts, most=count):
            found += table.slice(0, count - len(found)).to_pylist()
            if len(found) == count:
                break
        return found

    def find(self, image_id: str, columns: Sequence[str]) -> list[Row]:
        """Returns the rows of an image, the highest ranked target first; of an unfinished run, too.

        Args:
            image_id: as stored.
            columns: what to read besides `target` and `target_rank`, as far as the run stores it; `attribution` and
                `gradient` come as float32 maps, in units of the score, and `fields` as pairs.

        Raises:
            FileNotFoundError: the run has no parts.
            ValueError: the run has no such image; the message says why it failed, or which ids are like it.
        """
        with self._readable():
            attributions = self._dataset(ATTRIBUTIONS)
            if found := lookup.find_rows(attributions, image_id, columns):
                return found
            if reason := lookup.why_failed(image_id, self._dataset(ERRORS)):
                raise UsageError(f"{image_id}: could not be attributed; {reason}")
            similar = lookup.similar_ids(image_id, attributions)
        hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
        raise UsageError(f"{image_id}: no such image in {self.uri}{hint}")

    def maps(self, chosen: pa.Table | Sequence[str], column: str = "attribution") -> np.ndarray:
        """Returns maps in units of the score, whatever dtype and version stored them.

        Of a run that stores none, those that were refined later are taken; `refined` has these of any run.

        Args:
            chosen: rows with the map and its scale (`rows(["attribution", "scale"])` yields such), or ids of images,
                of each of which the highest ranked target is taken.
            column: `attribution`, or `gradient` (with `gradient_scale`) if the run stores it.

        Returns:
            float32 `[rows, height, width, channels]` or, if channels were reduced, `[rows, height, width]`.

        Raises:
            ValueError: there is no such image or column, no map of the image, or the maps differ in shape.
        """
        if isinstance(chosen, pa.Table):
            return lookup.restored_maps(chosen, column)
        with self._readable():
            attributions = self._dataset(ATTRIBUTIONS)
            if column == "attribution" and column not in attributions.schema.names:
                found = self.refined.maps(chosen) if self.refined else {}
            else:
                found = lookup.find_first(attributions, chosen, column)
        for image_id in chosen:
            if image_id not in found:
                self.find(image_id, [])  # raises an error that says more if there is no such image
                raise lookup.without_map(self.uri, image_id)
        return lookup.stack([found[image_id] for image_id in chosen])

    def sample(self, slices: Collection[Slice], most: int) -> Sample:
        """Returns which rows to compare with another run, of a complete run; reads no maps.

        Args:
            slices: which to take rows of.
            most: rows of a slice.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part lacks a column.
        """
        from transforms.store.placed import BLOCK_ROWS
        from transforms.store.sample import choose_rows  # loads SciPy, which only a comparison needs

        slicer = Slicer(tuple(self.manifest.provenance.config.get("slice_by", ())))
        return choose_rows(functools.partial(self.rows, most=BLOCK_ROWS), slicer, slices, most)

    def _tables(self, file: StoredFile, columns: Sequence[str] | None, most: int) -> Iterator[pa.Table]:
        wanted = self.labels.to_read(columns) if self.labels else columns
        with self.parquet(file.name, columns or ()) as parquet:
            if parquet.metadata.num_rows:
                yield from map(self.relabel, iter_tables(parquet, wanted, most))
            else:
                yield parquet.read(columns=wanted)

    @functools.cached_property
    def _relabelled_statistics(self) -> pa.Table:
        """The statistics of the rows with the labels that came later."""
        from transforms.store.given_labels import relabelled_statistics

        return relabelled_statistics(self)

    def _nothing_here(self) -> FileNotFoundError:
        """Returns what is said of a directory without parts."""
        if storage.is_folder(self.uri):
            return FileNotFoundError(f"{self.uri}: the folder holds no run, or one of which nothing is finished yet")
        return FileNotFoundError(f"{self.uri}: does not exist")

    def _parts_of(self, table: str) -> list[str]:
        return [name for name in self.names_of(table) if not name.startswith(f"{table}/.")]

    def _dataset(self, table: str) -> ds.Dataset:
        import pyarrow.dataset as ds  # loads pandas, which takes half a second

        filesystem, path = storage.resolve(self.uri)
        names = self._parts_of(table)
        if table == ATTRIBUTIONS and not names:
            raise self._nothing_here()
        return ds.dataset([f"{path}/{name}" for name in names], filesystem=filesystem, format="parquet")

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            raise UsageError(f"{self.uri}: a part is damaged, or not a Parquet file: {error}") from error
