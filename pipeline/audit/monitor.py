"""A folder of nights → what adds up over them: `ig-audit monitor FOLDER`.

Each night's evidence is in its own audit.json, which `run --reference` and `compare --json` write. Nothing else is
kept: the state is recomputed from the nights, the oldest first.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.evidence import read_evidence
from pipeline.audit.places import place_text
from pipeline.exit_code import ExitCode
from pipeline.names import member_name, slice_name
from transforms import storage
from transforms.core.drift import monitor
from transforms.core.drift.evidence import Evidence, Tally
from transforms.core.drift.onset import Onset
from transforms.core.errors import UsageError
from transforms.core.statistics.slices import Slice
from transforms.store.run import Run
from transforms.text import printable

PASSED_OVER, REFERENCE = "passed over", "reference"
CALIBRATING, WATCHING, ALARM = "calibrating", "watching", "alarm"

_ANEW = "starts anew: other references"
_LABEL = "label"
_NAMED = 3
_PRINTED = 31
_SAME = 3
_WORTH_NAMING = 0.01
"""Of what would raise an alarm alone: the least sum that is named in a night without one."""


@dataclass(frozen=True)
class Finding:
    """A statistic whose evidence stands out; the fields are those of the JSON.

    Attributes:
        kind: of the slice, as are `value` and `name`.
        place: as in audit.json.
        sign: 1 if the pictures lie above what is usual, -1 below.
        level: how far, in robust units of the slice's references.
        nights: since the most likely first night of the change.
        pictures: beyond the level in these nights.
        rows: all pictures of the slice in these nights.
        expected: how many of them would have been beyond the level without a change.
        sum: the Shiryaev-Roberts sum.
        message: the same in words.
    """

    kind: str
    value: str
    name: str
    place: str
    sign: int
    level: float
    nights: int
    pictures: int
    rows: int
    expected: float
    sum: float
    message: str


@dataclass(frozen=True)
class Night:
    """One night; the fields are those of the JSON.

    Attributes:
        uri: of the run.
        created: when it was finished; empty if that is unknown.
        state: "passed over", "reference", "calibrating", "watching" or "alarm".
        note: why it was passed over, or what else is worth knowing.
        average: the average of all sums; None of a night that was not counted.
        findings: the largest sums, of which an alarm has at least one.
    """

    uri: str
    created: str
    state: str
    note: str = ""
    average: float | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Monitoring:
    """What a folder of nights shows; the fields are those of the JSON."""

    folder: str
    false_alarms_per_year: float
    threshold: float
    nights: tuple[Night, ...]

    @property
    def exit_code(self) -> ExitCode:
        """DRIFT if the latest night that was counted raised an alarm."""
        counted = [night.state for night in self.nights if night.average is not None]
        return ExitCode.DRIFT if counted[-1:] == [ALARM] else ExitCode.FINE

    def to_json(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        return dataclasses.asdict(self) | {"exit_code": int(self.exit_code)}

    def __str__(self) -> str:
        """Returns the table for a terminal."""
        shown = self.nights[-_PRINTED:]
        names = [night.uri.rstrip("/").rpartition("/")[2] for night in shown]
        width = max(map(len, ["night", *names]))
        lines = [f"{'night':{width}}  {'state':11}  average sum, alarm at {self.threshold:,.4g}"]
        if before := self.nights[:-_PRINTED]:
            alarms = sum(night.state == ALARM for night in before)
            lines.append(f"… {len(before)} earlier, {alarms} of them with an alarm")
        for name, night in zip(names, shown, strict=True):
            average = "" if night.average is None else f"{night.average:,.2f}"
            lines.append(f"{name:{width}}  {night.state:11}  {average:>11}  {night.note}".rstrip())
            mark = "!" if night.state == ALARM else "-"
            lines += [f"  {mark} {finding.message}" for finding in night.findings]
        if self.never_the_same:
            lines.append(
                "each night has other references than the one before: compare with a fixed set of approved runs"
            )
        return "\n".join(printable(line) for line in lines)

    @property
    def never_the_same(self) -> bool:
        """Whether nothing can add up, since the latest nights all had other references than the nights before them."""
        latest = [night for night in self.nights if night.average is not None][-_SAME:]
        return len(latest) == _SAME and all(night.note.startswith(_ANEW) for night in latest)


def watch(folder: str, false_alarms_per_year: float = 1.0) -> Monitoring:
    """Returns what the finished runs in a folder show together, the oldest first.

    Args:
        folder: URI of a folder of runs.
        false_alarms_per_year: how many there may be on average if nothing changes and there is a run each night.

    Raises:
        FileNotFoundError: there is no run in the folder.
        OSError: the storage fails.
    """
    runs = [Run.open(storage.join(folder, name)) for name in storage.folders(folder)]
    broken, finished = _sorted_out(runs)
    if not finished and not broken:
        raise FileNotFoundError(f"{folder}: there is no run in this folder")
    threshold = monitor.threshold(false_alarms_per_year)
    nights = tuple([*broken, *_nights(finished, threshold)])
    return Monitoring(folder, false_alarms_per_year, threshold, nights)


def write_json(result: Monitoring, uri: str) -> None:
    """Writes the result to a file."""
    content = json.dumps(result.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
    storage.write_bytes(uri, content.encode("utf-8", "backslashreplace"))


def _sorted_out(runs: Iterable[Run]) -> tuple[list[Night], list[Run]]:
    """Returns runs that cannot be read, and those that can, the oldest first."""
    broken, finished = [], []
    for run in runs:
        try:
            if run.is_finished:
                finished.append(run)
            elif run.has_begun:
                broken.append(Night(run.uri, "", PASSED_OVER, "unfinished"))
        except UsageError as error:
            broken.append(Night(run.uri, "", PASSED_OVER, str(error)))
    return broken, sorted(finished, key=lambda run: (run.manifest.created, run.uri))


@dataclass(frozen=True)
class _Stretch:
    """Nights with the same references, up to one of them."""

    approved: frozenset[tuple[str, str]]
    evidence: Evidence
    state: monitor.State
    onset: Onset

    @classmethod
    def begin(cls, approved: frozenset[tuple[str, str]], evidence: Evidence) -> _Stretch:
        """Returns the stretch before its first night, with the slices that the references have."""
        known = evidence.of(_known(evidence))
        state = monitor.start(known.references, len(approved))
        return cls(approved, known, state, Onset.none(state.sums.shape))

    def with_slices_of(self, evidence: Evidence) -> _Stretch:
        """Returns the stretch with the slices of a further night behind those that it has."""
        have = set(self.evidence.slices)
        new = [key for key in _known(evidence) if key not in have]
        if not new:
            return self
        return dataclasses.replace(
            self,
            evidence=evidence.of((*self.evidence.slices, *new)),
            state=monitor.widen(self.state, evidence.of(new).references),
            onset=self.onset.widened(len(new)),
        )

    def advance(self, night: Tally) -> _Stretch:
        """Returns the stretch after a night."""
        onset = self.onset
        if not self.state.calibrating:
            predicted = monitor.predict(self.state, night.rows)
            onset = onset.advance(night, predicted.mean, monitor.e_values(predicted, night))
        return dataclasses.replace(self, state=monitor.advance(self.state, night), onset=onset)

    def restart(self) -> _Stretch:
        """Returns the stretch after a reset, back at its references."""
        state = monitor.restart(self.state, np.array(True))
        return dataclasses.replace(self, state=state, onset=Onset.none(state.sums.shape))


def _nights(runs: Sequence[Run], threshold: float) -> Iterator[Night]:
    """Yields each finished run's night."""
    read = [_read(run) for run in runs]
    approved = {one for night in read if isinstance(night, _Compared) for one in night.references}
    stretch: _Stretch | None = None
    for run, night in zip(runs, read, strict=True):
        problem = night if isinstance(night, str) else _incomparable(night, stretch)
        if isinstance(night, str) or problem:
            is_reference = (run.name, run.manifest.created) in approved
            state = REFERENCE if is_reference else PASSED_OVER
            yield Night(run.uri, run.manifest.created, state, "" if is_reference else problem)
            continue
        note = ""
        if stretch is None or night.references != stretch.approved:
            note = _ANEW if stretch else ""
            stretch = _Stretch.begin(night.references, night.evidence)
        found, stretch = _judge(run, stretch.with_slices_of(night.evidence), night.evidence, threshold, note)
        yield found


