"""The gallery's sections: which rows are ranked by what, and their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.convergence import convergence
from pipeline.report import figures
from pipeline.report.gallery import (
    Drawn,
    FarFromMean,
    Pick,
    Ranking,
    far_from_label,
    find_picks,
    highest_border,
    least_converged,
    read_picks,
    wrong_and_confident,
)
from pipeline.report.maps import Audited, slice_of
from transforms.core.image.decode import DecodeError
from transforms.core.record import Row
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.run import Run


@dataclass(frozen=True)
class Card:
    """A picture.

    Attributes:
        row: the run's.
        photograph: what the model saw, as a data URI.
        overlay: the map laid over it, likewise; None if no map is stored.
        value: what it was ranked by.
        convergence: how accurate the map is, as a clause.
    """

    row: Row
    photograph: str
    overlay: str | None
    value: float
    convergence: str


@dataclass(frozen=True)
class Section:
    """Pictures ranked alike: a title, what they have in common, what their value says, and the cards.

    A value is a share, or, if `unit` is empty, a number.
    """

    title: str
    note: str
    unit: str
    cards: list[Card]


@dataclass(frozen=True)
class _Plan:
    """A section before its pictures are found."""

    title: str
    note: str
    unit: str
    ranking: Ranking


def make_sections(run: Run, rows: Sequence[Row], audited: Audited, most: int) -> list[Section]:
    """Returns the gallery; sections without pictures are left out.

    Args:
        run: a finished run.
        rows: statistics of its slices.
        audited: the slices of its audit.
        most: pictures in a section.
    """
    plans = [
        _far_from_mean(rows, audited),
        _Plan("Wrong and confident", "The highest predictions that are not the label.", "sure", wrong_and_confident),
        _Plan("Farthest from the label", "The largest differences of the value from the label.", "", far_from_label),
        _Plan(
            "Most attention near the border",
            "The largest shares of attribution within a tenth of the border: frames, stamps and captions show here.",
            "near the border",
            highest_border,
        ),
        _Plan(
            "Least converged",
            "The largest estimated errors of the run's maps; read these with care.",
            "error in the run",
            least_converged,
        ),
    ]
    # twice as many, because an image may have several rows
    picks = find_picks(run, {plan.title: plan.ranking for plan in plans}, 2 * most)
    found = read_picks(run, [pick for ranked in picks.values() for pick in ranked])
    config = run.manifest.provenance.config
    sections = [
        Section(plan.title, plan.note, plan.unit, make_cards(picks[plan.title], found, config, most)) for plan in plans
    ]
    return [section for section in sections if section.cards]


def make_cards(
    picks: Iterable[Pick], drawn: Mapping[tuple[str, int], Drawn], config: Mapping[str, Any], most: int
) -> list[Card]:
    """Returns the cards of `picks`, an image once, `most` at most; those whose thumbnail is damaged are left out.

    Args:
        picks: in their order.
        drawn: what is drawn of each, by part and position.
        config: the run's options.
        most: the most cards.
    """
    cards: dict[str, Card] = {}
    for pick in picks:
        each = drawn[pick.part, pick.position]
        if each.row["image_id"] in cards or len(cards) == most:
            continue
        try:
            cards[each.row["image_id"]] = _card(pick, each, config)
        except DecodeError:
            continue
    return list(cards.values())


def _card(pick: Pick, drawn: Drawn, config: Mapping[str, Any]) -> Card:
    thumbnail, values = drawn.row["thumbnail"], drawn.values
    return Card(
        drawn.row,
        figures.photograph(thumbnail),
        None if values is None else figures.overlaid(thumbnail, values),
        pick.value,
        "no map is stored" if values is None else convergence(drawn.made, config, drawn.refined),
    )


def _far_from_mean(rows: Sequence[Row], audited: Audited) -> _Plan:
    """Returns the section of maps far from the mean map of their class: the reference's, where there is one."""
    kind = "predicted" if any(row["kind"] == "predicted" for row in rows) else "target"
    predicted = {int(key.value): entry for key, entry in audited.items() if _is_class(key, kind) and entry["grid"]}
    if predicted:
        references = {key: entry["grid"]["reference"] for key, entry in predicted.items()}
        drifted = frozenset(key for key, entry in predicted.items() if entry["state"] == "drift")
        note = ", in the classes that drifted." if drifted else "; no class drifted."
        return _Plan(
            "Most drifted",
            "Maps farthest from the reference's mean map of their class" + note,
            "from the mean map",
            _ranking(references, drifted or None, kind),
        )
    known = [row for row in rows if _is_class(slice_of(row), kind) and row["count"] > 1 and row["mean_grid"]]
    own = {int(row["value"]): row["mean_grid"] for row in known}
    return _Plan(
        "Unlike their class",
        f"Maps farthest from the mean map of their {'predicted class' if kind == 'predicted' else 'target'}.",
        "from the mean map",
        _ranking(own, None, kind),
    )


def _is_class(key: Slice, kind: str) -> bool:
    """Returns whether a slice of this kind holds the rows of one class; what is counted together is no class."""
    return key.kind == kind and not is_overflow(key)


def _ranking(means: Mapping[int, Sequence[float]], only: frozenset[int] | None, kind: str) -> FarFromMean:
    classes = sorted(means)
    return FarFromMean(
        np.array(classes, int), np.array([means[key] for key in classes], float), only, kind == "predicted"
    )
