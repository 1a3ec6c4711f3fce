"""Finished runs → audit.json, whose shape `audit.schema.json` fixes: what was found in one, and a verdict of several.

Reads statistics and rows, no maps and no pictures; needs neither TensorFlow nor Beam.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pipeline.audit.findings import search
from pipeline.audit.record import VERSION, Audit, Unjudged, describe, history, now
from pipeline.audit.references import (
    UnusableReferenceError,
    check_channels,
    check_comparable,
    choose_references,
    reading,
)
from pipeline.audit.tails import TailJudge, Tails
from pipeline.audit.thresholds import to_json
from pipeline.audit.verdict import Reason, Verdict, reach_verdict, refuse_empty
from transforms.core.cpus import usable_cpus
from transforms.core.drift.class_mix import MixAudit, judge_mix
from transforms.core.drift.judge import Pair, judge
from transforms.core.drift.pairs import PairsAudit, judge_pairs
from transforms.core.drift.slice_audit import DRIFT, SliceAudit
from transforms.core.drift.thresholds import Thresholds
from transforms.core.errors import UsageError
from transforms.core.statistics.slices import Slice, is_overflow
from transforms.store.given_labels import LabelFile
from transforms.store.matched import match, trainings
from transforms.store.run import Run
from transforms.store.sample import Sample

_Read = TypeVar("_Read")

_THREADS = 4


def look(run: Run) -> Unjudged:
    """Returns what is found in a finished run without a reference.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        OSError: a part is missing or damaged.
        ValueError: a part lacks a column.
    """
    findings, searched = search(run)
    return Unjudged(VERSION, now(), describe(run), findings, searched)


def compare_with(
    candidate: Run, uris: Sequence[str], most: int, thresholds: Thresholds, labels: LabelFile | None = None
) -> Audit:
    """Returns the audit of a finished run against the runs and folders of runs at `uris`.

    A run in a folder that turns out to be damaged is left out like those that `references.choose_references` leaves.

    Args:
        candidate: the run that is judged.
        uris: run directories, and folders of them.
        most: how many of the latest to take; 0 takes all.
        thresholds: what counts as a change.
        labels: of the images of the references, where they came later.

    Raises:
        FileNotFoundError: the candidate is unfinished, or there is no finished run to compare with.
        ValueError: the runs cannot be compared, one lacks a column, or none of their slices has enough rows.
    """
    references = choose_references(candidate.manifest.provenance, uris, most, exclude=candidate.uri)
    references = references.labelled(labels) if labels else references
    while True:
        try:
            return compare(candidate, references.runs, thresholds, list(map(str, references.left_out)))
        except UnusableReferenceError as error:
            references = references.without(error)


def compare(candidate: Run, references: Sequence[Run], thresholds: Thresholds, notes: Sequence[str] = ()) -> Audit:
    """Returns the audit of a finished run against others, which are taken together.

    Args:
        candidate: the run that is judged; if it has no rows, that is the verdict.
        references: the runs it is compared with, the oldest first; see `references.choose_references`.
        thresholds: what counts as a change.
        notes: what else the verdict says of the references, such as which were left out.

    Raises:
        FileNotFoundError: one of the runs is unfinished, or there is none.
        UnusableReferenceError: a reference cannot be read or compared.
        ValueError: the runs cannot be compared, one lacks a column, or none of their slices has enough rows.
    """
    check_comparable(candidate.manifest.provenance, references)
    if not candidate.manifest.rows:
        unjudged = MixAudit(drift=False, p_value=1.0, distance=0.0, self_distance=0.0, classes=[])
        return _audit(candidate, references, thresholds, refuse_empty(candidate), unjudged, [], notes)
    check_channels(candidate, references)
    stored = {*_stored_slices(candidate), *itertools.chain(*_of_each(references, lambda _, run: _stored_slices(run)))}
    this = candidate.sample(stored, thresholds.sample_rows)
    others = _of_each(references, lambda _, run: run.sample(stored, thresholds.sample_rows))
    numbers, of_trainings = trainings(candidate, references)
    tail_judge = TailJudge(thresholds)
    sides = tail_judge.watch(_pairs(this, others, references, numbers, thresholds))
    slices = judge(sides, thresholds, of_trainings)
    if not any(one.metrics for one in slices):
        raise UsageError(_too_few(candidate, references, thresholds))
    tails = tail_judge.judge(this, others, numbers)
    slices = [_with_tails(one, tails) for one in slices]
    placed = [each.placed for each in (this, *others)]
    pairs = judge_pairs(*match(candidate, references, thresholds.sample_rows, placed), thresholds)
    mix = judge_mix([other.classes for other in others], this.classes, thresholds)
    slices.sort(key=lambda one: (one.state != DRIFT, -one.candidate_rows - one.reference_rows, one.kind, one.value))
    verdict = reach_verdict(candidate, references, slices, mix, pairs, thresholds)
    return _audit(candidate, references, thresholds, verdict, mix, slices, notes, tails.evidence, pairs)


def _with_tails(one: SliceAudit, tails: Tails) -> SliceAudit:
    """Returns the judgement of a slice with what its tail shows, which may be a drift by itself."""
    key = Slice(one.kind, one.value, one.name)
    found = tails.found.get(key, [])
    return dataclasses.replace(one, state=DRIFT if found else one.state, tails=found, power=tails.power.get(key))


def _audit(
    candidate: Run,
    references: Sequence[Run],
    thresholds: Thresholds,
    verdict: Verdict,
    mix: MixAudit,
    slices: list[SliceAudit],
    notes: Sequence[str],
    tails: dict[str, Any] | None = None,
    pairs: PairsAudit | None = None,
) -> Audit:
    labelled = [str(run.labels) for run in (candidate, *references) if run.labels]
    reasons = [*verdict.reasons, *(Reason("rows", False, note) for note in (*notes, *labelled))]
    findings, searched = search(candidate)
    return Audit(
        version=VERSION,
        created=now(),
        verdict=dataclasses.replace(verdict, reasons=reasons),
        candidate=describe(candidate),
        references=[describe(run) for run in references],
        thresholds=to_json(thresholds),
        mix=mix,
        tails=tails,
        pairs=pairs,
        slices=slices,
        history=history([*references, candidate], slices),
        findings=findings,
        searched=searched,
    )


def _of_each(references: Sequence[Run], read: Callable[[int, Run], _Read]) -> list[_Read]:
    """Returns what is read of each reference, given its number and itself; of some at a time, as there are processors.

    Raises:
        UnusableReferenceError: one is damaged.
    """

    def read_one(number: int, run: Run) -> _Read:
        with reading(run):
            return read(number, run)

    with ThreadPoolExecutor(min(_THREADS, usable_cpus()), "read") as threads:
        return list(threads.map(read_one, range(len(references)), references))


def _stored_slices(run: Run) -> list[Slice]:
    """Returns the slices in a run's statistics; what they count together is no slice of its own."""
    keys = (Slice(**row) for row in run.statistics(("kind", "value", "name")).to_pylist())
    return [key for key in keys if not is_overflow(key)]