@dataclass(frozen=True)
class _Compared:
    """What a night's audit.json says."""

    evidence: Evidence
    references: frozenset[tuple[str, str]]


def _read(run: Run) -> _Compared | str:
    """Returns what a run's audit.json says, or why that is unknown."""
    try:
        audit = run.audit
        if audit is None:
            return "not compared with references: it has no audit.json"
        return _Compared(read_evidence(audit), _references(audit))
    except UsageError as error:
        return str(error)


def _incomparable(night: _Compared, stretch: _Stretch | None) -> str:
    """Returns why a night cannot be added to a stretch; empty if it can, or begins one of its own."""
    evidence = night.evidence
    if not _known(evidence):
        return "none of its slices has rows in the references"
    if stretch is None or night.references != stretch.approved:
        return ""
    same = (evidence.statistics, evidence.levels) == (stretch.evidence.statistics, stretch.evidence.levels)
    return "" if same else "not comparable: its tails were counted in other places or at other levels"


def _known(evidence: Evidence) -> list[Slice]:
    """Returns the slices that have rows in the references."""
    rows = evidence.references.rows.tolist()
    return [key for key, count in zip(evidence.slices, rows, strict=True) if count]


def _judge(run: Run, stretch: _Stretch, evidence: Evidence, threshold: float, note: str) -> tuple[Night, _Stretch]:
    """Returns the night of a run, and the stretch after it, which an alarm resets."""
    calibrating = bool(stretch.state.calibrating)
    stretch = stretch.advance(evidence.of(stretch.evidence.slices).night)
    average = float(stretch.state.average)
    alarm = not calibrating and average >= threshold
    if calibrating:
        known = stretch.state.reference_nights + int(stretch.state.nights)
        why = f"{known} of {monitor.NIGHTS} nights, references included; fewer do not show how much nights differ"
        note = "; ".join(filter(None, [note, why]))
    state = CALIBRATING if calibrating else ALARM if alarm else WATCHING
    findings = tuple(_findings(stretch, 0.0 if alarm else _WORTH_NAMING * threshold * stretch.state.sums.size))
    night = Night(run.uri, run.manifest.created, state, note, average, findings)
    return night, stretch.restart() if alarm else stretch


