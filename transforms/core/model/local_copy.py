"""A local copy of a model that is kept elsewhere: made anew, once, if it cannot be read.

Downloads are cut short, disks fill up, and what cleans temporary folders takes single files; nobody checks a copy
afterwards. So one that cannot be loaded is moved aside and fetched again. It comes back if there is no other to be had:
it may be whole, and what fails something else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from transforms.core.errors import UsageError

T = TypeVar("T")


class UnreadableError(UsageError):
    """A model's files cannot be loaded, or cannot be called at the size that they name themselves: are they damaged?"""


def load_copy(load: Callable[[str], T], fetch: Callable[[], str], cache: Path) -> T:
    """Returns what `load` makes of a model's local copy; of a fresh one, if that cannot be read.

    Args:
        load: reads the file or folder at a path.
        fetch: returns the path of the copy; makes it first where there is none.
        cache: the folder of such copies. Nothing outside is ever touched.

    Raises:
        UnreadableError: neither can be read, or no fresh one can be made; the text names the copy.
        ValueError: the model cannot be fetched or used.
    """
    path = fetch()
    copy = _copy_below(cache, path)
    if copy is None:
        return load(path)
    before = _identity(copy)
    try:
        return load(path)
    except UnreadableError as error:
        if (reason := _renew(copy, before, fetch)) is not None:
            raise UnreadableError(f"{error}; {_told(copy)}, which could not be made anew: {reason}") from error
    try:
        return load(fetch())
    except UnreadableError as error:
        raise UnreadableError(f"{error}; {_told(copy)}, which has just been made anew") from error


def _told(copy: Path) -> str:
    return f"the files are those of the copy {str(copy)!r} (delete it, and the next start makes another)"


def _copy_below(cache: Path, path: str) -> Path | None:
    """Returns the entry of `cache` that holds `path`; None where it lies elsewhere, if only by a link."""
    root = cache.resolve()
    try:
        name, *_ = Path(path).resolve().relative_to(root).parts
    except ValueError:  # not below it, or the cache itself
        return None
    return None if (root / name).is_symlink() else root / name


def _identity(copy: Path) -> tuple[int, int] | None:
    """Returns what tells a copy from one that replaces it; None where there is none."""
    try:
        status = copy.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _renew(copy: Path, before: tuple[int, int] | None, fetch: Callable[[], str]) -> Exception | None:
    """Replaces a copy, unless another process has done so since; returns why that cannot be done, where it cannot."""
    if _identity(copy) not in (before, None):
        return None
    aside = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}.damaged")
    try:
        with contextlib.suppress(FileNotFoundError):  # another process is about to replace it
            os.rename(copy, aside)
        fetch()
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):  # another process has put its own there
            os.rename(aside, copy)
        return error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return None
