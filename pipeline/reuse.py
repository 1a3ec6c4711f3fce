"""The earlier runs whose parts a run may take: those of the same options, model and versions.

A run that cannot be used is left out, and the reason is given: the job computes what it cannot take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.audit.references import LeftOut
from transforms import storage
from transforms.store import Provenance
from transforms.store.run import Run


@dataclass(frozen=True)
class Reusable:
    """Earlier runs, finished or not.

    Attributes:
        runs: URIs of those whose parts may be taken, the latest first.
        left_out: the others, with the reason.
    """

    runs: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def lines(self) -> list[str]:
        """Returns what is left out, a line each."""
        return [f"reuse: {each}" for each in self.left_out]


def find_reusable(uris: Sequence[str], provenance: Provenance, output: str) -> Reusable:
    """Returns the runs of which parts may be taken.

    Args:
        uris: run directories, and folders of them.
        provenance: what the run is made by.
        output: its directory, which is left out if a folder holds it.

    Raises:
        FileNotFoundError: there is nothing at a URI, unless it is the folder in which the output is to be.
        StorageError: the storage fails.
    """
    alike: list[tuple[str, str]] = []
    left_out = []
    for run in dict.fromkeys(run for uri in uris for run in _runs_at(uri, output)):
        try:
            created = run.manifest.created if run.is_finished else ""
            reason = _difference(run.provenance, provenance)
        except storage.StorageError:
            raise
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {str(error).removeprefix(f'{run.uri}/')}"
        if reason:
            left_out.append(LeftOut(run.uri, reason))
        else:
            alike.append((created, run.uri))
    return Reusable(tuple(uri for _, uri in sorted(alike, reverse=True)), tuple(left_out))


def differences(one: Provenance, other: Provenance) -> str:
    """Returns the names of the options in which two runs of different digests differ, or the other differences."""
    names = sorted(name for name in {*one.config, *other.config} if one.config.get(name) != other.config.get(name))
    if one.model_digest != other.model_digest:
        names.append("the model's files")
    return ", ".join(names) or "class names, baseline image or version of ig-audit"


def _runs_at(uri: str, output: str) -> Iterator[Run]:
    """Yields the run at a URI, or those in the folder there."""
    run = Run.open(uri)
    if run.has_begun:
        if not _is_same(uri, output):
            yield run
        return
    if not storage.is_folder(uri):
        if _is_same(uri, output.rstrip("/").rpartition("/")[0] or "."):
            return  # of the first of many nights
        raise FileNotFoundError(f"reuse: {uri}: does not exist")
    for name in storage.folders(uri):
        found = Run.open(storage.join(uri, name))
        if not _is_same(found.uri, output) and found.has_begun:
            yield found


def _difference(earlier: Provenance, now: Provenance) -> str:
    """Returns why no part of an earlier run is one of this run, as it follows the URI; empty if there is no reason."""
    if earlier.versions != now.versions:
        names = {*earlier.versions, *now.versions}
        changed = (name for name in sorted(names) if earlier.versions.get(name) != now.versions.get(name))
        of = (f"{name} {earlier.versions.get(name)}, now {now.versions.get(name)}" for name in changed)
        return f"was made with {'; '.join(of)}"
    if earlier.config_digest != now.config_digest:
        return f"was made with other options ({differences(earlier, now)})"
    return ""


def _is_same(one: str, other: str) -> bool:
    (here, path), (there, other_path) = storage.resolve(one), storage.resolve(other)
    return here.type_name == there.type_name and path.rstrip("/") == other_path.rstrip("/")
