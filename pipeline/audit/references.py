"""The runs that a run is compared with: one, several, or a folder of runs; and whether they can be compared.

A run that the user names has to be usable. In a folder of runs, those that are unfinished, damaged, or made in another
way are left out and named, so that one bad night does not end every later comparison. A run without rows is left out
wherever it comes from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import options
from pipeline.effort import is_rule_of
from transforms import storage
from transforms.core.errors import UsageError
from transforms.core.explain.settings import DEFAULT_MAX_STEPS, DEFAULT_STEPS
from transforms.store import Provenance
from transforms.store.given_labels import LabelFile, UnmatchedError, give_labels
from transforms.store.parts import DAMAGES
from transforms.store.run import Run

INCOMPARABLE = ("grid", "targets", "score", "layer", "baseline", "resize", "input_size", "value_range", "alpha_color")
"""Options that decide what a number means: runs that differ in one cannot be compared."""

_OF_ADAPTIVE, _OF_FIXED = ("tolerance", "max_steps"), ("steps",)
_UNSET = {"steps": DEFAULT_STEPS, "max_steps": DEFAULT_MAX_STEPS}


@dataclass(frozen=True)
class LeftOut:
    """A run that was asked for and is not compared with.

    Attributes:
        uri: of the run.
        reason: why, as it follows the URI in a sentence.
    """

    uri: str
    reason: str

    def __str__(self) -> str:
        """Returns the sentence."""
        return f"left out: {self.uri} {self.reason}"


@dataclass(frozen=True)
class References:
    """The runs to compare with.

    Attributes:
        runs: the oldest first.
        left_out: those of a folder that cannot be used, and runs without rows.
        named: URIs of the runs that the user named one by one.
    """

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...] = ()
    named: frozenset[str] = frozenset()

    def without(self, error: UnusableReferenceError) -> References:
        """Returns the references without one that turned out to be unusable.

        Raises:
            UnusableReferenceError: the user named it.
            UsageError: there are no others.
        """
        if error.run.uri in self.named:
            raise error
        runs = tuple(run for run in self.runs if run != error.run)
        return dataclasses.replace(self, runs=runs, left_out=(*self.left_out, error.left_out)).checked()

    def labelled(self, file: LabelFile) -> References:
        """Returns the references with labels that came later; those that the file knows no image of stay as they are.

        Raises:
            UsageError: the file knows no image of any, or a model does not decide between classes.
        """
        runs, unmatched = [], []
        for run in self.runs:
            try:
                with reading(run):
                    runs.append(give_labels(run, file))
            except (UnmatchedError, UnusableReferenceError) as error:
                runs.append(run)  # if it is damaged, the comparison will find that too
                unmatched.append(str(error))
        if len(unmatched) == len(self.runs):
            raise UsageError("\n".join(unmatched))
        return dataclasses.replace(self, runs=tuple(runs))

    def checked(self) -> References:
        """Returns the references, of which there is at least one.

        Raises:
            UsageError: all were left out.
        """
        if self.runs:
            return self
        count = len(self.left_out)
        all_left_out = "the only one was left out" if count == 1 else f"all {count:,} were left out"
        lines = [f"no run to compare with: {all_left_out}", *map(str, self.left_out)]
        raise UsageError("\n".join(lines))


class UnusableReferenceError(UsageError):
    """A reference turned out to be damaged, or not comparable, when it was read.

    Attributes:
        run: the reference.
        left_out: why it is left out if it can be.
    """

    def __init__(self, run: Run, message: str, reason: str):
        super().__init__(message)
        self.run, self.left_out = run, LeftOut(run.uri, reason)


def find_references(uris: Sequence[str], most: int = 0, exclude: str = "") -> list[Run]:
    """Returns finished runs, the oldest first.

    Args:
        uris: run directories, and folders of them; runs in a folder that are unfinished or unreadable are passed over.
        most: how many of the latest to take; 0 takes all.
        exclude: a run directory that is left out if a folder holds it.

    Raises:
        FileNotFoundError: a directory holds no finished run.
        ValueError: the manifest of a run that was named cannot be read.
    """
    found = _Found.at(uris, exclude)
    if not found.runs:
        raise FileNotFoundError(f"{', '.join(uris)}: no finished run to compare with")
    runs = _by_time(found.runs)
    return runs[-most:] if most else runs


def choose_references(candidate: Provenance, uris: Sequence[str], most: int = 0, exclude: str = "") -> References:
    """Returns the runs that a run is compared with, so far as their manifests tell.

    Args:
        candidate: what the run is made by, that is or will be compared.
        uris: run directories, and folders of them.
        most: how many of the latest to take of those that can be used; 0 takes all.
        exclude: a run directory that is left out if a folder holds it.

    Raises:
        FileNotFoundError: there is no finished run.
        UsageError: a run that was named cannot be read or compared, or all runs are left out.
    """
    found = _Found.at(uris, exclude)
    if not found.runs and not found.left_out:
        raise FileNotFoundError(f"{', '.join(uris)}: no finished run to compare with")
    check_comparable(candidate, (run for run in found.runs if run.uri in found.named))
    runs, left_out = [], list(found.left_out)
    for run in _by_time(found.runs):
        differing = _differences(candidate, run)
        if not run.manifest.rows:
            left_out.append(LeftOut(run.uri, "has no rows"))
        elif differing:
            left_out.append(LeftOut(run.uri, "was made with " + ", ".join(each.told for each in differing)))
        else:
            runs.append(run)
    return References(tuple(runs[-most:] if most else runs), tuple(left_out), found.named).checked()


@contextlib.contextmanager
def reading(run: Run) -> Iterator[None]:
    """Turns what reading a damaged reference raises into an UnusableReferenceError; not that a store fails."""
    try:
        yield
    except (storage.StorageError, UnmatchedError, UnusableReferenceError):
        raise
    except DAMAGES as error:
        text = str(error)  # which names the file already if it is about one
        named = text if text.startswith(run.uri) else f"{run.uri}: {text}"
        raise UnusableReferenceError(run, named, f"cannot be read: {text.removeprefix(f'{run.uri}/')}") from error


@dataclass(frozen=True)
class _Found:
    """What there is where the user said: each run once."""

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    named: frozenset[str]

    @classmethod
    def at(cls, uris: Sequence[str], exclude: str) -> _Found:
        runs: dict[str, Run] = {}
        left_out: dict[str, LeftOut] = {}
        named = set()
        for uri in uris:
            run = Run.open(uri)
            if run.is_finished or not storage.is_folder(uri):
                runs[uri] = run
                named.add(uri)
                continue
            finished, unusable = _in_folder(uri)
            if not finished and not unusable:
                runs[uri] = run  # whose manifest is missing, as will be said when it is read
            runs |= {each.uri: each for each in finished if _path(each.uri) != _path(exclude or uri)}
            left_out |= {each.uri: each for each in unusable if _path(each.uri) != _path(exclude or uri)}
        return cls(tuple(runs.values()), tuple(left_out.values()), frozenset(named))


def _in_folder(uri: str) -> tuple[list[Run], list[LeftOut]]:
    """Returns the finished runs in a folder, and those that are unfinished or whose manifest cannot be read."""
    finished, unusable = [], []
    for run in (Run.open(storage.join(uri, name)) for name in storage.folders(uri)):
        try:
            if run.is_finished:
                finished.append(run)
            elif run.has_begun:
                unusable.append(LeftOut(run.uri, "is unfinished"))
        except UsageError as error:
            unusable.append(LeftOut(run.uri, f"cannot be read: {str(error).removeprefix(f'{run.uri}/')}"))
    return finished, unusable


def _by_time(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.manifest.created, run.uri))


def _path(uri: str) -> tuple[str, str]:
    filesystem, path = storage.resolve(uri)
    return filesystem.type_name, path.rstrip("/")


@dataclass(frozen=True)
class _Difference:
    """Why two runs cannot be compared: of a run that is left out, and as an error."""

    told: str
    message: str


def check_comparable(candidate: Provenance, references: Iterable[Run]) -> None:
    """Refuses references whose numbers mean something else, or come of another sum over the path.

    Raises:
        ValueError: with a line for each difference.
    """
    found = [each.message for run in references for each in _differences(candidate, run)]
    if found:
        raise UsageError("\n".join(found))


def check_channels(candidate: Run, references: Iterable[Run]) -> None:
    """Refuses a reference whose model takes images of another number of channels.

    Raises:
        UnusableReferenceError: there is one.
    """
    here = _channels(candidate)
    for run in references:
        with reading(run):
            there = _channels(run)
        if None not in (here, there) and here != there:
            images = f"images have {there} channels"
            message = f"model: {images} in {run.uri}, {here} in the candidate; these cannot be compared"
            raise UnusableReferenceError(run, message, f"cannot be compared: its {images}, the candidate's {here}")


def stored_option(config: Mapping[str, Any], name: str) -> Any:
    """Returns an option of a stored config; its default if the version that stored it did not have it."""
    field = options().get(name)
    default = field.default if field else None
    stored = config.get(name, list(default) if isinstance(default, tuple) else default)
    return _UNSET.get(name) if stored is None else stored


def _differences(candidate: Provenance, run: Run) -> list[_Difference]:
    """Returns why a run cannot be compared with a candidate; nothing if it can be."""
    other = run.manifest.provenance
    found = []
    for name in _deciding(candidate.config, other.config):
        here, there = stored_option(candidate.config, name), stored_option(other.config, name)
        if here != there:
            ours, theirs = (_again(name, config) for config in (candidate.config, other.config))
            again = f"make the reference again with {ours}, or the candidate with {theirs}"
            text = f"{name}: {there!r} in {run.uri}, {here!r} in the candidate; these cannot be compared: {again}"
            found.append(_Difference(f"{_flag(name, there)}, the candidate with {_flag(name, here)}", text))
    if candidate.baseline_images != other.baseline_images:
        text = f"baseline: other pictures in {run.uri} than in the candidate; these cannot be compared"
        found.append(_Difference("other pictures as baselines than the candidate", text))
    return found


def _deciding(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the options by which runs of these configs may not be comparable.

    A path that is summed with other steps has other errors: they show as a change of convergence, and of maps too where
    the steps are few. What the rule of either makes no use of may differ.
    """
    adaptive = {stored_option(config, "rule") == "adaptive" for config in (one, other)}
    of_rule = () if len(adaptive) > 1 else _OF_ADAPTIVE if True in adaptive else _OF_FIXED
    return (*INCOMPARABLE, "rule", *of_rule)


def _again(name: str, config: Mapping[str, Any]) -> str:
    """Returns the flags by which another run has an option of a stored config."""
    rule, steps = (stored_option(config, each) for each in ("rule", "steps"))
    if name in ("rule", "steps") and is_rule_of("audit", rule, steps):
        return "--effort audit"
    of_shifted = f" {_flag('steps', steps)}" if name == "rule" and rule == "shifted" else ""
    return _flag(name, stored_option(config, name)) + of_shifted


def _flag(name: str, value: Any) -> str:
    values = value if isinstance(value, list | tuple) else [value]
    return f"--{name} {' '.join(shlex.quote(str(each)) for each in values)}"


def _channels(run: Run) -> int | None:
    """Returns how many channels the images of a run have; None if all of its maps are zero, or it has none."""
    shares = run.statistics(["mean_channel_share"], kind="all").column(0).to_pylist()
    return len(shares[0]) if shares and shares[0] is not None else None
