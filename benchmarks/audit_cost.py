"""How few steps a class's mean signed map takes: `python -m benchmarks.audit_cost --data FOLDER`.

The gradient of each picture is taken once at `NODES` midpoints, each node's signed sums of cells by themselves. A
shifted rule of n steps, n a divisor of NODES, takes every (NODES / n)th of them, from a shift on; so all of its shifts
are known, and the variance that it adds to a mean is exact, without drawing any. The truth is the mean over all nodes.

- width: of the interval of a cell's mean, over that of exact maps; root mean square over cells and classes.
- of the map: the same of all cells together, each by its own variance: of the L2 distance to the mean map.
- controlled: the same with the completeness residual as a control variate, weighted for each cell and class.
- antithetic: the same for n/2 nodes at a shift u and n/2 at 1 − u.
- shared: which part of the variance that few steps add is common to all pictures of a class at the same shift: no
  coordination of shifts between pictures could take away more.
- bias: root mean square of the error of a cell's mean, over the standard error of exact maps, of one draw of shifts by
  the pictures' content; and of the left rule's, whose nodes are fixed.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage

from benchmarks.common import table, write_json
from benchmarks.contenders.process import ROOT
from benchmarks.shortcuts.networks import CLASSES, NETWORKS, TRAINED, read_pictures, train
from pipeline.samples.cache import build_model
from pipeline.samples.photographs import originals
from transforms.core.explain.content import shift_of
from transforms.core.image.decode import decode
from transforms.core.maps.importance import sum_cells
from transforms.core.model import classifier
from transforms.core.model.options import ModelOptions
from transforms.core.model.step import CompiledStep, compile_step
from transforms.core.model.step_batch import StepBatch, midpoints

NODES = 48
"""Gradients for each picture; what 50 midpoints know, but for very little."""

STEPS = (2, 3, 4, 6, 8, 12, 16)
WIDER = 1.1
"""The interval that is accepted, over that of exact maps."""

_NETWORK = next(network for network in NETWORKS if network.name == "plain-0")

_OF_SKIMAGE = (
    *("brick", "cell", "clock_motion", "coins", "color", "grass", "gravel", "horse", "hubble_deep_field", "ihc"),
    *("microaneurysms", "moon", "page", "retina", "text"),
)
"""Pictures beside those of `pipeline.samples`."""

_COMMON = 50
"""Midpoints that people take."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture: float32 `[height, width, channels]` in [0, 1], its class if known, its digest."""

    array: np.ndarray
    label: int | None
    content: str


@dataclass(frozen=True)
class Curves:
    """What a model's gradients are along the paths of pictures of one class.

    Attributes:
        cells: float64 `[pictures, NODES, cells]`: the signed sums at each node times (x − x').
        totals: float64 `[pictures]`: F(x) − F(x').
        contents: digests of the pictures.
    """

    cells: np.ndarray
    totals: np.ndarray
    contents: Sequence[str]

    def by_shift(self, steps: int) -> np.ndarray:
        """Returns the cells by the shifted rule, float64 `[pictures, shifts, cells]`."""
        pictures, nodes, cells = self.cells.shape
        return self.cells.reshape(pictures, steps, nodes // steps, cells).mean(axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures each model by each score, and prints a table."""
    options = _parse(arguments)
    rows = []
    for name, pictures, model, model_options in _subjects(options):
        for score in options.scores:
            loaded = classifier.load(model, dataclasses.replace(model_options, score=score))
            step = compile_step(loaded, NODES)
            curves = [_curves(step, group) for group in pictures]
            found = [_row(f"{name}, {score}", curves, steps) for steps in STEPS]
            least = next((row["steps"] for row in found if row["width"] <= WIDER), None)
            controlled = next((row["steps"] for row in found if row["controlled"] <= WIDER), None)
            print(table(found))
            for words, steps in (("", least), (", controlled", controlled)):
                told = (
                    f"{steps} steps, {_COMMON / steps:.1f} times fewer than {_COMMON}"
                    if steps
                    else "more than 16 steps"
                )
                print(f"{name}, {score}{words}: at most {WIDER:.0%} of the width of exact maps with {told}", flush=True)
            rows += found
    write_json(options.json, {"options": {name: str(value) for name, value in vars(options).items()}, "rows": rows})


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.audit_cost", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder with CIFAR-10's train.parquet and test.parquet; left out if not given"
    )
    parser.add_argument("--classes", type=int, default=10, help="of CIFAR-10 (default 10)")
    parser.add_argument("--pictures", type=int, default=1000, help="of each class (default 1000)")
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"), help="where the network is kept")
    parser.add_argument(
        "--photographs", action="store_true", help="also Lite0, on those of scikit-image and scikit-learn"
    )
    parser.add_argument("--scores", nargs="+", default=["logit", "probability"], help="default: logit probability")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    return parser.parse_args(arguments)


