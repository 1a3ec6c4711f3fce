"""What another model, and pictures that come again, mean: said once, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.audit.references import stored_option
from pipeline.names import slice_name
from transforms.core.drift.contrast import ATTENTION
from transforms.core.drift.pairs import BOTH, OTHER_SHARE, TAILS, PairedMetric, PairedSlice, PairsAudit
from transforms.core.drift.trainings import LEAST_TRAININGS
from transforms.store.run import Run

Found = tuple[str, bool, str]
"""Topic, whether it may be an alarm, and message."""

_DIGEST = 12
_NAMED_CELLS = 3
_NUMBERS = ("no", "one", "two")
_IMMATERIAL = ("limit", "sampling", "input")  # which pictures are read, not how they are explained


def model_reasons(candidate: Run, references: Sequence[Run]) -> Iterable[Found]:
    """Yields, once, that the model is another one than that of every reference.

    It may be an alarm if a reference had its model at the same path, unless the model there was approved in so many
    trainings that another one is routine.
    """
    this = candidate.manifest.provenance
    others = [run.manifest.provenance for run in reversed(references)]
    if any(other.model_digest == this.model_digest for other in others):
        return
    replaced = [other for other in others if other.model == this.model]
    latest = (replaced or others)[0]
    digests = f"digest {this.model_digest[:_DIGEST]}, in the reference {latest.model_digest[:_DIGEST]}"
    if (more := len({other.model_digest for other in others}) - 1) > 0:
        digests += f" and {more} other{'s' * (more > 1)}"
    if len({other.model_digest for other in replaced}) >= LEAST_TRAININGS:
        yield "model", False, f"another training of the model at {this.model}, as those of the references: {digests}"
    elif replaced:
        yield "model", True, f"ANOTHER MODEL behind the same path {this.model}: {digests}"
    else:
        yield "model", False, f"another model: {this.model}, in the reference {latest.model}; {digests}"


def knows_trainings(pairs: PairsAudit) -> bool:
    """Returns whether a change can be told from what another training of the model would change."""
    return pairs.same_model or pairs.trainings >= LEAST_TRAININGS


def pair_reasons(candidate: Run, references: Sequence[Run], pairs: PairsAudit) -> Iterable[Found]:
    """Yields what the pictures that come again say, and what cannot be told without more trainings."""
    if not knows_trainings(pairs):
        yield "model", False, _cannot_tell(pairs)
    if pairs.moved is None:
        if pairs.case == BOTH:
            yield "model", False, f"another model on other pictures ({_again(pairs)}): a change may come from either"
        return
    if pairs.same_model:
        yield from _repetition(candidate, references, pairs)
    else:
        yield "model", False, _retraining(pairs)
    for topic, slices in _findings(pairs):
        first, *more = slices
        moved = [metric for metric in first.metrics if metric.drift and metric.topic == topic]
        also = f" (also {', '.join(map(_name, more))})" if more else ""
        yield topic, True, f"{_name(first)}{also}: {_evidence(first, moved, topic)}"


def changed_slices(pairs: PairsAudit) -> str:
    """Returns what the headline says of pictures that come again; nothing if none of them changed."""
    found = [slices for _, slices in _findings(pairs)]
    if not found:
        return ""
    return f"the same pictures are explained differently, most clearly in {_name(found[0][0])}"


def _findings(pairs: PairsAudit) -> list[tuple[str, list[PairedSlice]]]:
    """Returns topics with the slices that changed in the same place, the most certain first: one change is told once.

    A picture is in the slices of all, of its label and of its prediction.
    """
    found: dict[tuple[str, object], list[PairedSlice]] = {}
    for one in sorted(pairs.slices, key=_certainty):
        places = [(tail.row, tail.col) for tail in one.tails] + [(cell.row, cell.col) for cell in one.cells]
        for topic in dict.fromkeys(metric.topic for metric in one.metrics if metric.drift):
            place = places[0] if places and topic == ATTENTION else (one.kind, one.value)
            found.setdefault((topic, place), []).append(one)
    return [(topic, slices) for (topic, _), slices in found.items()]


def _certainty(one: PairedSlice) -> tuple[float, float]:
    """Returns by what to sort slices: the least p-value, then the largest share of pictures that moved far."""
    p_values = [metric.p_value for metric in one.metrics if metric.drift]
    share = max((tail.pictures / max(1, one.pictures) for tail in one.tails), default=0.0)
    return min(p_values, default=1.0), -share


def _name(one: PairedSlice) -> str:
    return slice_name(one.kind, one.value, one.name)


def _cannot_tell(pairs: PairsAudit) -> str:
    number = _NUMBERS[pairs.trainings]
    return (
        f"cannot tell whether the model looks elsewhere than another training of it would: {number} training"
        f"{'s' * (pairs.trainings != 1)} among the references, so how much trainings differ is unknown; approve three"
    )


def _again(pairs: PairsAudit) -> str:
    if pairs.share <= OTHER_SHARE and not pairs.pictures:
        return "none comes again"
    return f"{pairs.pictures:,} of {pairs.images:,} come again"


def _repetition(candidate: Run, references: Sequence[Run], pairs: PairsAudit) -> Iterable[Found]:
    """Yields whether the same model gives the same maps of the same pictures."""
    if not pairs.moved_pictures:
        yield "pictures", False, f"the same model gives the same maps of the {pairs.paired} pictures compared"
        return
    cause = "the options changed" if _other_options(candidate, references) else "the library or the machine changed"
    if pairs.matched_by == "id":
        cause += ", or other pictures have the same ids"
    yield (
        "pictures",
        False,
        f"the same model gives other maps of the same pictures: of {pairs.paired} compared, {pairs.moved_pictures} "
        f"differ by more than rounding, all by {pairs.moved:.1%} of their attention on average: {cause}",
    )


def _other_options(candidate: Run, references: Sequence[Run]) -> bool:
    this = candidate.manifest.provenance
    for other in (run.manifest.provenance for run in references):
        if other.model_digest == this.model_digest:
            names = {*this.config, *other.config}.difference(_IMMATERIAL)
            if any(stored_option(this.config, name) != stored_option(other.config, name) for name in names):
                return True
    return False


def _retraining(pairs: PairsAudit) -> str:
    most = f"no place by more than {pairs.most_moved * 100:.1f} points"
    usual = ""
    if pairs.usual:
        usual = f" (trainings among the references: {pairs.usual[0]:.0%} to {pairs.usual[1]:.0%})"
    changed = f"; {pairs.changed_predictions:,} are explained for another class" * bool(pairs.changed_predictions)
    return (
        f"another training of the model: the maps of the same {pairs.paired:,} pictures differ by {pairs.moved:.0%} of "
        f"their attention on average{usual}, {most} in the mean{changed}"
    )


def _evidence(one: PairedSlice, moved: Sequence[PairedMetric], topic: str) -> str:
    head = f"the same {one.pictures:,} pictures are explained differently"
    parts = []
    for tail in one.tails[:_NAMED_CELLS] if topic == ATTENTION else ():
        way = "for" if tail.speaks_for else "against"
        parts.append(
            f"in {tail.pictures:,} of them row {tail.row + 1} column {tail.col + 1} speaks {way} the class far more "
            f"than with other trainings of the model ({tail.usual:.0f} pictures at most)"
        )
    if topic == ATTENTION and one.cells:
        for cell in one.cells[:_NAMED_CELLS]:
            place = f"row {cell.row + 1} column {cell.col + 1}"
            sign = "+" if cell.signed else ""
            what = "for the class " * cell.signed
            parts.append(f"{place} ({what}{cell.reference:{sign}.2%} → {cell.candidate:{sign}.2%})")
    for metric in moved:
        if metric.name == TAILS:
            continue
        floor = "" if metric.floor is None else f", other trainings {metric.floor:.3g}"
        parts.append(f"{metric.name} {metric.effect:.3g} (allowed {metric.threshold:.3g}{floor})")
    return f"{head}; " + "; ".join(parts)
