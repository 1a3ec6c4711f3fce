"""What changed, in words: class, place, how much, how sure. The same change of several slices is said once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.names import member_name, metric_name, place_name, slice_name
from transforms.core.drift.contrast import ATTENTION, CONVERGENCE, SCORE
from transforms.core.drift.mean_error import NORMAL
from transforms.core.drift.places import AGAINST, ANYWHERE, FOR, HIGH
from transforms.core.drift.slice_audit import CellAudit, MetricAudit, SliceAudit
from transforms.core.drift.tails import TailAudit

_CLASSES = ("label", "predicted", "target")
"""Kinds of slices of one class, in the order in which they speak for it."""

_EVERYWHERE = 3
"""Classes from which on a change that all pictures show is one of the whole run."""

_ORDER = (ATTENTION, SCORE, CONVERGENCE)
_NAMED = 4
_NUMBERS = {
    ("border_share", True): "put unusually much attention near the border",
    ("border_share", False): "put unusually little attention near the border",
    ("gini", True): "concentrate their attention on unusually few pixels",
    ("gini", False): "spread their attention unusually widely",
}
_MEANS = {
    "score": "score",
    "positive_share": "share of the attention that speaks for the class",
    "gini": "concentration of the attention (Gini)",
    "entropy": "spread of the attention (entropy)",
    "center_row": "center of the attention, from the top",
    "center_col": "center of the attention, from the left",
    "border_share": "attention near the border",
    "mask_share": "attention inside the mask",
    "pointing_hit": "pictures whose strongest pixel is inside the mask",
    "convergence_delta": "convergence delta",
    "error_estimate": "estimated error of the maps",
    "steps": "gradient steps",
}
_SHARES = ("positive_share", "border_share", "mask_share", "pointing_hit", "error_estimate", "center_row", "center_col")


@dataclass(frozen=True)
class Change:
    """A change of one slice, or of several that say the same.

    Attributes:
        topic: one of `contrast.TOPICS`' values.
        place: what tells changes of a slice apart; changes of the same place in other slices may be the same.
        amount: by how much it moved: a share of the attention or of the pictures.
        message: a sentence.
        detail: the numbers behind it.
        one: the slice.
        also: other slices that show the same.
    """

    topic: str
    place: str
    amount: float
    message: str
    detail: str
    one: SliceAudit
    also: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> str:
        """The numbers behind the sentence, and where else it was seen."""
        more = f", and {len(self.also) - _NAMED} more" if len(self.also) > _NAMED else ""
        also = f"also seen in: {', '.join(self.also[:_NAMED])}{more}" if self.also else ""
        return "; ".join(part for part in (self.detail, also) if part)


def list_changes(slices: Sequence[SliceAudit]) -> list[Change]:
    """Returns what changed, each change once: by topic, what moved most first."""
    found: dict[tuple[str, str], list[Change]] = defaultdict(list)
    for one in slices:
        for change in _changes(one):
            found[change.topic, change.place].append(change)
    merged = [change for same in found.values() for change in _merge(same)]
    return sorted(merged, key=lambda change: (_ORDER.index(change.topic), -change.amount, change.one.name))


def _changes(one: SliceAudit) -> Iterator[Change]:
    """Yields the changes of a slice; a place whose pictures are counted is not given as a mean too."""
    counted = set()
    for tail in one.tails:
        place = _tail_place(tail, one)
        if place not in counted:
            counted.add(place)
            yield _tail(one, tail, place)
    places = defaultdict[str, list[CellAudit]](list)
    for cell in one.grid.changed if one.grid else ():
        places[place_name([(cell.row, cell.col)], one.grid.side if one.grid else 1)].append(cell)
    for place, cells in places.items():
        if place not in counted:
            yield _moved(one, place, cells)
    for topic in _ORDER:
        metrics = [metric for metric in one.metrics if metric.drift and metric.topic == topic]
        if metrics and not (topic == ATTENTION and (counted or places)):
            yield _mean(one, topic, metrics)


def _merge(same: Sequence[Change]) -> list[Change]:
    """Returns the changes of one place: one for each class, or one for the run if it is all over it."""
    whole = [change for change in same if change.one.kind == "all"]
    of_classes = [change for kind in _CLASSES for change in same if change.one.kind == kind]
    names = list(dict.fromkeys(_member(change.one) for change in of_classes))
    if whole and len(names) >= _EVERYWHERE:
        return [_with_others(whole[0], same)]
    if not of_classes:
        return [_with_others(whole[0] if whole else max(same, key=lambda change: change.amount), same)]
    leading = [next(change for change in of_classes if _member(change.one) == name) for name in names]
    others = [change for change in same if change.one.kind not in _CLASSES]
    most = max(leading, key=lambda change: change.amount)
    return [
        _with_others(
            lead,
            [
                *(change for change in of_classes if _member(change.one) == _member(lead.one)),
                *(others if lead is most else ()),
            ],
        )
        for lead in leading
    ]


def _with_others(lead: Change, same: Sequence[Change]) -> Change:
    also = [slice_name(each.one.kind, each.one.value, each.one.name) for each in same if each is not lead]
    return Change(lead.topic, lead.place, lead.amount, lead.message, lead.detail, lead.one, also)


def _tail_place(tail: TailAudit, one: SliceAudit) -> str:
    return tail_place(tail, one.grid.side if one.grid else 1 + max((max(cell) for cell in tail.cells), default=0))


def tail_message(tail: TailAudit, name: str, place: str) -> str:
    """Returns what pictures in a tail do, with how many they are.

    Args:
        tail: what was found.
        name: of the class.
        place: in words.
    """
    if tail.name == ANYWHERE:
        way = "rest on a place" if tail.side == FOR else "show something in a place"
        does = f"{way} that the class's others do not look at, each on another one"
    elif tail.name:
        does = _NUMBERS[tail.name, tail.side == HIGH]
    elif tail.side == FOR:
        does = f"rest on the {place}"
    elif tail.side == AGAINST:
        does = f"show something in the {place} that speaks against the class"
    else:
        does = f"put unusually much attention into the {place}"
    return (
        f"{tail.candidate:,} of {tail.candidate_rows:,} pictures of {name} {does}; "
        f"in the reference {tail.reference:,} of {tail.reference_rows:,}"
    )


def tail_place(tail: TailAudit, side: int) -> str:
    """Returns where pictures in a tail look, in words; the name of the number if they are told apart by one."""
    return metric_name(tail.name) if tail.name else place_name([(row, col) for row, col in tail.cells], side)


def _tail(one: SliceAudit, tail: TailAudit, place: str) -> Change:
    cells = f"{_cells(tail)}; " if tail.cells else ""
    detail = (
        f"{cells}more than {tail.level:g} spreads beyond the class's median; "
        f"{tail.expected:.2g} such pictures would be usual; p = {tail.p_value:.2g} over all classes and places"
    )
    amount = (tail.candidate - tail.expected) / tail.candidate_rows
    return Change(ATTENTION, place, amount, tail_message(tail, _member(one), place), detail, one)


def _cells(tail: TailAudit) -> str:
    listed = [f"row {row + 1} column {col + 1}" for row, col in tail.cells[:_NAMED]]
    return ", ".join(listed) + (f" and {len(tail.cells) - _NAMED} more" if len(tail.cells) > _NAMED else "")


def _moved(one: SliceAudit, place: str, cells: Sequence[CellAudit]) -> Change:
    """Returns the change of the mean in a place: of what speaks for the class if that is known, as in the map."""
    signed = [cell for cell in cells if cell.signed]
    shown = signed or cells
    before, after = (sum(getattr(cell, name) for cell in shown) for name in ("reference", "candidate"))
    subject = _subject(one)
    if signed:
        way = "for" if after > before else "against"
        message = (
            f"{subject}: the {place} speaks more {way} the class: {after:+.1%} of the attention ({before:+.1%} before)"
        )
    else:
        message = f"{subject}: {after:.0%} of the attention is now in the {place} (before: {before:.0%})"
    listed = ", ".join(_cell(cell) for cell in shown[:_NAMED])
    metrics = [metric for metric in one.metrics if metric.drift and metric.topic == ATTENTION]
    return Change(ATTENTION, place, abs(after - before), message, f"{listed}; {_effects(metrics)}", one)


def _cell(cell: CellAudit) -> str:
    before, after = (
        f"{mean:.1%} ± {NORMAL * error:.1%}"
        for mean, error in ((cell.reference, cell.reference_error), (cell.candidate, cell.candidate_error))
    )
    return f"row {cell.row + 1} column {cell.col + 1} {before} → {after}"


def _mean(one: SliceAudit, topic: str, metrics: Sequence[MetricAudit]) -> Change:
    metrics = sorted(metrics, key=lambda metric: (metric.q_value, -metric.effect / max(metric.threshold, 1e-9)))
    named = next((metric for metric in metrics if metric.candidate is not None), None)
    subject, sure = _subject(one), ""
    if named is None or named.reference is None or named.candidate is None:
        message = f"{subject}: the attention is distributed otherwise ({metric_name(metrics[0].name).lower()})"
    else:
        before, after = (_value(named, value) for value in (named.reference, named.candidate))
        message = f"{subject}: {_MEANS[named.name]} {after} ({before} before)"
        intervals = [_interval(named, each) for each in (named.candidate_interval, named.reference_interval) if each]
        sure = f"95 %: {' (before '.join(intervals)}); " if len(intervals) == 2 else ""
    ratio = max(metric.effect / max(metric.threshold, metric.self_effect, 1e-9) for metric in metrics)
    place = ",".join(metric.name for metric in metrics[:1])
    return Change(topic, place, ratio / 100, message, sure + _effects(metrics), one)


def _value(metric: MetricAudit, value: float) -> str:
    return f"{value:.1%}" if metric.name in _SHARES else f"{value:.3g}"


def _interval(metric: MetricAudit, interval: tuple[float, float]) -> str:
    return " to ".join(_value(metric, end) for end in interval)


def _effects(metrics: Sequence[MetricAudit]) -> str:
    listed = [f"{metric.name} {metric.effect:.3g} (itself {metric.self_effect:.3g})" for metric in metrics[:_NAMED]]
    more = f" and {len(metrics) - _NAMED} more metrics" if len(metrics) > _NAMED else ""
    return ", ".join(listed) + more


def _member(one: SliceAudit) -> str:
    """Returns the class of a slice of one, else the slice's name."""
    if one.kind in _CLASSES:
        return member_name(one.kind, one.value, one.name)
    return slice_name(one.kind, one.value, one.name)


def _subject(one: SliceAudit) -> str:
    return f"Pictures of {_member(one)}" if one.kind in _CLASSES else _member(one)