def _subjects(options: argparse.Namespace) -> Iterator[tuple[str, list[list[Picture]], str, ModelOptions]]:
    """Yields a name, pictures by class, and a model with its options."""
    if options.data:
        known = read_pictures(options.data)
        path = options.folder / f"{_NETWORK.name}.keras"
        if not path.exists():
            options.folder.mkdir(parents=True, exist_ok=True)
            train(_NETWORK, known, path)
        groups = []
        for label in range(options.classes):
            chosen = TRAINED + np.flatnonzero(known.labels[TRAINED:] == label)[: options.pictures]
            arrays = [known.pixels[index].astype(np.float32) / 255 for index in chosen]
            groups.append([Picture(array, label, _digest(array.tobytes())) for array in arrays])
        yield (
            f"CNN, {options.pictures} pictures a class",
            groups,
            str(path),
            ModelOptions(class_names=CLASSES, outputs="logits"),
        )
    if options.photographs:
        encoded = [sample.data for sample in originals()]
        folder = Path(skimage.__file__).parent / "data"
        encoded += [next(folder.glob(f"{name}.*")).read_bytes() for name in _OF_SKIMAGE]
        pictures = [Picture(decode(data, (224, 224)).array, None, _digest(data)) for data in encoded]
        name = f"Lite0, {len(pictures)} photographs"
        yield name, [pictures], build_model(str(ROOT / "runs" / "samples")), ModelOptions()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _curves(step: CompiledStep, pictures: Iterable[Picture]) -> Curves:
    cells, totals, contents = [], [], []
    for picture in pictures:
        black = np.zeros_like(picture.array)
        start, end = step.enter(np.stack([black, picture.array]))
        target = int(step.outputs(picture.array[None])[0].argmax()) if picture.label is None else picture.label
        batch = StepBatch.of_path(start, end, midpoints(NODES), 1.0, target)
        each = dataclasses.replace(batch, segments=np.arange(NODES, dtype=np.int32))
        gradients = step.leave(step.run(each).sums)
        found = [sum_cells(gradient * picture.array) for gradient in gradients]
        cells.append(np.stack([np.zeros(64) if one is None else one.ravel() for one in found]).astype(np.float64))
        totals.append(cells[-1].sum(axis=1).mean())
        contents.append(picture.content)
    return Curves(np.stack(cells), np.array(totals), contents)


def _row(name: str, curves: Sequence[Curves], steps: int) -> dict[str, str | int | float]:
    measured = [_measure(each, steps) for each in curves]
    means = {key: float(np.sqrt(np.mean([one[key] for one in measured]))) for key in measured[0]}
    return {"model and score": name, "steps": steps, **means}


def _measure(curves: Curves, steps: int) -> dict[str, float]:
    """Returns squares of the figures of one class, averaged over its cells."""
    exact = curves.cells.mean(axis=1)
    variance = exact.var(axis=0, ddof=1)
    used = variance > 1e-6 * variance.max()
    by_shift = curves.by_shift(steps)
    errors = by_shift - exact[:, None]
    added = (errors**2).mean(axis=(0, 1))
    residual = errors.sum(axis=2)
    covariance = (errors * residual[:, :, None]).mean(axis=(0, 1))
    left = added - covariance**2 / max(float((residual**2).mean()), 1e-300)
    shared = (errors.mean(axis=0) ** 2).mean(axis=0)
    drawn = np.array([int(shift_of(content, 0) * by_shift.shape[1]) for content in curves.contents])
    mean_error = errors[np.arange(len(drawn)), drawn].mean(axis=0)
    count = len(exact)

    def over(values: np.ndarray) -> float:
        return float((values[used] / variance[used]).mean())

    return {
        "width": 1 + over(added),
        "of the map": 1 + float(added.sum() / variance.sum()),
        "controlled": 1 + over(left),
        "antithetic": 1 + over(_antithetic(curves, steps)) if steps % 2 == 0 else float("nan"),
        "shared": float((shared[used] / added[used]).mean()) ** 2,
        "bias": over(mean_error**2 * count),
        "bias expected": over(added),
        "bias left": over((errors[:, 0].mean(axis=0)) ** 2 * count),
    }


def _antithetic(curves: Curves, steps: int) -> np.ndarray:
    """Returns the variance that pairs of mirrored shifts add, float64 `[cells]`."""
    halves = curves.by_shift(steps // 2)
    pairs = (halves + halves[:, ::-1]) / 2
    return np.asarray(((pairs - curves.cells.mean(axis=1)[:, None]) ** 2).mean(axis=(0, 1)))


if __name__ == "__main__":
    main()
