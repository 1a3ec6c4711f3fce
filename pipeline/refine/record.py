"""Explanations → parts of `refined/`, one for each part of the run, and their manifest."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.refine.choose import KEPT, Picture, Task
from transforms import storage, store
from transforms.core.record import Chunk, Explanation, Failure, Row
from transforms.core.vocabulary import CONTENT
from transforms.store.files import open_parquet, read_table
from transforms.store.parts import read_footer
from transforms.store.refined import REFINED, MapOptions, RefinedManifest, RefinedPart, write_refined
from transforms.store.rows import rows_of
from transforms.store.run import Run
from transforms.worker import AttributorSpec

if TYPE_CHECKING:
    from transforms.core.model.classifier import Classifier

Outcomes = Iterator[Explanation | Failure]


@dataclass(frozen=True)
class Recorder:
    """Writes refined maps of one run, all made alike.

    Attributes:
        run: the finished run.
        spec: what makes the maps.
        options: the same in short.
        provenance: what each part says of its making.
        check: to be called before something is written; raises if another process has taken the run over.
    """

    run: Run
    spec: AttributorSpec
    options: MapOptions
    provenance: store.Provenance
    check: Callable[[], None]

    @property
    def uri(self) -> str:
        """The folder."""
        return self.run.uri_of(REFINED)

    @property
    def listed(self) -> RefinedManifest:
        """What is there already, of the run's own options."""
        found = self.run.refined
        return found.manifest if found else self._manifest(())

    def present(self, task: Task) -> set[str]:
        """Returns the ids of a task's pictures that have such maps already."""
        contents = {picture.image_id: picture.first[CONTENT] for picture in task.pictures}
        found = self.run.refined.find(contents, ()) if self.run.refined else []
        return {
            each.row["image_id"]
            for each in found
            if each.part.config_digest == self.provenance.config_digest
            and each.row[CONTENT] == contents[each.row["image_id"]]
        }

    def finished(self, task: Task) -> RefinedPart | None:
        """Returns the part of a task that an interrupted call has left; None if there is none, or it is damaged."""
        chunk = self._chunk(task)
        if chunk.id in {each.part.chunk for each in self.listed.parts}:
            return None  # it has failures, which are tried again
        part = store.finished_part(self.uri, chunk, self.provenance.config_digest)
        if part is None:
            return None
        with open_parquet(storage.join(self.uri, part.attributions.name)) as parquet:
            done = set(read_table(parquet, ["image_id"]).column("image_id").to_pylist())
        return self._listed(task, part, done)

    def write(self, task: Task, outcomes: Outcomes, classifier: Classifier, tell: Callable[[], object]) -> RefinedPart:
        """Writes a task's part from the next outcomes, as many as it has pictures.

        Args:
            task: what is written.
            outcomes: of this and later tasks.
            classifier: the model.
            tell: called after each picture.

        Raises:
            OSError: the part cannot be written.
        """
        settings, shape, done = self.spec.settings, classifier.input_shape, set()
        pictures = {picture.image_id: picture for picture in task.pictures}
        self.check()
        with store.write_part(self.uri, self._chunk(task), self.provenance, settings, shape, classifier.task) as part:
            for outcome in itertools.islice(outcomes, len(pictures)):
                if isinstance(outcome, Explanation):
                    outcome = _checked(outcome, pictures[outcome.image.id])
                if isinstance(outcome, Failure):
                    part.fail(outcome)
                else:
                    rows = rows_of(outcome, settings, classifier.names)
                    part.add([_kept(row, pictures[row["image_id"]]) for row in rows])
                    done.add(outcome.image.id)
                tell()
        return self._listed(task, part.summary, done)

    def finish(self, added: Sequence[RefinedPart]) -> RefinedManifest:
        """Writes the manifest with what was added, then deletes what no longer counts; returns the manifest."""
        manifest = self._manifest(self.listed.with_parts(added))
        self.check()
        write_refined(self.uri, manifest)
        store.delete_strays(self.uri, {each.part.chunk for each in manifest.parts})
        return manifest

    def _manifest(self, parts: tuple[RefinedPart, ...]) -> RefinedManifest:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        made_by = self.provenance
        run_digest = self.run.manifest.provenance.config_digest
        return RefinedManifest(now, run_digest, made_by.model, made_by.model_digest, made_by.versions, parts)

    def _listed(self, task: Task, part: store.PartSummary, done: set[str]) -> RefinedPart:
        ids = [picture.image_id for picture in task.pictures]
        return RefinedPart(
            of=task.part.chunk,
            part=part,
            options=self.options,
            config_digest=self.provenance.config_digest,
            images=tuple(image_id for image_id in ids if image_id in done),
            failed=tuple(image_id for image_id in ids if image_id not in done),
        )

    def _chunk(self, task: Task) -> Chunk:
        """Returns the run's chunk under an id that says which of its pictures are refined, and how."""
        chunk = read_footer(self.run.uri_of(task.part.attributions.name)).chunk
        named = "\0".join([self.provenance.config_digest, *(picture.image_id for picture in task.pictures)])
        digest = hashlib.blake2s(named.encode("utf-8", "surrogateescape"), digest_size=4)
        return dataclasses.replace(chunk, id=f"{chunk.id}-{digest.hexdigest()}")


def _checked(explanation: Explanation, picture: Picture) -> Explanation | Failure:
    """Returns the explanation if it is of the picture that the run read; its failure if it is of another."""
    image, found, wanted = explanation.image, explanation.content, picture.first[CONTENT]
    if found == wanted:
        return explanation
    message = f"the picture has changed since the run: the digest of its content is {found}, that of the row {wanted}"
    return Failure(image.id, image.shard, image.index, "read", "ChangedError", message)


def _kept(row: Row, picture: Picture) -> Row:
    """Returns a refined row with what the run's row of the same target has."""
    stored = picture.rows[row["target"]]
    return row | {name: stored[name] for name in KEPT if name in stored}
