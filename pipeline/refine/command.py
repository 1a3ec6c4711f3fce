"""Refines maps: chooses pictures of a finished run, attributes them to tolerance, and adds them to `refined/`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.exit_code import ExitCode
from pipeline.refine import choose
from pipeline.refine.attribute import explain
from pipeline.refine.choose import Task
from pipeline.refine.options import map_options, provenance_of, read_options, refining, spec_of
from pipeline.refine.record import Recorder
from pipeline.refine.request import Request
from pipeline.report import write_report
from transforms import process, worker
from transforms.core.vocabulary import MAX_ERROR_RATE
from transforms.store import lock
from transforms.store.refined import RefinedPart
from transforms.store.run import Run
from transforms.text import printable
from transforms.worker import AttributorSpec

if TYPE_CHECKING:
    from transforms.store.parts import PartSummary

_NAMED = 3


@dataclass(frozen=True)
class Result:
    """What a call has done.

    Attributes:
        added: the parts that it added.
        present: number of the pictures that had such maps before.
    """

    added: tuple[RefinedPart, ...]
    present: int

    @property
    def failed(self) -> int:
        """Number of the pictures that could not be refined."""
        return sum(len(each.failed) for each in self.added)

    @property
    def made(self) -> int:
        """Number of the pictures that were refined."""
        return sum(len(each.images) for each in self.added)


def refine(run: Run, request: Request) -> ExitCode:
    """Refines maps of a finished run, while no other process writes there; says what was done.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        InUseError: another process writes into the run directory.
        UsageError: there is no such picture or slice, or the model is not the run's.
        OSError: the storage fails.
    """
    spec = spec_of(run, request.model)
    with lock.hold(run.uri) as held:
        run = Run.open(run.uri)  # as it is now that nobody else changes it
        result = refine_held(run, request, spec, held)
        if request.report:
            print(write_report(Run.open(run.uri)))
    asked = result.made + result.failed
    return ExitCode.TOO_MANY_ERRORS if result.failed > MAX_ERROR_RATE * asked else ExitCode.FINE


def refine_held(run: Run, request: Request, spec: AttributorSpec, held: lock.Lock) -> Result:
    """Refines maps of a finished run whose lock is held, and says what was done; see `refine`.

    Args:
        run: the finished run.
        request: which pictures, and how.
        spec: what made the run's maps.
        held: the run's lock.
    """
    options = map_options(run, request.tolerance, request.max_steps, request.channels, request.dtype)
    spec = refining(spec, options)
    recorder = Recorder(run, spec, options, provenance_of(run, spec), held.check)
    tasks = choose.read_tasks(run, _chosen(run, request))
    missing, present = _without_present(recorder, tasks)
    added = _add(recorder, missing) if missing else []
    result = Result(tuple(added), present)
    if added:
        recorder.finish(added)
    print(_summary(recorder, result))
    for line in _failures(recorder, [each.part for each in added]):
        print(line, file=sys.stderr)
    return result


def _chosen(run: Run, request: Request) -> Sequence[str]:
    if request.images:
        return tuple(dict.fromkeys(request.images))
    if request.slice:
        return choose.members(run, request.slice, request.limit)
    return choose.shown(run)


def _without_present(recorder: Recorder, tasks: Sequence[Task]) -> tuple[list[Task], int]:
    """Returns the tasks without the pictures that have such maps already, and how many these are."""
    left, count = [], 0
    for task in tasks:
        present = recorder.present(task)
        count += len(present)
        pictures = tuple(picture for picture in task.pictures if picture.image_id not in present)
        left += [dataclasses.replace(task, pictures=pictures)] if pictures else []
    return left, count


def _add(recorder: Recorder, tasks: Sequence[Task]) -> list[RefinedPart]:
    """Returns the parts of tasks: those that an interrupted call has left, and the others, which are made."""
    found = {task.part.chunk: recorder.finished(task) for task in tasks}
    added = [part for part in found.values() if part]
    missing = [task for task in tasks if not found[task.part.chunk]]
    if not missing:
        return added
    process.import_tensorflow()
    attributor = worker.attributor(recorder.spec).attributor
    outcomes = explain(recorder.run, missing, read_options(recorder.run), attributor)
    total = sum(len(task.pictures) for task in missing)
    with tqdm(total=total, unit="image", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        for task in missing:
            added.append(recorder.write(task, outcomes, attributor.classifier, bar.update))
    return added


def _summary(recorder: Recorder, result: Result) -> str:
    """Returns a line on what was done."""
    pictures = "1 picture" if result.made == 1 else f"{result.made:,} pictures"
    parts = [f"{pictures} refined to a tolerance of {recorder.options.tolerance:g}"]
    parts += [f"{result.present:,} had such maps already"] if result.present else []
    parts += [f"{result.failed:,} failed; see errors"] if result.failed else []
    return f"{recorder.uri}: {', '.join(parts)}"


def _failures(recorder: Recorder, parts: Sequence[PartSummary]) -> list[str]:
    """Returns a line for each of the first pictures that failed."""
    columns = ("image_id", "stage", "error", "message")
    folder = Run.open(recorder.uri)
    rows = [row for table in folder.errors(columns, parts) for row in table.to_pylist()]
    return [
        printable(f"{row['image_id']}: stage {row['stage']}, {row['error']}: {row['message']}") for row in rows[:_NAMED]
    ]
