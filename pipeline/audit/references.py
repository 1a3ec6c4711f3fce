"""The runs that a run is compared with: one, several, or a folder of runs; and whether they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.config import options
from transforms import storage
from transforms.core.errors import UsageError
from transforms.store import Provenance
from transforms.store.run import Run

INCOMPARABLE = ("grid", "targets", "score", "layer", "baseline", "resize", "input_size", "value_range", "alpha_color")
"""Options that decide what a number means: runs that differ in one cannot be compared."""


def find_references(uris: Sequence[str], most: int = 0, exclude: str = "") -> list[Run]:
    """Returns finished runs, the oldest first.

    Args:
        uris: run directories, and folders of them; unfinished runs in a folder are passed over.
        most: how many of the latest to take; 0 takes all.
        exclude: a run directory that is left out if a folder holds it.

    Raises:
        FileNotFoundError: a directory holds no finished run.
        ValueError: a manifest cannot be read.
    """
    found = {run.uri: run for uri in uris for run in _references(uri, exclude)}
    if not found:
        raise FileNotFoundError(f"{', '.join(uris)}: no finished run to compare with")
    runs = sorted(found.values(), key=lambda run: (run.manifest.created, run.uri))
    return runs[-most:] if most else runs


def _references(uri: str, exclude: str) -> Iterable[Run]:
    """Returns the run at `uri`, though it may be unfinished, or else the finished runs in that folder."""
    run = Run.open(uri)
    if run.is_finished or not storage.is_folder(uri):
        return [run]
    below = [Run.open(storage.join(uri, name)) for name in storage.folders(uri)]
    finished = [run for run in below if run.is_finished]
    if not finished:
        return [run]
    return [run for run in finished if _path(run.uri) != _path(exclude or uri)]


def _path(uri: str) -> tuple[str, str]:
    filesystem, path = storage.resolve(uri)
    return filesystem.type_name, path.rstrip("/")


def check_comparable(candidate: Provenance, references: Iterable[Run]) -> None:
    """Refuses references whose numbers mean something else.

    Raises:
        ValueError: with a line for each difference.
    """
    found = []
    for run in references:
        provenance = run.manifest.provenance
        for name in INCOMPARABLE:
            here, there = stored_option(candidate.config, name), stored_option(provenance.config, name)
            if here != there:
                found.append(f"{name}: {there!r} in {run.uri}, {here!r} in the candidate; these cannot be compared")
        if candidate.baseline_images != provenance.baseline_images:
            found.append(f"baseline: other pictures in {run.uri} than in the candidate; these cannot be compared")
    if found:
        raise UsageError("\n".join(found))


def check_channels(candidate: Run, references: Iterable[Run]) -> None:
    """Refuses references whose models take images of another number of channels.

    Raises:
        ValueError: with a line for each of them.
    """
    here = _channels(candidate)
    found = []
    for run in references:
        there = _channels(run)
        if None not in (here, there) and here != there:
            found.append(f"model: images have {there} channels in {run.uri}, {here} in the candidate; not comparable")
    if found:
        raise UsageError("\n".join(found))


def _channels(run: Run) -> int | None:
    """Returns how many channels the images of a run have; None if all of its maps are zero."""
    shares = run.statistics(["mean_channel_share"], kind="all").column(0).to_pylist()
    return len(shares[0]) if shares and shares[0] is not None else None


def stored_option(config: Mapping[str, Any], name: str) -> Any:
    """Returns an option of a stored config; its default if the version that stored it did not have it."""
    field = options().get(name)
    default = field.default if field else None
    return config.get(name, list(default) if isinstance(default, tuple) else default)
