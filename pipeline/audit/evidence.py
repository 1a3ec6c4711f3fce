"""The tails in an audit.json → evidence for the monitor; the file may be damaged, or edited, and is not trusted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from transforms.core.drift.evidence import Evidence, Statistic, Tally
from transforms.core.errors import UsageError
from transforms.core.statistics.slices import Slice

_SIGNS = (1, -1)
_MOST_SLICES, _MOST_PLACES, _MOST_LEVELS = 10_000, 4_096, 64
_MOST_ROWS = 1 << 40


def read_evidence(audit: Mapping[str, Any]) -> Evidence:
    """Returns the tails of an audit.json; slices without rows on one of the sides are left out.

    Pictures that several references hold count once: the counts of all are scaled to the number of different pictures,
    if the audit says it.

    Raises:
        ValueError: it has none, or they are damaged.
    """
    if not audit.get("tails"):
        raise UsageError("its audit.json has no tails: nothing was compared, or an earlier version did")
    tails = _mapping(audit["tails"], "tails")
    places = [_text(place) for place in _list(tails, "places", _MOST_PLACES)]
    levels = tuple(_level(level) for level in _list(tails, "levels", _MOST_LEVELS))
    if len(set(places)) != len(places) or any(low >= high for low, high in itertools.pairwise(levels)):
        raise _damaged("places or levels are repeated, or not in order")
    statistics = tuple(Statistic(place, sign) for place in places for sign in _SIGNS)
    slices = [_mapping(one, "a slice") for one in _list(tails, "slices", _MOST_SLICES)]
    kept = [one for one in slices if _count(one, "rows") and _count(one, "reference_rows")]
    keys = tuple(Slice(*(_text(one.get(name)) for name in ("kind", "value", "name"))) for one in kept)
    if len(set(keys)) != len(keys):
        raise _damaged("a slice comes twice")
    night, references = np.zeros((2, len(keys), len(statistics), len(levels)))
    for number, one in enumerate(kept):
        rows, reference_rows = _count(one, "rows"), _count(one, "reference_rows")
        for entry in _list(one, "counts", len(statistics) * len(levels)):
            place, sign, level, here, there = _entry(entry)
            if not (0 <= place < len(places) and sign in _SIGNS and 0 <= level < len(levels)):
                raise _damaged(f"there is no place {place}, side {sign} and level {level}")
            if not (0 <= here <= rows and 0 <= there <= reference_rows):
                raise _damaged(f"{here} of {rows} pictures, and {there} of {reference_rows} in the references")
            at = number, len(_SIGNS) * place + _SIGNS.index(sign), level
            night[at], references[at] = here, there
    all_rows, all_reference_rows = (
        np.array([_count(one, name) for one in kept], np.int64) for name in ("rows", "reference_rows")
    )
    different = np.array([_different(one) for one in kept], float)
    share = different / all_reference_rows
    once = Tally(references * share[:, None, None], different)
    return Evidence(keys, statistics, levels, Tally(night.astype(np.int64), all_rows), once)


def _different(one: Mapping[str, Any]) -> int:
    """Returns how many different pictures the references hold, all of them if the audit does not say."""
    rows = _count(one, "reference_rows")
    different = _count(one, "reference_pictures") if "reference_pictures" in one else rows
    if not 0 < different <= rows:
        raise _damaged(f"{different} different pictures in {rows} rows")
    return different


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _damaged(f"{what}: not an object")
    return value


def _list(holder: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value: Any = holder.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise _damaged(f"{name}: not a list of at most {most}")
    return value


def _entry(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) != 5 or not all(map(_is_integer, value)):
        raise _damaged("counts: not five whole numbers each")
    return value


def _count(holder: Mapping[str, Any], name: str) -> int:
    value: Any = holder.get(name)
    if not _is_integer(value) or not 0 <= value <= _MOST_ROWS:
        raise _damaged(f"{name}: not a number of rows")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _damaged("a name is not a text")
    return value


def _level(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise _damaged("levels: not numbers above 0")
    return float(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _damaged(what: str) -> UsageError:
    return UsageError(f"the tails in its audit.json are damaged ({what})")
