"""The runs that a run is compared with: one, several, or a folder of nights; and whether they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transforms import storage, store
from transforms.core.errors import UsageError

INCOMPARABLE = ("grid", "targets", "score", "baseline", "resize", "input_size")
"""Options that decide what a number means: runs that differ in one can't be compared."""


@dataclass(frozen=True)
class Night:
    """A finished run and its manifest."""

    uri: str
    manifest: store.Manifest


def find_nights(uris: Sequence[str], most: int = 0, exclude: str = "") -> list[Night]:
    """Returns finished runs, the oldest first.

    Args:
        uris: run directories, and folders of them; unfinished runs in a folder are passed over.
        most: how many of the latest to take; 0 takes all.
        exclude: a run directory that is left out where a folder holds it.

    Raises:
        FileNotFoundError: a directory holds no finished run.
        ValueError: a manifest can't be read.
    """
    found = {night.uri: night for uri in uris for night in _nights(uri, exclude)}
    if not found:
        raise FileNotFoundError(f"{', '.join(uris)}: no finished run to compare with")
    nights = sorted(found.values(), key=lambda night: (night.manifest.created, night.uri))
    return nights[-most:] if most else nights


def _nights(uri: str, exclude: str) -> Iterable[Night]:
    if _is_finished(uri) or not storage.is_folder(uri):
        return [Night(uri, store.read_manifest(uri))]
    below = [storage.join(uri, name) for name in storage.folders(uri)]
    finished = [run for run in below if _is_finished(run)]
    if not finished:
        store.read_manifest(uri)  # tells that there is none
    return [Night(run, store.read_manifest(run)) for run in finished if _path(run) != _path(exclude or uri)]


def _is_finished(uri: str) -> bool:
    return storage.size(storage.join(uri, "manifest.json")) is not None


def _path(uri: str) -> tuple[str, str]:
    filesystem, path = storage.resolve(uri)
    return filesystem.type_name, path.rstrip("/")


def check_comparable(candidate: store.Provenance, references: Iterable[Night]) -> None:
    """Refuses references whose numbers mean something else.

    Raises:
        ValueError: with a line for each difference.
    """
    found = []
    for night in references:
        provenance = night.manifest.provenance
        for name in INCOMPARABLE:
            here, there = candidate.config.get(name), provenance.config.get(name)
            if here != there:
                found.append(f"{name}: {there!r} in {night.uri}, {here!r} in the candidate; these can't be compared")
        if candidate.baseline_images != provenance.baseline_images:
            found.append(f"baseline: other pictures in {night.uri} than in the candidate; these can't be compared")
    if found:
        raise UsageError("\n".join(found))
