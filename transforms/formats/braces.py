"""Brace expressions as shells expand them, in names that a shell does not see: `shard-{00000..00127}.tar`, `{a,b}`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from transforms.core.errors import UsageError

MOST_NAMES = 100_000
"""Names that one expression may stand for."""

_MOST_BRACES = 64
_NUMBERS = re.compile(r"(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})(?:\.\.(-?[0-9]{1,18}))?", re.ASCII)
_LETTERS = re.compile(r"([A-Za-z])\.\.([A-Za-z])")


def expand_braces(text: str) -> list[str]:
    """Returns the names that `text` stands for, in the order of the expression; `text` itself if it has no braces.

    >>> expand_braces("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']

    Raises:
        UsageError: it stands for more than `MOST_NAMES` names, or has too many braces.
    """
    if text.count("{") > _MOST_BRACES:
        raise UsageError(f"{text:.200}: {text.count('{')} braces; at most {_MOST_BRACES} are allowed")
    return _expanded(text)


def _expanded(text: str) -> list[str]:
    for start, end in _groups(text):
        alternatives = _alternatives(text[start + 1 : end])
        if alternatives is not None:
            return _product(text[:start], alternatives, _expanded(text[end + 1 :]))
    return [text]


def _product(prefix: str, alternatives: list[str], suffixes: list[str]) -> list[str]:
    if len(alternatives) * len(suffixes) > MOST_NAMES:
        raise _too_many()
    return [prefix + alternative + suffix for alternative in alternatives for suffix in suffixes]


def _groups(text: str) -> Iterator[tuple[int, int]]:
    """Yields the positions of each opening brace that is closed, and of the brace that closes it."""
    for start in (match.start() for match in re.finditer("{", text)):
        depth = 0
        for position in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if not depth:
                yield start, position
                break


def _alternatives(content: str) -> list[str] | None:
    """Returns what a group stands for, or None if it is no expression but plain text."""
    if match := _NUMBERS.fullmatch(content):
        return _numbers(match[1], match[2], int(match[3] or 1))
    if match := _LETTERS.fullmatch(content):
        return [chr(code) for code in _range(ord(match[1]), ord(match[2]), 1)]
    parts = _split(content)
    if len(parts) == 1:
        return None
    found = [name for part in parts for name in _expanded(part)]
    if len(found) > MOST_NAMES:
        raise _too_many()
    return found


def _numbers(first: str, last: str, step: int) -> list[str]:
    padded = any(len(text.lstrip("-")) > 1 and text.lstrip("-").startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}d}" for number in _range(int(first), int(last), step)]


def _range(first: int, last: int, step: int) -> range:
    step = abs(step) or 1
    found = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    if (abs(last - first) // step) >= MOST_NAMES:
        raise _too_many()
    return found


def _split(content: str) -> list[str]:
    """Returns the parts between commas that are in no group of their own."""
    parts, depth = [""], 0
    for letter in content:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _too_many() -> UsageError:
    return UsageError(f"braces stand for more than {MOST_NAMES:,} names")