def _too_few(candidate: Run, references: Sequence[Run], thresholds: Thresholds) -> str:
    here, there = candidate.manifest.rows, sum(run.manifest.rows for run in references)
    takes = f"a slice needs {thresholds.min_rows} (min_rows) in the run and in the reference"
    rows = f"the run has {here:,} row{'s' * (here != 1)}, the reference {there:,}"
    labelled = [run.labels for run in (candidate, *references) if run.labels]
    of_no_class = [given.unusable for given in labelled if given.counts.unusable]
    return "; ".join([f"{candidate.uri}: too few rows to compare: {takes}", rows, *of_no_class])


def _pairs(
    candidate: Sample,
    references: Sequence[Sample],
    runs: Sequence[Run],
    numbers: Sequence[int],
    thresholds: Thresholds,
) -> Iterator[Pair]:
    """Yields the slices of both sides, those with most rows on the smaller side, one at a time.

    References of the same one of `numbers` count as one night.
    """
    totals = {key: sum(other.images[key] for other in references) for key in candidate.images}
    keys = sorted(totals, key=lambda key: (-min(totals[key], candidate.images[key]), key))[: thresholds.max_slices]
    here = candidate.read(keys)
    first, *more = _of_each(runs, lambda number, _: references[number].read(keys, numbers[number]))
    for key in keys:
        reference = first.of(key).join(*(rows.of(key) for rows in more))
        yield Pair(key, reference, here.of(key), totals[key], candidate.images[key])
