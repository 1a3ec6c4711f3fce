"""How many steps a fixed rule needs until every picture's map is as close to the truth as wanted.

The rules of all peers are evaluated with one engine, so that the search costs minutes, not hours; the
peers' own maps are checked against it by `peers.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

import numpy as np

from transforms import worker
from transforms.core.explain.settings import Settings
from transforms.core.model.batch_size import StepLadder
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.integrate import Integrator, Path
from transforms.worker import AttributorSpec

GRID = 4
"""Steps are sought among the multiples of this."""

_FIRST = 64
_HARDEST = 4
_LIMIT = 1024


class Engine:
    """Maps of some pictures by any fixed rule, black baseline, probability of each picture's target."""

    def __init__(self, saved_model: str, images: np.ndarray) -> None:
        """Loads the model and predicts the targets of `images`, float32 `[n, height, width, 3]` in [0, 1]."""
        spec = AttributorSpec(saved_model, settings=Settings(rule="midpoint"))
        attributor = worker.attributor(spec).attributor
        self._step = attributor.step
        self._digest = attributor.classifier.digest
        self._images = images
        self._start = self._step.enter(np.zeros_like(images[:1]))[0]
        self._ends = [self._step.enter(image[None])[0] for image in images]
        self.targets = tuple(int(self._step.outputs(image[None])[0].argmax()) for image in images)

    def maps(self, rule: str, steps: int, chosen: Sequence[int]) -> np.ndarray:
        """Returns the attributions of the `chosen` images, float32 `[len(chosen), height, width, 3]`.

        Args:
            rule: one of ig-audit's fixed rules, or `mean`: the plain mean of `steps` points, both ends included.
            steps: gradient evaluations an image.
            chosen: numbers of images.
        """
        if rule == "mean":
            trapezoid, ends = (self.maps("trapezoid", count, chosen) for count in (steps, 2))
            return ((steps - 1) * trapezoid + ends) / np.float32(steps)
        paths = (Path(i, self._start, self._ends[i], self._images[i], self.targets[i]) for i in chosen)
        integrals = Integrator(StepLadder(self._step), fixed_rule(rule, steps)).integrate(paths)
        found = {integral.key: integral.values for integral in integrals}
        return np.stack([found[i] for i in chosen])

    def reference(self, steps: int, cache: FilePath) -> np.ndarray:
        """Returns the maps of all images by the midpoint rule with `steps` steps, kept in the folder `cache`."""
        content = hashlib.sha256(f"{self._digest} {steps}".encode() + self._images.tobytes()).hexdigest()
        kept = cache / f"reference-{content[:16]}.npy"
        if not kept.exists():
            cache.mkdir(parents=True, exist_ok=True)
            np.save(cache / "unfinished.npy", self.maps("midpoint", steps, range(len(self._images))))
            (cache / "unfinished.npy").rename(kept)
        return np.load(kept)


def relative_errors(maps: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns each map's L1 distance from its reference, relative to the reference's L1 norm: float64 `[n]`."""
    axes = (1, 2, 3)
    distance = np.abs(maps.astype(np.float64) - reference).sum(axes)
    return distance / np.abs(reference.astype(np.float64)).sum(axes)


def steps_needed(engine: Engine, rule: str, reference: np.ndarray, allowed: float) -> tuple[int, float]:
    """Returns the least number of steps found at which no picture's error is above `allowed`, and the worst error.

    A bisection on the hardest pictures, then upwards until all pictures pass. Errors are not quite
    monotone in the steps: a lucky smaller number is to the rule's advantage.

    Raises:
        ValueError: not even 1,024 steps are enough.
    """

    def errors(steps: int, chosen: Sequence[int]) -> np.ndarray:
        return relative_errors(engine.maps(rule, steps, chosen), reference[list(chosen)])

    everything = range(len(reference))
    first = errors(_FIRST, everything)
    hardest = np.argsort(first)[-_HARDEST:].tolist()
    likely = _FIRST * first.max() / allowed  # errors fall as one over the steps
    steps = _bisect(lambda steps: errors(steps, hardest).max() <= allowed, GRID * int(np.ceil(2 * likely / GRID)))
    while (worst := errors(steps, everything).max()) > allowed:
        steps = _checked(steps + GRID)
    return steps, float(worst)


def _bisect(passes: Callable[[int], bool], high: int) -> int:
    """Returns a multiple of GRID that passes, and whose predecessor does not."""
    while not passes(_checked(high)):
        high *= 2
    low = 0
    while high - low > GRID:
        middle = (low + high) // 2 // GRID * GRID
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _checked(steps: int) -> int:
    if steps > _LIMIT:
        raise ValueError(f"more than {_LIMIT} steps would be needed")
    return steps
