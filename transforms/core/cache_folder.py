"""The folder of this user's caches, by the rules of the XDG base directories."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Returns the folder of the cache `name`, made if it is missing; only this user can read and write it.

    It is `$XDG_CACHE_HOME/ig-audit/<name>`, with `~/.cache` in place of a variable that is empty, missing or not an
    absolute path. If that is not writable, the cache is below the folder for temporary files.

    Args:
        name: a folder's name, without separators.
    """
    bases = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")
    base = next(filter(os.path.isabs, bases), None)
    if base is None:  # neither the environment nor the system has a home directory
        return _temporary(name)
    try:
        os.makedirs(base, 0o700, exist_ok=True)
        folder = _make(Path(base, "ig-audit"), name)
    except OSError:
        return _temporary(name)
    return folder if os.access(folder, os.W_OK | os.X_OK) else _temporary(name)


def _make(parent: Path, name: str) -> Path:
    for folder in (parent, parent / name):
        folder.mkdir(mode=0o700, exist_ok=True)
    return parent / name


def _temporary(name: str) -> Path:
    """Returns a folder below that for temporary files; a new one if another user could have made the existing one."""
    parent = Path(tempfile.gettempdir(), f"ig-audit-{os.getuid()}")
    parent.mkdir(mode=0o700, exist_ok=True)
    state = parent.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        parent = Path(tempfile.mkdtemp(prefix="ig-audit-"))
    return _make(parent, name)
