"""Do maps depend on what the model has learned? Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

A few images are attributed a second time by the same model with random weights in its last layer. Where the maps come
out alike, they show the images rather than the model. Likeness is Spearman's rank correlation of the pixels' signed
attributions. Magnitudes would not do: they stay alike whatever the model (0.8 on EfficientNet-Lite0; 0.0 with signs),
because the image's own contrast is a factor of its map.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from transforms.core.explain.attributor import Attributor
from transforms.core.model.batch_size import StepLadder
from transforms.core.model.kept import Kept
from transforms.core.model.passes.frozen import NotApplicableError
from transforms.core.model.passes.randomize import randomize_last_layer
from transforms.core.model.step import CompiledStep, compile_step
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.integrate import Integrator, Path
from transforms.core.record import Randomization

STEPS = 4
"""Of the midpoint rule, for both maps: few are enough, since both have the same error where the model is the same."""

MOST_ALIKE = 0.5
"""The rank correlation from which on maps count as alike."""


def check_randomization(attributor: Attributor, images: np.ndarray, targets: Sequence[int]) -> Randomization:
    """Returns whether maps change with the model's last layer, or why that cannot be said.

    Args:
        attributor: its model, compiled step and first baseline are used.
        images: float32 `[n, height, width, channels]` in [0, 1].
        targets: the class to explain of each.
    """
    classifier = attributor.classifier
    if classifier.task == "dense" or attributor.targets.none:
        return Randomization(reason="the score is what a function makes of the outputs, not that of a class")
    if classifier.frozen is None:
        return Randomization(reason=classifier.frozen_reason)
    baselines = [attributor.baselines[0].make(image, str(index))[0] for index, image in enumerate(images)]
    about = _digest(attributor.step, images, baselines, targets)
    if found := _recalled(classifier.kept, about):
        return found
    try:
        maps = _maps(attributor.step, images, baselines, targets)
        others = _maps(_randomized(attributor), images, baselines, targets)
    except (NotApplicableError, MemoryError) as error:
        return Randomization(reason=str(error))
    alike = [_alike(*pair) for pair in zip(maps, others, strict=True) if np.ptp(pair[0])]
    if not alike:
        return Randomization(reason="no image with a map that is not the same everywhere")
    similarity = float(np.mean(alike))
    checked = Randomization(images=len(alike), similarity=similarity, passed=similarity < MOST_ALIKE)
    if classifier.kept:
        classifier.kept.keep_result(about, json.dumps(dataclasses.asdict(checked)).encode())
    return checked


def _randomized(attributor: Attributor) -> CompiledStep:
    """Returns the compiled step with random weights in the model's last layer.

    Raises:
        NotApplicableError: no layer has constant weights.
    """
    step, classifier = attributor.step, attributor.classifier
    try:
        return step.with_graph(randomize_last_layer)
    except NotApplicableError:  # there is no layer behind the affine stem, of which the last may be a part
        if classifier.frozen is None:
            raise
        graph = randomize_last_layer(classifier.frozen)
        return compile_step(dataclasses.replace(classifier, explained=graph, frozen=graph, kept=None), step.batch)


def _digest(step: CompiledStep, images: np.ndarray, baselines: Sequence[np.ndarray], targets: Sequence[int]) -> str:
    """Returns a digest of all that the check depends on besides the model and its options."""
    total = hashlib.sha256(f"{step.graph} {step.batch} {STEPS} {images.shape} {list(targets)}".encode())
    for array in (images, *baselines):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:24]


def _recalled(kept: Kept | None, about: str) -> Randomization | None:
    """Returns the check that an earlier start made of the same pictures; None if none did."""
    try:
        return Randomization(**json.loads(kept.recall_result(about))) if kept else None
    except (ValueError, TypeError):
        return None


def _maps(
    step: CompiledStep, images: np.ndarray, baselines: Sequence[np.ndarray], targets: Sequence[int]
) -> list[np.ndarray]:
    """Returns maps with their sign, summed over the channels, float `[height, width]` each."""
    ladder, paths = StepLadder(step), []
    for index, (image, baseline, target) in enumerate(zip(images, baselines, targets, strict=True)):
        start, end = ladder.enter(np.stack([baseline, image]))
        paths.append(Path(index, start, end, image - baseline, target))
    integrals = Integrator(ladder, fixed_rule("midpoint", STEPS)).integrate(paths)
    maps = {integral.key: integral.values.sum(axis=2) for integral in integrals}
    return [maps[index] for index in range(len(paths))]


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the rank correlation of two maps; 0 where the other is the same everywhere."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]) if np.ptp(other) else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the rank of each value, float `[n]`; equal ones share the mean of theirs.

    As `scipy.stats.rankdata`; importing that package would cost each worker half a second.
    """
    _, places, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
