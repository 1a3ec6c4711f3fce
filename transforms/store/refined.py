"""`refined/`: converged maps of some pictures of a finished run, made after it, with a manifest of their own.

A part there is like a run's: rows of the same columns, failures beside them, the chunk in its footer. It belongs to
one chunk of the run and to one call that added maps to it. A part that is listed is not written again, so that the
manifest, which is written last, is right at any moment, and a reader takes no notice of a call in progress. If a
picture is in several parts, the manifest says which one counts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Row
from transforms.core.vocabulary import CONTENT, MAP_COLUMNS
from transforms.store.files import StoredFile, iter_tables, open_parquet
from transforms.store.json_object import read_object
from transforms.store.lookup import rows_of_table
from transforms.store.manifest import MANIFEST
from transforms.store.parts import PartSummary

REFINED = "refined"
"""The folder's name within a run directory."""

VERSION = 1

_READ_ROWS = 64  # with maps, which are large
_KEYS = ("image_id", "target", "target_rank", CONTENT)


@dataclass(frozen=True)
class MapOptions:
    """How refined maps are made and stored: by the adaptive rule, all else as in their run.

    Attributes:
        tolerance: L1 error of a map, relative to its L1 norm, at which it has converged.
        max_steps: most gradient evaluations of a path.
        channels: what is stored of a map's color channels, one of `vocabulary.REDUCTIONS`.
        dtype: type of the stored map, one of `vocabulary.DTYPES`.
    """

    tolerance: float
    max_steps: int
    channels: str
    dtype: str


@dataclass(frozen=True)
class RefinedPart:
    """A part, and what counts of it.

    Attributes:
        of: the id of the run's chunk whose pictures these are.
        part: what was written; its chunk's id begins with `of`.
        options: how its maps were made.
        config_digest: of all options that shape them.
        images: ids of the pictures whose maps count; a later part has those of others of its pictures.
        failed: ids of the pictures whose last attempt failed here.
    """

    of: str
    part: PartSummary
    options: MapOptions
    config_digest: str
    images: tuple[str, ...]
    failed: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The part's files."""
        return tuple(file for file in (self.part.attributions, self.part.errors) if file)


@dataclass(frozen=True)
class RefinedManifest:
    """What a folder of refined maps consists of.

    Attributes:
        created: when it was written, ISO 8601 in UTC.
        run_digest: the config digest of the run whose pictures these are.
        model: URI of the model that was used last.
        model_digest: sha256 of the model's files.
        versions: library versions by name.
        parts: in the order in which they were added.
    """

    created: str
    run_digest: str
    model: str
    model_digest: str
    versions: Mapping[str, str]
    parts: tuple[RefinedPart, ...] = ()

    @classmethod
    def from_json(cls, data: bytes) -> RefinedManifest:
        """Returns the manifest that `write_refined` wrote.

        Raises:
            ValueError: it is not a manifest of this version.
        """
        try:
            content = read_object(data)
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']!r:.20}, where {VERSION} is known")
            parts = tuple(map(_part_from_json, content["parts"]))
            return cls(**{name: str(content[name]) for name in _TEXTS}, versions=dict(content["versions"]), parts=parts)
        except KeyError as error:
            raise UsageError(f"not a manifest of refined maps: it has no entry {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not a manifest of refined maps: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values, with the numbers of pictures first."""
        counts = {
            "images": sum(len(each.images) for each in self.parts),
            "failures": sum(len(each.failed) for each in self.parts),
        }
        return {"version": VERSION, **counts, **dataclasses.asdict(self)}

    def with_parts(self, added: Sequence[RefinedPart]) -> tuple[RefinedPart, ...]:
        """Returns the parts once some are added: their maps count, and earlier ones of the same pictures do not.

        A picture that failed keeps the map that it had.
        """
        names = {each.part.chunk for each in added}
        made = {image_id for each in added for image_id in each.images}
        tried = made.union(*(each.failed for each in added))
        kept = (
            dataclasses.replace(
                each,
                images=tuple(image_id for image_id in each.images if image_id not in made),
                failed=tuple(image_id for image_id in each.failed if image_id not in tried),
            )
            for each in self.parts
            if each.part.chunk not in names
        )
        return (*(each for each in kept if each.images or each.failed), *added)


@dataclass(frozen=True)
class RefinedRow:
    """A refined row, its map as float32 in units of the score, and the part that it is from."""

    row: Row
    part: RefinedPart


@dataclass(frozen=True)
class Refined:
    """The refined maps of a run, read when they are asked for.

    Attributes:
        uri: of the folder.
        manifest: what it consists of.
    """

    uri: str
    manifest: RefinedManifest

    @classmethod
    def open(cls, run_uri: str) -> Refined | None:
        """Returns the refined maps of the run at `run_uri`; None if it has none.

        Raises:
            ValueError: their manifest cannot be read.
        """
        uri = storage.join(run_uri, REFINED)
        name = storage.join(uri, MANIFEST)
        try:
            content = storage.read_bytes(name)
        except FileNotFoundError:
            return None
        try:
            return cls(uri, RefinedManifest.from_json(content))
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error

    def find(self, image_ids: Collection[str], columns: Sequence[str]) -> list[RefinedRow]:
        """Returns the rows of those of `image_ids` that are refined.

        Args:
            image_ids: as stored.
            columns: what to read besides `image_id`, `target`, `target_rank` and `content`, as far as it is stored;
                `attribution` and `gradient` need their scales, too.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part cannot be read.
        """
        found: list[RefinedRow] = []
        for each in self.manifest.parts:
            if wanted := [image_id for image_id in each.images if image_id in image_ids]:
                rows = _read_rows(storage.join(self.uri, each.part.attributions.name), wanted, columns)
                found += [RefinedRow(row, each) for row in rows]
        return found

    def maps(self, image_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the map of the highest ranked target of each image that is refined, float32; see `Run.maps`.

        Raises:
            OSError: a part is missing or damaged.
            ValueError: a part cannot be read.
        """
        rows = [each.row for each in self.find(set(image_ids), MAP_COLUMNS)]
        rows.sort(key=lambda row: (row["target_rank"] or 0, row["target"]), reverse=True)
        return {row["image_id"]: row["attribution"] for row in rows}


def write_refined(uri: str, manifest: RefinedManifest) -> None:
    """Writes the manifest of a folder of refined maps."""
    storage.write_bytes(storage.join(uri, MANIFEST), json.dumps(manifest.to_json(), indent=1).encode())


def _read_rows(uri: str, image_ids: Sequence[str], columns: Iterable[str]) -> list[Row]:
    wanted = pa.array(image_ids, pa.string())
    rows: list[Row] = []
    with open_parquet(uri) as parquet:
        stored = [name for name in dict.fromkeys((*_KEYS, *columns)) if name in parquet.schema_arrow.names]
        for table in iter_tables(parquet, stored, _READ_ROWS):
            if len(found := table.filter(pc.is_in(table.column("image_id"), wanted))):
                rows += rows_of_table(found)
    return rows


def _part_from_json(content: Mapping[str, Any]) -> RefinedPart:
    return RefinedPart(
        of=str(content["of"]),
        part=PartSummary.from_json(content["part"]),
        options=MapOptions(**content["options"]),
        config_digest=str(content["config_digest"]),
        images=tuple(map(str, content["images"])),
        failed=tuple(map(str, content["failed"])),
    )


_TEXTS = ("created", "run_digest", "model", "model_digest")
