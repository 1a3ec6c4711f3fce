"""What stands out in the run without a reference: a card for each group of pictures, with some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from pipeline.audit.findings import search
from pipeline.report import figures
from pipeline.report.cards import Card, make_cards
from pipeline.report.distributions import Audit
from pipeline.report.gallery import Pick, read_picks
from transforms.store.run import Run

_MOST = 8
_CORNERS = ("corner", "edge", "frame")


@dataclass(frozen=True)
class Found:
    """A finding: its entry in audit.json, a map of its place (None if that differs), what to do, and its pictures."""

    entry: Mapping[str, Any]
    place: str | None
    advice: str
    cards: list[Card]


@dataclass(frozen=True)
class Findings:
    """The findings, how many more are in audit.json, what was searched, in how many classes, and what is never seen."""

    found: list[Found]
    left: int
    searched: str
    unseen: str
    classes: int


def read_findings(run: Run, audit: Audit | None) -> Findings:
    """Returns the findings in a run's audit.json, or, if it has none, searches the run.

    Raises:
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    if audit and "findings" in audit:
        entries, searched = audit["findings"], audit["searched"]
    else:
        findings, summary = search(run)
        entries, searched = [dataclasses.asdict(one) for one in findings], dataclasses.asdict(summary)
    shown = entries[:_MOST]
    picks = [list(_picks(run, entry["examples"])) for entry in shown]
    rows = read_picks(run, [pick for some in picks for pick in some]) if any(picks) else {}
    config = run.manifest.provenance.config
    found = [
        Found(entry, _place(entry), _advice(entry), make_cards(some, rows, config, len(some)))
        for entry, some in zip(shown, picks, strict=True)
    ]
    return Findings(found, len(entries) - len(shown), _searched(searched), _unseen(searched), searched["classes"])


def _picks(run: Run, examples: Sequence[Mapping[str, Any]]) -> Iterator[Pick]:
    """Yields where the rows of examples are stored."""
    parts = run.manifest.parts
    ends = list(accumulate(part.rows for part in parts))
    for example in examples:
        number = int(np.searchsorted(ends, example["row"], side="right"))
        if number < len(parts):
            begin = ends[number] - parts[number].rows
            yield Pick(example["z"], parts[number].attributions.name, example["row"] - begin)


def _place(entry: Mapping[str, Any]) -> str | None:
    """Returns a map in which the cells of the place are filled."""
    if not entry["cells"]:
        return None
    filled = np.zeros((entry["side"], entry["side"]))
    filled[tuple(np.transpose(entry["cells"]))] = entry["sign"]
    return figures.signed_image(filled.ravel(), 1.0)


def _advice(entry: Mapping[str, Any]) -> str:
    if not entry["cells"]:
        return (
            "Look at these pictures: if each has the same tag, logo or object, wherever it is, the model may have "
            "learned that instead of the class."
        )
    if entry["place"].endswith(_CORNERS):
        held = f"the {entry['place']} holds a tag, a caption or a border"
    else:
        held = "they share an object or a mark there that is not the class"
    return (
        f"Look at these pictures: if {held}, cover it and see whether the predictions stay; if not, train without it."
    )


def _searched(searched: Mapping[str, Any]) -> str:
    classes = "one class" if searched["classes"] == 1 else f"{searched['classes']:,} classes"
    return f"{searched['rows']:,} pictures, {classes} of {searched['least_rows']} and more"


def _unseen(searched: Mapping[str, Any]) -> str:
    """Returns what the search cannot see."""
    limits = ["groups of one or two pictures", "what most pictures of a class share"]
    if small := searched["small_classes"]:
        number = "one class" if small == 1 else f"{small:,} classes"
        limits.insert(0, f"anything in {number} with fewer than {searched['least_rows']} pictures")
    return f"Not seen by this search: {', '.join(limits[:-1])} and {limits[-1]}."
