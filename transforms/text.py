"""Text from data files as people see it: nothing in it moves a cursor or turns the writing direction, and it fits.

Widths are those of a terminal: an East Asian wide letter takes two columns, a combining mark none.
"""

from __future__ import annotations

import itertools
import unicodedata

_LEFT_OUT = "…"


def printable(text: str) -> str:
    r"""Returns `text` with every control, formatting or unknown character named, and plain spaces.

    >>> printable("a\nb\u202ec\u3000d")
    'a⟨0A⟩b⟨202E⟩c d'
    """
    if text.isprintable():
        return text
    return "".join(map(_printable, text))


def width(text: str) -> int:
    """Returns how many columns printable text takes.

    >>> width("naïve 猫")
    8
    """
    return sum(map(_columns, text))


def fit(text: str, columns: int, start: int = 0) -> str:
    """Returns printable text of at most `columns` columns; of a long one, what tells it apart: its end.

    Args:
        text: any.
        columns: at least 1.
        start: of these, the columns for the beginning of a long text.

    >>> fit("samples-00000-of-00002.tar#chelsea", 15)
    '…02.tar#chelsea'
    >>> fit("samples-00000-of-00002.tar#chelsea", 15, start=7)
    'samples…chelsea'
    """
    clean = printable(text)
    if width(clean) <= columns:
        return clean
    head = _first(clean, min(start, columns - 1))
    tail = _last(clean, columns - 1 - width(head))
    return head + _LEFT_OUT + tail


def pad(text: str, columns: int) -> str:
    """Returns printable text of exactly `columns` columns; see `fit`.

    >>> pad("猫", 4)
    '猫  '
    """
    fitting = fit(text, columns)
    return fitting + " " * (columns - width(fitting))


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if unicodedata.category(letter) == "Zs" else f"⟨{ord(letter):02X}⟩"


def _columns(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _first(text: str, columns: int) -> str:
    """Returns the beginning of `text`, marks included, that fits into `columns`."""
    ends = itertools.accumulate(map(_columns, text))
    return text[: sum(end <= columns for end in ends)] if columns > 0 else ""


def _last(text: str, columns: int) -> str:
    """Returns the end of `text` that fits into `columns`, without marks of a letter that does not."""
    count = sum(end <= columns for end in itertools.accumulate(map(_columns, reversed(text))))
    tail = text[len(text) - count :]
    return tail[next((i for i, letter in enumerate(tail) if _columns(letter)), len(tail)) :]
