"""`manifest.json`: written last, so its presence means that the run is complete."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.record import Randomization
from transforms.core.vocabulary import TASKS
from transforms.store.files import StoredFile
from transforms.store.json_object import read_object
from transforms.store.labels import LabelCounts
from transforms.store.parts import PartSummary
from transforms.store.schema import Provenance

MANIFEST = "manifest.json"
VERSION = 1

_KINDS = {
    **dict.fromkeys(("created", "config_digest", "model", "model_digest"), str),
    **dict.fromkeys(("config", "versions", "facts", "statistics"), dict),
    **dict.fromkeys(("parts", "baseline_images"), list),
}


@dataclass(frozen=True)
class Manifest:
    """What a complete run consists of.

    Attributes:
        created: when it was written, ISO 8601 in UTC.
        provenance: what the run was made by.
        statistics: the statistics file.
        parts: what each chunk wrote, in the order of shards and of chunks within.
        facts: what else is worth knowing, JSON values only (speed, which compiler passes applied).
        randomisation: whether maps depend on what the model has learned; None in runs of earlier versions.
        sampling: the file that says of which share of the images the run is a sample; None if it is not.
    """

    created: str
    provenance: Provenance
    statistics: StoredFile
    parts: tuple[PartSummary, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    randomisation: Randomization | None = None
    sampling: StoredFile | None = None

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Returns the manifest that `write_manifest` wrote.

        Raises:
            ValueError: it is not a manifest of this version.
        """
        try:
            content = read_object(data)
        except UsageError as error:
            raise UsageError(f"not a manifest: {error}") from error
        if (version := content.get("version")) != VERSION:
            told = "it has no version" if version is None else f"version {version!r:.20}, where {VERSION} is known"
            raise UsageError(f"not a manifest: {told}")
        if wrong := [name for name, kind in _KINDS.items() if name in content and not isinstance(content[name], kind)]:
            raise UsageError(f"not a manifest: {', '.join(wrong)}: not of the kind that a run writes")
        try:
            fields = {name.name: content[name.name] for name in dataclasses.fields(Provenance)}
            fields["baseline_images"] = tuple(map(base64.b64decode, fields["baseline_images"]))
            return cls(
                created=content["created"],
                provenance=Provenance(**fields),
                statistics=StoredFile(**content["statistics"]),
                parts=tuple(PartSummary.from_json(part) for part in content["parts"]),
                facts=content["facts"],
                randomisation=Randomization(**found) if (found := content.get("randomisation")) else None,
                sampling=StoredFile(**found) if (found := content.get("sampling")) else None,
            )
        except KeyError as error:
            raise UsageError(f"not a manifest: it has no entry {error}") from error
        except (TypeError, ValueError) as error:
            raise UsageError("not a manifest: an entry is not of the kind that a run writes") from error

    @property
    def suspicions(self) -> list[str]:
        """What is likely wrong with the options, by the predictions for some of the run's pictures, one line each."""
        look = self.facts.get("look")
        found = look.get("suspicions", ()) if isinstance(look, Mapping) else ()
        return [f"{each.get('problem')}: {each.get('evidence')} → {each.get('option')}" for each in found]

    @property
    def images(self) -> int:
        """Number of images read, attributed, failed or without a target."""
        return sum(part.images for part in self.parts)

    @property
    def rows(self) -> int:
        """Number of rows in attributions."""
        return sum(part.rows for part in self.parts)

    @property
    def failures(self) -> int:
        """Number of images that failed, which errors lists."""
        return sum(part.failures for part in self.parts)

    @property
    def untargeted(self) -> int:
        """Number of images without what was to be explained, which errors lists too, with stage `target`."""
        return sum(part.untargeted for part in self.parts)

    @property
    def unsampled(self) -> int:
        """Number of images that were read and are not in the sample: with `images`, all that were read."""
        return sum(part.unsampled for part in self.parts)

    @property
    def worker_images(self) -> int:
        """Number of images on which the time in the facts was spent; the others were resumed or reused."""
        found = self.facts.get("worker_images")
        return found if isinstance(found, int) else self.images

    @property
    def task(self) -> str:
        """What the model decides, one of `vocabulary.TASKS`; classes if the run does not say."""
        model = self.facts.get("model")
        task = model.get("task") if isinstance(model, dict) else None
        return task if task in TASKS else "classes"

    @property
    def labels(self) -> LabelCounts | None:
        """What the labels of attributed images are good for; None in runs of earlier versions."""
        counts = [part.labels for part in self.parts]
        known = [each for each in counts if each is not None]
        return LabelCounts.total(known) if len(known) == len(counts) else None


def write_manifest(run_uri: str, manifest: Manifest) -> None:
    """Writes `manifest` into the run directory."""
    provenance = dataclasses.asdict(manifest.provenance)
    provenance["baseline_images"] = [base64.b64encode(data).decode("ascii") for data in provenance["baseline_images"]]
    content = {
        "version": VERSION,
        "created": manifest.created,
        "images": manifest.images,
        "rows": manifest.rows,
        "failures": manifest.failures,
        "untargeted": manifest.untargeted,
        "unsampled": manifest.unsampled,
        "labels": manifest.labels and dataclasses.asdict(manifest.labels),
        **provenance,
        "facts": manifest.facts,
        "randomisation": manifest.randomisation and dataclasses.asdict(manifest.randomisation),
        "sampling": manifest.sampling and dataclasses.asdict(manifest.sampling),
        "statistics": dataclasses.asdict(manifest.statistics),
        "parts": [dataclasses.asdict(part) for part in manifest.parts],
    }
    storage.write_bytes(storage.join(run_uri, MANIFEST), json.dumps(content, indent=1).encode())
