"""ModelCache: where what was learned of models lies for the next start; safe to lose at any time.

Whoever can write into a cache decides what is computed, as whoever can write a model's files does. So an entry counts
only if it belongs to the owner of the folder and nobody else can write it, and only as a whole, by its digest.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transforms.core.cache_folder import cache_folder, write_problem
from transforms.core.errors import UsageError
from transforms.core.model.entry_file import DamagedError, pack, unpack

MOST_BYTES = 4 << 30
MOST_ENTRIES = 64
"""Limits of a folder: the entries that were used least lately go first."""

NONE = "none"
"""What keeps nothing, in place of a folder."""

_ABANDONED_SECONDS = 3600.0
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Entry:
    """What a cache has under a name.

    Attributes:
        members: the content by name; empty if there is nothing that can be used.
        problem: why what lies there is not used; empty if it is, or if nothing lies there.
    """

    members: dict[str, bytes]
    problem: str = ""


class ModelCache(Protocol):
    """Entries by name, which are written and read as a whole."""

    def read(self, name: str) -> Entry:
        """Returns what lies under a name; raises nothing."""

    def write(self, name: str, members: dict[str, bytes]) -> str:
        """Replaces what lies under a name, at once; returns why that cannot be done, if it cannot."""

    def discard(self, name: str) -> None:
        """Removes what lies under a name, if that can be done."""


class ClosedCache:
    """A cache that cannot be used, for a reason."""

    def __init__(self, problem: str) -> None:
        """Takes the reason."""
        self._problem = problem

    def read(self, name: str) -> Entry:
        """Returns the reason."""
        return Entry({}, self._problem)

    def write(self, name: str, members: dict[str, bytes]) -> str:
        """Returns the reason."""
        return self._problem

    def discard(self, name: str) -> None:
        """Does nothing."""


class FolderCache:
    """A cache in a folder of this machine, of limited size."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder that exists and that nobody but its owner can write."""
        self._folder = folder

    @classmethod
    def own(cls) -> FolderCache:
        """Returns the cache of this user."""
        return cls(cache_folder("known"))

    @classmethod
    def at(cls, path: str) -> FolderCache:
        """Returns the cache in a folder, which is made for this user alone if it is missing.

        Raises:
            UsageError: it cannot be made, is no folder, or others can write it.
        """
        folder = Path(path)
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            state = folder.stat()
        except OSError as error:
            raise UsageError(f"model_cache: {path}: {error}") from error
        owner = state.st_uid if state.st_uid == 0 else os.getuid()
        if problem := write_problem(state, owner):
            raise UsageError(f"model_cache: {path}: {problem}; allowed is a folder that only you, or root, can write")
        return cls(folder)

    def read(self, name: str) -> Entry:
        """Returns what lies under a name; raises nothing."""
        path = self._folder / name
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                state = os.fstat(file.fileno())
                problem = write_problem(state, self._folder.stat().st_uid)
                if problem or not stat.S_ISREG(state.st_mode):
                    return Entry({}, problem or "it is no file")
                members = unpack(file.read())
        except FileNotFoundError:
            return Entry({})
        except (OSError, DamagedError) as error:
            return Entry({}, str(error))
        with contextlib.suppress(OSError):  # a folder that is only read
            os.utime(path)
        return Entry(members)

    def write(self, name: str, members: dict[str, bytes]) -> str:
        """Replaces what lies under a name, at once; returns why that cannot be done, if it cannot."""
        content = pack(members)
        if len(content) > MOST_BYTES:
            return f"it would take {len(content) >> 20:,} MiB"
        temporary = self._folder / f"{uuid.uuid4().hex}{_UNFINISHED}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            os.replace(temporary, self._folder / name)
            self._prune()
        except OSError as error:
            return str(error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return ""

    def discard(self, name: str) -> None:
        """Removes what lies under a name, if that can be done."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def _prune(self) -> None:
        """Removes the entries that were used least lately beyond the limits, and what killed processes left."""
        entries = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process prunes too
                state = path.stat()
                if path.suffix != _UNFINISHED:
                    entries.append((state.st_mtime_ns, state.st_size, path))
                elif time.time() - state.st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
        total = 0
        for place, (_, size, path) in enumerate(sorted(entries, reverse=True)):
            total += size
            if place >= MOST_ENTRIES or total > MOST_BYTES:
                path.unlink(missing_ok=True)
