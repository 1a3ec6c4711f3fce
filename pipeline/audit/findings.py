"""A finished run → its findings: groups of pictures whose attribution lies elsewhere than that of their class.

Needs no reference. Median, spread and evidence come from the held rows of each class; where a class has more, the
pictures of its groups are counted over all of them in a second pass.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audit.placed import Block, Placer, Rows, read_classes
from pipeline.names import member_name, place_name
from transforms.core.findings.groups import Group, find_groups
from transforms.core.findings.tails import LEAST_ROWS
from transforms.core.statistics.slices import Slice
from transforms.store.run import Run
from transforms.text import printable

_EXAMPLES = 8
_PRINTED = 5


@dataclass(frozen=True)
class Example:
    """A picture of a group: its id, the number of its row in the run, and its robust z; the fields of audit.json."""

    image_id: str
    row: int
    z: float


@dataclass(frozen=True)
class Finding:
    """A group of pictures; the fields are those of audit.json.

    Attributes:
        way: how it was found, see `groups.Group`.
        kind: of the slice of the class, with `value` and `name`.
        place: in words.
        cells: (row, column) of each cell of the place; none if it differs from picture to picture.
        side: cells a side of the grid.
        sign: 1 if the place speaks for the class more than usual, −1 if less.
        threshold: robust z that each picture exceeds.
        count: pictures of the group.
        rows: pictures of the class.
        usual: how many of them would be usual.
        log10_p: logarithm of the probability of such a group by chance anywhere in the run.
        accuracy_inside: share of the group's pictures whose top prediction is their label; None without labels.
        accuracy_outside: the same of the class's other pictures.
        score_inside: mean score of the group.
        score_outside: of the others; None if there are none.
        examples: the most extreme first.
        message: a sentence.
    """

    way: str
    kind: str
    value: str
    name: str
    place: str
    cells: list[tuple[int, int]]
    side: int
    sign: int
    threshold: float
    count: int
    rows: int
    usual: float
    log10_p: float
    accuracy_inside: float | None
    accuracy_outside: float | None
    score_inside: float | None
    score_outside: float | None
    examples: list[Example]
    message: str


@dataclass(frozen=True)
class Searched:
    """What was searched; the fields are those of audit.json.

    Attributes:
        classes: classes with enough pictures.
        rows: pictures of all classes.
        small_classes: classes with too few pictures.
        least_rows: pictures that a class needs.
    """

    classes: int
    rows: int
    small_classes: int
    least_rows: int


def search(run: Run) -> tuple[list[Finding], Searched]:
    """Returns the findings of a finished run, the strongest first, and what was searched.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    classes = read_classes(run)
    groups = find_groups([one.block.signed for one in classes])
    tallies = _tallies(run, classes, groups)
    findings = [_finding(classes[group.number], group, tally) for group, tally in zip(groups, tallies, strict=True)]
    known = [int((~np.isnan(one.block.signed).any(axis=1)).sum()) for one in classes]
    enough = sum(count >= LEAST_ROWS for count in known)
    return findings, Searched(enough, sum(one.count for one in classes), len(classes) - enough, LEAST_ROWS)


def tell(findings: Sequence[Finding], searched: Searched) -> list[str]:
    """Returns lines about findings, for a terminal."""
    if not findings:
        return [f"no findings without a reference{_blind(searched)}"]
    lines = [f"{len(findings)} finding{'' if len(findings) == 1 else 's'} without a reference:"]
    lines += [f"  * {printable(one.message)}{_accuracies(one)}" for one in findings[:_PRINTED]]
    if len(findings) > _PRINTED:
        lines.append(f"  … and {len(findings) - _PRINTED} more, in audit.json and in the report")
    return lines


def _blind(searched: Searched) -> str:
    if not searched.classes:
        return f": no class has the {searched.least_rows} pictures that a search needs"
    if searched.small_classes:
        number = searched.small_classes
        return f"; {number} {'class has' if number == 1 else 'classes have'} fewer than {searched.least_rows} pictures"
    return ""


def _accuracies(one: Finding) -> str:
    if one.accuracy_inside is None or one.accuracy_outside is None:
        return ""
    return f"; {one.accuracy_inside:.0%} of them are predicted right, {one.accuracy_outside:.0%} of the others"


