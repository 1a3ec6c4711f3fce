"""Settings: how a function is attributed, declared once, checked without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from transforms.core.errors import UsageError
from transforms.core.explain.target import Targets
from transforms.core.image.baseline import parse_baselines
from transforms.core.image.decoding import ALPHA_COLORS, Decoding, parse_alpha_color, parse_value_range
from transforms.core.option import Options, option, problems_of
from transforms.core.path.adaptive import adaptive_rule
from transforms.core.path.fixed import fixed_rule
from transforms.core.path.rule import PathRule
from transforms.core.path.shifted import shifted_rule
from transforms.core.vocabulary import (
    BASELINES,
    CHANNELS,
    DTYPES,
    GRIDS,
    HIGHEST_MAX_PIXELS,
    MAX_BATCH,
    MAX_GAUSS_LEGENDRE_STEPS,
    MAX_PIXELS,
    MAX_STEPS,
    PRECISIONS,
    RESIZES,
    RULES,
    TARGETS,
)

DEFAULT_STEPS, DEFAULT_MAX_STEPS = 50, 512
"""Of a fixed rule, and the most of the adaptive one, if the option is not set."""

DEFAULT_TOLERANCE, DEFAULT_SECOND_SHARE = 0.05, 0.05

_OF_ROWS = ("channels", "dtype", "grid")


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """How a function is attributed, in the job, in Beam and in a notebook alike: `Settings(tolerance=0.02)`.

    Which function that is, is for `ModelOptions`.

    Raises:
        UsageError: an option has a value that is not allowed, one line each.
        TypeError: there is no such option.
    """

    resize: str = option("pad", "how an image is fitted to the model's input size", RESIZES, group="model")
    targets: str = option(
        "top1",
        f"classes to attribute: {', '.join(TARGETS)}; topK are the K highest",
        group="attribution",
        metavar="CLASSES",
    )
    baseline: str = option(
        "black",
        f"{', '.join(BASELINES)}; several, separated by spaces, are averaged",
        group="attribution",
    )
    rule: str = option("adaptive", "quadrature rule along the path", RULES, group="attribution")
    steps: int | None = option(
        None,
        f"gradient evaluations of a fixed rule, from 2, or of the shifted one, from 1 (default {DEFAULT_STEPS})",
        low=1,
        high=MAX_STEPS,
        group="attribution",
    )
    tolerance: float = option(
        DEFAULT_TOLERANCE,
        "L1 error of a map, relative to its L1 norm, at which it has converged",
        low=1e-6,
        group="attribution",
    )
    max_steps: int | None = option(
        None,
        f"most gradient evaluations the adaptive rule spends on a path (default {DEFAULT_MAX_STEPS})",
        low=1,
        high=MAX_STEPS,
        group="attribution",
    )
    second_share: float = option(
        DEFAULT_SECOND_SHARE,
        "share of the images, chosen by a hash of their content, that rule shifted integrates once more by another "
        "shift: how much of the rows' spread is due to few steps",
        low=0,
        high=1,
        group="statistics",
    )
    reference_share: float = option(
        0.0,
        "share of the images, chosen likewise, that also get maps by the adaptive rule, to tolerance: these correct "
        "what few steps make of shares and concentration",
        low=0,
        high=1,
        group="statistics",
    )
    channels: str = option(
        "all", "what is stored of a map's color channels; none stores no map", CHANNELS, group="output"
    )
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
        "type of convolutions and matrix products; mixed uses float16, or else bfloat16, if that is faster and changes "
        "maps by less than 0.5 %",
        PRECISIONS,
        group="running",
    )
    xla: bool = option(
        False,
        "compile the gradient step with XLA, if that is faster and changes maps by less than 0.5 %",
        group="running",
    )
    value_range: str = option(
        "",
        "values that stand for black and white in arrays and in pictures of more than 8 bits a value; empty takes the "
        "range of the type, which signed integers and floats lack",
        group="input",
        metavar="LOW,HIGH",
    )
    alpha_color: str = option(
        "black",
        f"color over which transparent pixels are composited: {', '.join(ALPHA_COLORS)} or R,G,B from 0 to 255",
        group="input",
        metavar="COLOR",
    )
    max_pixels: int = option(
        MAX_PIXELS, "an image with more pixels is recorded as an error", low=1, high=HIGHEST_MAX_PIXELS, group="input"
    )

    def problems(self) -> list[str]:
        """Returns what is wrong with these settings, one line an option; empty if nothing is."""
        found = problems_of(self)
        wrong = {line.partition(":")[0] for line in found}
        checks: dict[tuple[str, ...], Callable[[], object]] = {
            ("targets",): lambda: Targets.parse(self.targets),
            ("baseline",): lambda: parse_baselines(self.baseline),
            ("value_range",): lambda: parse_value_range(self.value_range),
            ("alpha_color",): lambda: parse_alpha_color(self.alpha_color),
            ("rule", "steps", "tolerance", "max_steps", "second_share", "reference_share"): self._check_rule,
            ("channels", "dtype", "gradient"): self._check_stored,
        }
        for names, check in checks.items():
            try:
                if not wrong.intersection(names):
                    check()
            except ValueError as error:
                found.append(str(error))
        return found

    def check_nothing_stored(self) -> None:
        """Raises UsageError if an option was changed that shapes stored rows alone, for those who store none."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _OF_ROWS and value != field.default:
                raise UsageError(
                    f"{field.name}: {value!r} is for a stored run alone; an explanation has float32 values "
                    f"of each color channel, so that only the default is allowed: {field.default!r}"
                )

    @property
    def accelerations(self) -> tuple[str, ...]:
        """What the compiled step is asked to try; names that `accelerate` takes."""
        return ("half_precision", "bfloat16") * (self.precision == "mixed") + ("xla",) * self.xla

    def decoding(self, channels: int) -> Decoding:
        """Returns how pictures become pixels for a model that takes so many channels."""
        color, values = parse_alpha_color(self.alpha_color), parse_value_range(self.value_range)
        return Decoding(self.resize, self.max_pixels, channels, color, values)

    def _check_rule(self) -> None:
        if self.rule == "adaptive" and self.steps is not None:
            raise UsageError(f"steps: {self.steps} is for a fixed rule; rule adaptive takes tolerance and max_steps")
        if self.rule != "adaptive" and self.max_steps is not None and not self.reference_share:
            why = f"rule {self.rule} takes steps, and reference_share is 0"
            raise UsageError(f"max_steps: {self.max_steps} is for rule adaptive and for reference maps; {why}")
        if self.rule == "shifted" and self.tolerance != DEFAULT_TOLERANCE and not self.reference_share:
            why = "rule shifted estimates no error, and reference_share is 0"
            raise UsageError(f"tolerance: {self.tolerance} is for rules that estimate errors and reference maps; {why}")
        if self.rule == "adaptive" and self.reference_share:
            why = "the maps of rule adaptive are accurate themselves; give 0, or another rule"
            raise UsageError(f"reference_share: {self.reference_share} has no effect: {why}")
        if self.rule != "shifted" and self.second_share != DEFAULT_SECOND_SHARE:
            raise UsageError(f"second_share: {self.second_share} is for rule shifted; the rule is {self.rule}")
        if self.rule != "shifted" and self.steps == 1:
            raise UsageError(f"steps: 1 is for rule shifted; allowed is a number from 2, for rule {self.rule}")
        if self.rule == "gauss_legendre" and (self.steps or 0) > MAX_GAUSS_LEGENDRE_STEPS:
            allowed = f"a number from 2 to {MAX_GAUSS_LEGENDRE_STEPS}, for rule {self.rule}"
            raise UsageError(f"steps: {self.steps} is not {allowed}")
        self.path_rule()
        self.reference_rule()

    def _check_stored(self) -> None:
        if self.channels == "none" and self.gradient:
            raise UsageError("gradient: True is to be shown beside the map, and channels none stores no map")
        if self.channels == "none" and self.dtype != DTYPES[0]:
            raise UsageError(f"dtype: {self.dtype!r} is the type of the stored map, and channels none stores no map")

    def path_rule(self) -> PathRule:
        """Returns the rule that decides where each path is sampled.

        Raises:
            ValueError: the rule does not allow that number of steps.
        """
        if self.rule == "adaptive":
            return self._adaptive_rule()
        if self.rule not in RULES:
            raise UsageError(f"rule: {self.rule!r} is not one of {', '.join(RULES)}")
        if self.rule == "shifted":
            return shifted_rule(self.steps or DEFAULT_STEPS)
        return fixed_rule(self.rule, self.steps or DEFAULT_STEPS)

    def reference_rule(self) -> PathRule | None:
        """Returns the rule of reference maps; None if there are none.

        Raises:
            ValueError: fewer steps are allowed than the rule begins with.
        """
        return self._adaptive_rule() if self.reference_share else None

    def _adaptive_rule(self) -> PathRule:
        return adaptive_rule(tolerance=self.tolerance, max_steps=self.max_steps or DEFAULT_MAX_STEPS)


def check_batch_size(size: int) -> None:
    """Raises UsageError if `size` is not the number of steps in one model call, or 0 for the fastest."""
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_BATCH:
        raise UsageError(f"batch_size: {size!r} is not 0, for the fastest, or a number from 1 to {MAX_BATCH}")
