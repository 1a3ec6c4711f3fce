"""The folder of this user's caches, by the rules of the XDG base directories, and who may write into a folder."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Returns the folder of the cache `name`, made if it is missing; only this user can read and write it.

    It is `$XDG_CACHE_HOME/ig-audit/<name>`, with `~/.cache` in place of a variable that is empty, missing or not an
    absolute path. If that is not writable, or another user's, the cache is below the folder for temporary files.

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
    ours = all(_is_private(each.stat()) for each in (folder.parent, folder))
    return folder if ours and os.access(folder, os.W_OK | os.X_OK) else _temporary(name)


def write_problem(state: os.stat_result, owner: int) -> str:
    """Returns why what lies in a folder or file may not be what `owner` wrote; empty if nobody else can write there.

    Args:
        state: of the folder or file.
        owner: a user's id.
    """
    if state.st_uid != owner:
        return f"belongs to user {state.st_uid}, not to {owner}"
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"other users can write it (mode {stat.S_IMODE(state.st_mode):04o})"
    return ""


def _make(parent: Path, name: str) -> Path:
    for folder in (parent, parent / name):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o077:  # made under another rule, or by hand
            with contextlib.suppress(PermissionError):  # another user's
                folder.chmod(0o700)
    return parent / name


def _is_private(state: os.stat_result) -> bool:
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077


def _temporary(name: str) -> Path:
    """Returns a folder below that for temporary files; a new one if another user could have made the existing one."""
    parent = Path(tempfile.gettempdir(), f"ig-audit-{os.getuid()}")
    parent.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(parent.lstat()):
        parent = Path(tempfile.mkdtemp(prefix="ig-audit-"))
    return _make(parent, name)