def _findings(stretch: _Stretch, least: float) -> Iterator[Finding]:
    """Yields the largest sums, one of a place and class, whether labeled so or predicted."""
    sums = stretch.state.sums
    named: set[tuple[str, str, int]] = set()
    for flat in np.argsort(-sums, axis=None, kind="stable")[: 100 * _NAMED].tolist():
        number, position, level = map(int, np.unravel_index(flat, sums.shape))
        if sums[number, position, level] <= least or len(named) == _NAMED:
            return
        key = stretch.evidence.slices[number]
        one = key.value, key.name, position
        if one not in named:
            named.add(one)
            yield _finding(stretch, number, position, level)


def _finding(stretch: _Stretch, number: int, position: int, level: int) -> Finding:
    at = number, position, level
    key, onset = stretch.evidence.slices[number], stretch.onset
    side = stretch.evidence.statistics[position]
    pictures, rows, nights = int(onset.pictures[at]), int(onset.rows[at]), int(onset.nights[at])
    expected = float(onset.expected[at])
    name = slice_name(key.kind, key.value, key.name)
    who = member_name(key.kind, key.value, key.name) if key.kind == _LABEL else f"{name[:1].lower()}{name[1:]}"
    where = place_text(side.place, side.sign, [other.place for other in stretch.evidence.statistics])
    seen = f"{pictures:,} of {rows:,} pictures in {nights} night{'' if nights == 1 else 's'}"
    return Finding(
        **dataclasses.asdict(key),
        place=side.place,
        sign=side.sign,
        level=stretch.evidence.levels[level],
        nights=nights,
        pictures=pictures,
        rows=rows,
        expected=expected,
        sum=float(stretch.state.sums[at]),
        message=f"{who}, {where}: {seen}, {expected:.2g} expected",
    )


def _references(audit: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Returns what tells an audit's references from others, wherever they have been moved.

    Raises:
        ValueError: that is damaged.
    """
    found = audit.get("references") or []
    try:
        return frozenset((one["uri"].rstrip("/").rpartition("/")[2], one["created"]) for one in found)
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"the references in its audit.json are damaged ({error!r})") from error
