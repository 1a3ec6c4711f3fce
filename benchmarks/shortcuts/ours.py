"""How `ig-audit compare` judges a night: the only module of the bench that reads an audit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.shortcuts.networks import Network
from benchmarks.shortcuts.nights import write_night
from benchmarks.shortcuts.trials import Outcome
from pipeline.audit.compare import compare
from pipeline.audit.record import Audit
from pipeline.audit.thresholds import load_thresholds
from pipeline.exit_code import ExitCode
from transforms.core.drift.slice_audit import DRIFT

_CLASSES = ("label", "predicted")
_OVERLAP = 4


@dataclass(frozen=True)
class Named:
    """Something that an audit names as changed.

    Attributes:
        kind: of the slice.
        value: of the slice.
        cells: (row, column) of the place; empty if the slice is named without one.
    """

    kind: str
    value: str
    cells: frozenset[tuple[int, int]] = frozenset()

    def lies_in(self, cells: Collection[tuple[int, int]]) -> bool:
        """Returns whether a quarter of the place, or more, lies in `cells`: a frame does not name a corner."""
        return bool(self.cells) and _OVERLAP * len(self.cells & set(cells)) >= len(self.cells)


def named(audit: Audit) -> set[Named]:
    """Returns what an audit names as changed: slices, and places in them."""
    found = set()
    for one in audit.slices:
        if one.state == DRIFT:
            places = [{(cell.row, cell.col)} for cell in one.grid.changed] if one.grid else []
            places += [{(row, col) for row, col in tail.cells} for tail in one.tails]
            found |= {Named(one.kind, one.value, frozenset(cells)) for cells in (set(), *places)}
    return found


def outcome_of(audit: Audit, network: Network, seconds: float) -> Outcome:
    """Returns whether an audit raises an alarm, and names the class and place of a network's plant."""
    alarm = audit.verdict.exit_code == ExitCode.DRIFT
    found = [one for one in named(audit) if one.kind in _CLASSES]
    mine = [one for one in found if network.plant and one.value == str(network.target)]
    others = {one.value for one in found if one.kind == "label"} - {one.value for one in mine}
    return Outcome(
        alarm=alarm,
        right_class=alarm and bool(mine),
        right_place=alarm and any(one.lies_in(network.cells) for one in mine),
        wrong_classes=len(others) if alarm else 0,
        seconds=seconds,
    )


@dataclass
class Ours:
    """Judges nights by `compare`; references are written once for all candidates of a night.

    Attributes:
        folder: where runs are written, and removed.
    """

    folder: Path
    _written: tuple[object, ...] = ()

    def judge(
        self, candidate: pa.Table, references: Sequence[pa.Table], network: Network, made_by: str = ""
    ) -> Outcome:
        """Returns what is said about a night.

        Args:
            candidate: the rows of the night.
            references: the rows of nights before it.
            network: that references are of.
            made_by: name of the candidate's network, if it is another one.
        """
        if self._written != tuple(map(id, references)):
            shutil.rmtree(self.folder, ignore_errors=True)
            self._runs = [
                write_night(self.folder / f"reference-{day}", rows, network.name, day)
                for day, rows in enumerate(references)
            ]
            self._held, self._written = list(references), tuple(map(id, references))  # held, or ids could come again
        uri = self.folder / "candidate"
        shutil.rmtree(uri, ignore_errors=True)
        run = write_night(uri, candidate, made_by or network.name, len(references))
        start = time.perf_counter()
        audit = compare(run, self._runs, load_thresholds())
        return outcome_of(audit, network, time.perf_counter() - start)
