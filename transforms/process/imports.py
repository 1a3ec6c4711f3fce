"""Imports of large packages in half the time: without the garbage collector, and without what nobody here uses."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


@contextlib.contextmanager
def lean_imports(*left_out: str) -> Iterator[None]:
    """Imports made inside cost less; other threads, and imports after the block, notice nothing.

    The collector would look at each of a million new objects several times, all of which stay. If the process has
    frozen its objects by `keep_objects`, those that are imported are frozen too.

    Args:
        left_out: packages whose import inside fails, as if they were not installed; of those that are imported already
            it does not.
    """
    finder, collects = _Absent(left_out), gc.isenabled()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        if gc.get_freeze_count():
            gc.freeze()
        if collects:
            gc.enable()


def keep_objects() -> None:
    """Leaves all objects that exist now out of every later collection, that of the process's end too.

    For a process of our own that has imported what it needs: objects that wait for the collector are freed first, as
    those may be of a model.
    """
    gc.collect()
    gc.freeze()


class _Absent:
    """A finder by which some packages can be found, but not imported, by the thread that made it."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Returns the spec of a package that is left out, with a loader that refuses; None for any other."""
        if name not in self._packages or threading.get_ident() != self._thread:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = _Refusing()
        return spec


class _Refusing(Loader):
    """A loader of a package that is left out."""

    def exec_module(self, module: ModuleType) -> None:
        """Raises ModuleNotFoundError."""
        raise ModuleNotFoundError(f"No module named {module.__name__!r}", name=module.__name__)
