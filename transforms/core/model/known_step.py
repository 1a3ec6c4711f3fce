"""The compiled step of a classifier that may come from a cache: checked by what the model itself gave, once a process.

A graph that gives something else than its model is never used: the model is loaded, compiled, and kept in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transforms.core.model.batch_size import StepLadder
from transforms.core.model.calibration import Calibrated
from transforms.core.model.classifier import Classifier
from transforms.core.model.step import CompiledStep, PassReport

MODEL_CACHE = "model_cache"
"""Name of the report on the cache. It is none of the step: what the step is does not depend on who made its graph."""


@dataclass(frozen=True, eq=False)
class Checked:
    """A classifier and its compiled step.

    Attributes:
        classifier: the one given, or one of the model itself in its place.
        step: compiled, at a batch size that fits the device's memory if it was run.
        in_flight: how many of its calls run at once.
        has_run: whether it was, so that its next call costs nothing more.
        cache: whether the graph is one that an earlier start made, or why not; None if none can be kept.
    """

    classifier: Classifier
    step: CompiledStep
    in_flight: int
    has_run: bool = False
    cache: PassReport | None = None


def compile_checked(classifier: Classifier, compile: Callable[[Classifier], Calibrated]) -> Checked:
    """Returns the compiled step of a classifier; of its model itself, if what a cache has of that is wrong.

    Args:
        classifier: a loaded model.
        compile: compiles one.

    Raises:
        MemoryError: a batch of one does not fit into the device's memory.
    """
    kept = classifier.kept
    if kept is None or not kept.recalled:
        return _compiled(classifier, compile)[0]
    try:
        checked, difference = _compiled(classifier, compile)
    except MemoryError:
        raise
    except Exception as error:  # whatever a wrong graph raises; of a right one, the model raises it again
        difference = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    if difference:
        return compile_checked(kept.reload(f"what was kept gave {difference}"), compile)
    return checked


def _compiled(classifier: Classifier, compile: Callable[[Classifier], Calibrated]) -> tuple[Checked, str]:
    """Returns a classifier with its compiled step, which is kept, and in what it differs from the model, if it does."""
    kept, compiled = classifier.kept, compile(classifier)
    if kept is None:
        return Checked(classifier, compiled.step, compiled.in_flight), ""
    ladder = StepLadder(compiled.step)
    difference = ladder.call(kept.reference.difference)
    step, reason = ladder.step, kept.reason
    if difference:
        reason = f"{reason}; the compiled step is not kept, as it gives {difference}"
    elif not step.recalled:
        reason = reason or "these passes were not applied to it before on such a device"
        if problem := step.keep():
            reason = f"{reason}; the compiled step cannot be kept: {problem}"
    cache = PassReport(MODEL_CACHE, not reason, reason)
    return Checked(classifier, step, compiled.in_flight, has_run=True, cache=cache), difference
