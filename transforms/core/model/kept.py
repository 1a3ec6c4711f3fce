"""Kept: what of a classifier lies in a cache, and by what it is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transforms.core.model.model_cache import ModelCache
from transforms.core.model.reference import Reference
from transforms.core.model.stored_graphs import StoredGraphs
from transforms.core.stable_hash import cache_key

if TYPE_CHECKING:
    from transforms.core.model.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Kept:
    """A classifier's place in a cache.

    Attributes:
        cache: the cache.
        key: names the classifier there.
        reference: what the model itself gives.
        recalled: whether the classifier was made of what lay there; if not, nothing that lies there is used.
        reason: why not; empty if it was.
        reload: loads the model itself in place of what lies there.
    """

    cache: ModelCache
    key: str
    reference: Reference
    recalled: bool
    reason: str
    reload: Callable[[str], Classifier]

    def graphs(self, passes: Sequence[str], device: str) -> StoredGraphs | None:
        """Returns what passes made of the model for a device at an earlier start; None if that has to be done."""
        entry = self.cache.read(self._name(passes, device)) if self.recalled else None
        try:
            return StoredGraphs.from_members(entry.members) if entry and entry.members else None
        except (ValueError, KeyError, TypeError):
            return None

    def keep_graphs(self, passes: Sequence[str], device: str, graphs: StoredGraphs) -> str:
        """Keeps what passes made of the model; returns why that cannot be done, if it cannot."""
        try:
            return self.cache.write(self._name(passes, device), graphs.to_members())
        except ValueError as error:
            return str(error)

    def recall_result(self, about: str) -> bytes:
        """Returns what an earlier start found out about the model; empty if none did.

        Args:
            about: digest of all that the result depends on besides the model.
        """
        return self.cache.read(f"{self.key}-{about}.result").members.get("result", b"") if self.recalled else b""

    def keep_result(self, about: str, result: bytes) -> None:
        """Keeps what was found out about the model; does nothing if that cannot be done."""
        self.cache.write(f"{self.key}-{about}.result", {"result": result})

    def _name(self, passes: Sequence[str], device: str) -> str:
        return f"{self.key}-{cache_key(' '.join([*passes, device]))}.step"
