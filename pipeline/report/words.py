"""Stored values → what people read: places on a map, numbers, times, and text that can do no harm."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.names import PLACES
from transforms.text import fit

_LETTERS = 72


def number(value: float | None) -> str:
    """Returns a number to three decimals, fewer where it is large, with a true minus; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e6:
        text = f"{value:,.0f}"
    elif 5e-4 <= abs(value) < 1e6:
        text = f"{value:,.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"
    else:
        text = f"{value:.1e}"
    return _true_minus(text)


def percent(value: float | None, digits: int = 1) -> str:
    """Returns a share in percent."""
    if value is None or not np.isfinite(value):
        return "–"
    return _true_minus(f"{value:.{digits}%}")


def points(change: float) -> str:
    """Returns the change of a share in points, with its sign."""
    return f"{100 * change:+.1f} points".replace("-", "−")


def plain(text: Any, letters: int = _LETTERS) -> str:
    """Returns printable text, as wide as `letters` letters at most: the middle of a long one is left out."""
    return fit(str(text), letters, start=letters // 2)


def sentence(text: str) -> str:
    """Returns text with a capital first letter.

    >>> sentence("in 3 of 40 pictures")
    'In 3 of 40 pictures'
    """
    return text[:1].upper() + text[1:]


def isolated(text: Any, letters: int = _LETTERS) -> Markup:
    """Returns text from a data file as HTML that neither markup nor writing direction can break out of."""
    return Markup('<bdi dir="auto">{}</bdi>').format(plain(text, letters))


def moment(created: str) -> str:
    """Returns an ISO 8601 time to the minute, or the text itself where it is none."""
    try:
        time = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return plain(created)
    return f"{time.astimezone(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC"


def where(changed: Iterable[Mapping[str, Any]], side: int) -> list[tuple[str, float]]:
    """Returns the ninths of a map in which cells changed and how their shares changed together, the most changed first.

    Args:
        changed: cells with `row`, `col`, `reference` and `candidate`.
        side: cells a side.
    """
    found: dict[str, float] = {}
    for cell in changed:
        place = PLACES[3 * cell["row"] // side][3 * cell["col"] // side]
        found[place] = found.get(place, 0.0) + cell["candidate"] - cell["reference"]
    return sorted(found.items(), key=lambda item: -abs(item[1]))


def _true_minus(text: str) -> str:
    """Returns the text of a number with a true minus, and with none before zero."""
    return text.replace("-", "−" if text.strip("-0.%") else "")
