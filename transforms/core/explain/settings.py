"""Settings: every option that shapes an attribution, declared once, checked without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from transforms.core.errors import UsageError
from transforms.core.explain.target import Targets
from transforms.core.image.baseline import parse_baselines
from transforms.core.option import option, problems_of
from transforms.core.path.adaptive import adaptive_rule
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.rule import PathRule
from transforms.core.vocabulary import (
    BASELINES,
    CHANNELS,
    DTYPES,
    GRIDS,
    HIGHEST_MAX_PIXELS,
    MAX_GAUSS_LEGENDRE_STEPS,
    MAX_INPUT_SIDE,
    MAX_PIXELS,
    MAX_STEPS,
    PIXELS,
    PRECISIONS,
    RESIZES,
    RULES,
    SCORES,
    TARGETS,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that shape an attribution; the same in the job, in a Beam transform and in a notebook."""

    resize: str = option("pad", "how an image is fitted to the model's input size", RESIZES, group="model")
    input_size: str = option(
        "", "the model's input size, if the model leaves it open", group="model", metavar="HEIGHTxWIDTH"
    )
    pixels: str = option(
        "unit",
        "input range the model expects: [0, 1]; [-1, 1]; [0, 255]; less ImageNet's mean, over its deviation; BGR less "
        "that mean",
        PIXELS,
        group="model",
    )
    signature: str = option(
        "", "signature of the SavedModel to call (default: the model itself, else serving_default)", group="model"
    )
    output_name: str = option("", "name of the model's output to explain, if it has several", group="model")
    targets: str = option(
        "top1",
        f"classes to attribute: {', '.join(TARGETS)}; topK are the K highest",
        group="attribution",
        metavar="CLASSES",
    )
    score: str = option(
        "probability",
        f"what is attributed: {', '.join(SCORES)}, or a function of yours as module:function",
        group="attribution",
    )
    baseline: str = option(
        "black",
        f"{', '.join(BASELINES)}; several, separated by spaces, are averaged",
        group="attribution",
    )
    rule: str = option("adaptive", "quadrature rule along the path", RULES, group="attribution")
    steps: int | None = option(
        None, "gradient evaluations of a fixed rule (default 50)", low=2, high=MAX_STEPS, group="attribution"
    )
    tolerance: float = option(
        0.05, "L1 error of a map, relative to its L1 norm, at which it has converged", low=1e-6, group="attribution"
    )
    max_steps: int | None = option(
        None,
        "most gradient evaluations the adaptive rule spends on a path (default 512)",
        low=1,
        high=MAX_STEPS,
        group="attribution",
    )
    channels: str = option("all", "what is stored of a map's color channels", CHANNELS, group="output")
    dtype: str = option("float16", "type of the stored map", DTYPES, group="output")
    gradient: bool = option(
        False,
        "store the plain gradient too, to show it beside the map: one more step a path, 8 bits a pixel",
        group="output",
    )
    grid: int = option(8, "cells a side of the importance grid", GRIDS, group="statistics")
    faithfulness: float = option(
        0.01,
        "share of the images, chosen by a hash of the id, whose insertion and deletion AUC are measured; "
        "with 0, the model-randomization check is left out too",
        low=0,
        high=1,
        group="statistics",
    )
    precision: str = option(
        "float32",
        "type of convolutions and matrix products; mixed uses float16 if that is faster and changes maps by less than "
        "0.5 %",
        PRECISIONS,
        group="running",
    )
    xla: bool = option(
        False,
        "compile the gradient step with XLA, if that is faster and changes maps by less than 0.5 %",
        group="running",
    )
    max_pixels: int = option(
        MAX_PIXELS, "an image with more pixels is recorded as an error", low=1, high=HIGHEST_MAX_PIXELS, group="input"
    )

    def problems(self) -> list[str]:
        """Returns what is wrong with these settings, one line an option; empty where nothing is."""
        found = problems_of(self)
        checks: list[Callable[[], object]] = [
            lambda: Targets.parse(self.targets),
            lambda: parse_baselines(self.baseline),
            self.size,
        ]
        if self.rule == "gauss_legendre" and (self.steps or 0) > MAX_GAUSS_LEGENDRE_STEPS:
            most = MAX_GAUSS_LEGENDRE_STEPS
            found.append(f"steps: {self.steps} is not a number from 2 to {most}, for rule {self.rule}")
        if not found:  # a rule's own limits, where its numbers make sense at all
            checks.append(self.path_rule)
        for check in checks:
            try:
                check()
            except ValueError as error:
                found.append(str(error))
        if self.score not in SCORES and not _names_function(self.score):
            found.append(f"score: {self.score!r} is not one of {', '.join(SCORES)}, or module:function")
        if self.rule == "adaptive" and self.steps is not None:
            found.append(f"steps: {self.steps} is for a fixed rule; rule adaptive takes tolerance and max_steps")
        if self.rule != "adaptive" and self.max_steps is not None:
            found.append(f"max_steps: {self.max_steps} is for rule adaptive; rule {self.rule} takes steps")
        return list(dict.fromkeys(found))

    @property
    def accelerations(self) -> tuple[str, ...]:
        """What the compiled step is asked to try; names that `accelerate` takes."""
        return ("half_precision",) * (self.precision == "mixed") + ("xla",) * self.xla

    def size(self) -> tuple[int, int] | None:
        """Returns (height, width) of `input_size`, or None where the model is to say.

        Raises:
            ValueError: `input_size` is not HEIGHTxWIDTH.
        """
        if not self.input_size:
            return None
        height, _, width = self.input_size.partition("x")
        if not all(side.isdecimal() and 0 < int(side) <= MAX_INPUT_SIDE for side in (height, width)):
            raise UsageError(f"input_size: {self.input_size!r} is not HEIGHTxWIDTH, like 224x224")
        return int(height), int(width)

    def path_rule(self) -> PathRule:
        """Returns the rule that decides where each path is sampled.

        Raises:
            ValueError: the rule doesn't allow that number of steps.
        """
        if self.rule == "adaptive":
            return adaptive_rule(tolerance=self.tolerance, max_steps=self.max_steps or 512)
        if self.rule not in RULES:
            raise UsageError(f"rule: {self.rule!r} is not one of {', '.join(RULES)}")
        return fixed_rule(self.rule, self.steps or 50)


def _names_function(text: str) -> bool:
    module, colon, function = text.partition(":")
    return bool(colon) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))
