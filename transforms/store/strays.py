"""What does not belong in a run directory: half-written files, and parts that are no longer planned."""

from __future__ import annotations

from collections.abc import Container

from transforms import storage
from transforms.store.parts import ATTRIBUTIONS, ERRORS


def delete_strays(run_uri: str, chunks: Container[str] | None = None) -> None:
    """Deletes half-written files and, given the ids of the run's `chunks`, the parts of others.

    To be called only while nobody else writes: whoever still does, writes in vain.
    """
    for folder in (run_uri, *(storage.join(run_uri, name) for name in (ATTRIBUTIONS, ERRORS, "statistics"))):
        for name in storage.names(folder):
            part = name.startswith("part-") and name.removeprefix("part-").removesuffix(".parquet")
            if storage.is_temporary(name) or (part and chunks is not None and part not in chunks):
                storage.delete(storage.join(folder, name))
