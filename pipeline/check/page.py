"""A report → a page for a terminal: what was found, then what is likely wrong and which option mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pipeline.check.report import Report
from pipeline.cost import Cost
from transforms.text import fit, printable

_WIDTH = 100
_MOST_FAILURES = 3
_MOST_EXTENSIONS = 5


def page(report: Report) -> str:
    """Returns the report as text of about 25 lines."""
    lines = [
        *_labeled("input", _input(report)),
        *_labeled("model", report.model),
        *_labeled("labels", _labels(report)),
        *_labeled("fields", _fields(report)),
        *_labeled("accuracy", _accuracy(report)),
        *_labeled("failures", _failures(report)),
        *_labeled("speed", _speed(report)),
        *_labeled("run", [_run(report)]),
        *_labeled("sample", report.sample),
        *_labeled("interval", _intervals(report)),
        "",
    ]
    for each in report.suspicions:
        lines += [
            f"! {printable(each.problem)}",
            f"    {fit(each.evidence, 2 * _WIDTH, _WIDTH)}",
            f"    → {each.option}",
        ]
    return "\n".join([*lines, *([] if report.suspicions else ["nothing suspicious was found"])])


def _labeled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{label if not number else '':9} {printable(line)}"


def _input(report: Report) -> Iterator[str]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.shards.items())
    images = f"{report.images:,} images" if report.exact else f"about {_rounded(report.images)} images (estimated)"
    yield f"{_count(sum(report.shards.values()), 'shard')} ({kinds}), {images}"
    if report.passed_over:
        yield f"passed over: {_largest(report.passed_over)}"


def _labels(report: Report) -> Iterator[str]:
    labels = report.labels
    if not labels.looked_at:
        return
    parts = [f"{labels.usable:,} of {labels.looked_at:,} looked at name a class"]
    if labels.unusable:
        parts.append(f"{labels.unusable:,} name none")
    if labels.missing:
        parts.append(f"{labels.missing:,} have none")
    yield "; ".join(parts)


def _fields(report: Report) -> Iterator[str]:
    if report.fields:
        yield ", ".join(f"{name} in {count:,} of {report.labels.looked_at:,}" for name, count in report.fields.items())


def _accuracy(report: Report) -> Iterator[str]:
    look = report.look
    if look.reason:
        yield f"not known: {look.reason}"
        return
    top = f"most predicted: {fit(look.top_class, 40)}, {look.top_share:.0%}"
    if look.accuracy is None:
        yield f"not known without labels; {top} of {look.pictures:,} pictures"
    else:
        yield f"{look.accuracy:.0%} of {_count(look.labeled, 'labeled picture')} from all over the input; {top}"


def _failures(report: Report) -> Iterator[str]:
    if not report.failures:
        yield f"none of {report.looked_at:,} looked at, {report.predicted:,} of them decoded"
    for each in report.failures[:_MOST_FAILURES]:
        yield f"{each.images:,} of {each.of:,}: {each.stage}, {each.error}: {fit(each.message, _WIDTH, _WIDTH // 2)}"
    if len(report.failures) > _MOST_FAILURES:
        yield f"and {_count(len(report.failures) - _MOST_FAILURES, 'other reason')}"


def _speed(report: Report) -> Iterator[str]:
    cost = report.cost
    if cost and cost.steps_a_second:
        yield (
            f"{cost.steps_a_second:,.4g} gradient steps a second on this machine, {cost.steps_an_image:,.4g} an image "
            f"(measured with {_count(cost.measured, 'image')})"
        )


def _run(report: Report) -> str:
    cost = report.cost
    if cost is None:
        return "impossible: none of the images looked at can be attributed"
    sample = f"a sample of {cost.images:,} images: " if report.limit else ""
    by = f"by {cost.known_from}" if cost.known_from else "by this machine's speed"
    return f"{sample}about {_time(cost.hours)} of one worker and {_size(cost)} ({by})"


def _intervals(report: Report) -> Iterator[str]:
    """Yields what it costs to know the mean of a cell so well as was asked."""
    for number, cost in enumerate(report.interval):
        if not number:
            yield f"± {cost.half_width:g} (95 %) for the mean share of the largest cell, {cost.spread.known_from}"
        gradients = "" if cost.gradients is None else f"{_rounded(cost.gradients)} gradients, "
        spent = f"{gradients}about {_time(cost.hours)} of one worker"
        if cost.enough:
            yield f"of {cost.of}: {cost.images:,} images, {spent}"
        else:
            yield f"of {cost.of}: takes {cost.each:,} of each, more than there are; all {cost.images:,} take {spent}"


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.3g} hours" if hours < 1000 else f"{_rounded(hours)} hours"
    return f"{hours * 60:.2g} minutes" if hours * 60 >= 1 else f"{hours * 3600:.2g} seconds"


def _size(cost: Cost) -> str:
    if cost.gigabytes >= 1:
        return f"{cost.gigabytes:,.3g} GB" if cost.gigabytes < 1000 else f"{_rounded(cost.gigabytes)} GB"
    return f"{max(1, round(cost.gigabytes * 1e3)):,} MB"


def _largest(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{count:,} {name or 'without an extension'}" for name, count in ordered[:_MOST_EXTENSIONS])
    rest = sum(count for _, count in ordered[_MOST_EXTENSIONS:])
    return f"{shown}, {rest:,} others" if rest else shown


def _rounded(value: float) -> str:
    """Returns a number to three digits, written out."""
    return f"{float(f'{value:.3g}'):,.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
