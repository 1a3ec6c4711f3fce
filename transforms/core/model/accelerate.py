"""Accelerations of a compiled step that are not exact to rounding: tried, held against the step as it is, kept or not.

They are for devices with units of their own for them. What maps they give of two pictures, and how fast, is measured
when the worker starts, and the run's manifest says what was kept, and why not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transforms.core.model.batch_size import StepLadder
from transforms.core.model.calibration import steps_a_second
from transforms.core.model.passes.frozen import NotApplicableError
from transforms.core.model.pictures import natural_pictures
from transforms.core.model.step import CompiledStep, PassReport
from transforms.core.model.step_batch import StepBatch, midpoints

MOST_DIFFERENT = 0.005
"""L1 distance of two maps over the L1 norm of one: a tenth of the default tolerance."""

_PICTURES = 2


def accelerate(step: CompiledStep, names: Sequence[str], in_flight: int = 1) -> CompiledStep:
    """Returns the step with those of the accelerations that are faster and hardly change its maps; see its report.

    Args:
        step: the step as it is.
        names: out of `half_precision` (convolutions and matrix products in float16), `bfloat16` (the same in
            bfloat16; not applicable after it) and `xla`.
        in_flight: how many batches run at once.

    Raises:
        MemoryError: the step does not fit into the device's memory, even with a batch of one; where a smaller one than
            its own fits, that is returned.
    """
    if not names:
        return step
    ladder = StepLadder(step)
    wanted = ladder.call(_maps)
    step = ladder.step
    for name in names:
        try:
            candidate = step.accelerated(name)
            difference = _difference(_maps(candidate), wanted)
            reason = f"changes maps by {difference:.1%}" if not difference <= MOST_DIFFERENT else ""
            reason = reason or _slower(candidate, step, in_flight)
        except NotApplicableError as refusal:
            reason = str(refusal)
        except (tf.errors.OpError, MemoryError, NotImplementedError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        step = (step if reason else candidate).with_report(PassReport(name, not reason, reason))
    return step


def _slower(candidate: CompiledStep, step: CompiledStep, in_flight: int) -> str:
    """Returns the rates of two steps in words where the candidate is not the faster one."""
    found, now = (steps_a_second(either, in_flight, calls=2) for either in (candidate, step))
    return "" if found > now else f"{found:.3g} steps a second, against {now:.3g} without"


def _maps(step: CompiledStep) -> np.ndarray:
    """Returns maps of the pictures' highest classes, `[pictures, height, width, 3]`, by as many midpoints as fit."""
    pictures = natural_pictures(step.image_shape, _PICTURES)
    ends, starts = step.enter(pictures), step.enter(np.zeros_like(pictures))
    maps = []
    for start, end, picture in zip(starts, ends, pictures, strict=True):
        target = int(np.argmax(step.outputs(picture[None])[0]))
        sums = step.run(StepBatch.of_path(start, end, midpoints(step.batch), 1 / step.batch, target)).sums
        maps.append(step.leave(sums)[0] * picture)
    return np.stack(maps)


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the largest L1 distance of a map from the wanted one, over that one's norm."""
    distances, norms = (np.abs(values).sum((1, 2, 3), dtype=np.float64) for values in (found - wanted, wanted))
    return float(np.max(np.where(distances == 0, 0, distances / np.maximum(norms, np.finfo(np.float64).tiny))))