@dataclass
class _Tally:
    """What is counted of a group over all rows of its class."""

    count: int = 0
    score: float = 0.0
    labeled: int = 0
    correct: float = 0.0
    others: int = 0
    score_others: float = 0.0
    labeled_others: int = 0
    correct_others: float = 0.0

    def __post_init__(self) -> None:
        self.examples: list[tuple[float, int, str]] = []

    def add(self, block: Block, z: np.ndarray, inside: np.ndarray) -> None:
        labeled, correct = ~np.isnan(block.correct), np.nan_to_num(block.correct)
        outside = ~inside
        self.count += int(inside.sum())
        self.others += int(outside.sum())
        self.score += float(block.score[inside].sum(dtype=np.float64))
        self.score_others += float(block.score[outside].sum(dtype=np.float64))
        self.labeled += int(labeled[inside].sum())
        self.labeled_others += int(labeled[outside].sum())
        self.correct += float(correct[inside].sum())
        self.correct_others += float(correct[outside].sum())
        positions = np.flatnonzero(inside)
        best = positions[np.argsort(-np.abs(z[positions]), kind="stable")[:_EXAMPLES]]
        named = [(float(z[one]), -int(block.rows[one]), block.ids[int(one)].as_py()) for one in best.tolist()]
        self.examples = heapq.nlargest(_EXAMPLES, [*self.examples, *named], key=lambda each: (abs(each[0]), each[1]))


def _tallies(run: Run, classes: Sequence[Rows], groups: Sequence[Group]) -> list[_Tally]:
    """Returns what is counted of each group, over all rows of its class."""
    tallies = [_Tally() for _ in groups]
    partial = []
    for group, tally in zip(groups, tallies, strict=True):
        one = classes[group.number]
        if one.count > len(one.block.rows):
            partial.append((one.key, group, tally))
        else:
            inside = np.zeros(len(one.block.rows), bool)
            inside[group.members] = True
            tally.add(one.block, group.z(one.block.signed), inside)
    if partial:
        _count_all(run, partial)
    return tallies


def _count_all(run: Run, groups: Sequence[tuple[Slice, Group, _Tally]]) -> None:
    """Counts the groups of classes of which not all rows are held, in a second pass over the run."""
    placer = Placer()
    for block in placer.blocks(run):
        for key, group, tally in groups:
            if key in placer.classes:
                rows = block.take(np.flatnonzero(block.classes == placer.classes.index(key)))
                z = group.z(rows.signed)
                tally.add(rows, z, z >= group.threshold)


def _finding(one: Rows, group: Group, tally: _Tally) -> Finding:
    side = round(one.block.signed.shape[1] ** 0.5)
    cells = [divmod(cell, side) for cell in group.cells]
    place = place_name(cells, side)
    usual = group.usual * one.count / len(one.block.rows)
    return Finding(
        way=group.way,
        kind=one.key.kind,
        value=one.key.value,
        name=one.key.name,
        place=place,
        cells=cells,
        side=side,
        sign=group.sign,
        threshold=group.threshold,
        count=tally.count,
        rows=one.count,
        usual=usual,
        log10_p=group.log10_p,
        accuracy_inside=tally.correct / tally.labeled if tally.labeled else None,
        accuracy_outside=tally.correct_others / tally.labeled_others if tally.labeled_others else None,
        score_inside=tally.score / tally.count if tally.count else None,
        score_outside=tally.score_others / tally.others if tally.others else None,
        examples=[Example(image_id, -row, z) for z, row, image_id in tally.examples],
        message=_message(one, group, tally.count, place, usual),
    )


def _message(one: Rows, group: Group, count: int, place: str, usual: float) -> str:
    subject = f"{count:,} of {one.count:,} pictures{_of_class(one.key)}"
    ordinary = "none" if usual < 0.5 else f"{round(usual):,}"
    if not group.cells:
        return f"{subject} rest on one small place each, not the same in all ({ordinary} would be usual)"
    if group.way == "class":
        verb = f"rest on the {place}" if group.sign > 0 else f"have the {place} against them"
        return f"{subject} {verb}, as those of no other class ({ordinary} would be usual)"
    if group.way == "cluster":
        verb = "rest more" if group.sign > 0 else "rest less"
        several = len(group.cells) > 1 and place != "frame"
        where = f"{len(group.cells)} cells around the {place}" if several else f"the {place}"
        return f"{subject} {verb} on {where} ({ordinary} would be usual)"
    if group.sign > 0:
        return f"{subject} rest on the {place} ({ordinary} would be usual)"
    return f"in {subject} the {place} speaks against the class ({ordinary} would be usual)"


def _of_class(key: Slice) -> str:
    name = member_name(key.kind, key.value, key.name)
    words = {"label": "of", "predicted": "predicted as", "target": "explained as"}
    return f" {words[key.kind]} {name}" if name else ""
