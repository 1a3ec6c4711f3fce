"""Suggestions for a misspelled name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHORTEST_PREFIX = 3


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the known name that is closest to `name`; empty if none is close.

    Dashes, underscores and case are ignored, and an unambiguous prefix stands for its name. A name
    with `no_` means the opposite of one without, so neither is suggested for the other.

    >>> suggestion("--Max-step", ["--max_steps", "--rule"])
    '; did you mean --max_steps?'
    """
    wanted = _plain(name)
    by_name = {_plain(other): other for other in known if _negates(_plain(other)) == _negates(wanted)}
    close = difflib.get_close_matches(wanted, by_name, 1)
    if not close and len(wanted) >= _SHORTEST_PREFIX:
        begun = [other for other in by_name if other.startswith(wanted)]
        close = begun if len(begun) == 1 else []
    return f"; did you mean {by_name[close[0]]}?" if close else ""


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()


def _negates(name: str) -> bool:
    return name.startswith("no_")
