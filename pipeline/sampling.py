"""How large a sample a budget pays for, and how well it will know a mean: decided once, before a run begins.

Only the sample depends on the budget, never the rule or its steps: runs of different budgets have comparable rows.
Every image has the same chance, whatever its class, so that the mean of any slice is unbiased.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.budget import Budget, Unit
from pipeline.config import AuditConfig, ConfigError
from pipeline.cost import Cost, Spread, last_run, measure, seconds_of, spread_of_runs
from transforms import survey, worker
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.explain.target import Targets
from transforms.core.image.baseline import parse_baselines
from transforms.core.record import Image
from transforms.formats import Shard
from transforms.store.run import Run
from transforms.store.sampling import SamplingPlan, read_plan
from transforms.survey import Survey
from transforms.worker import AttributorSpec

_COUNT_SECONDS = 10.0
_READ_SECONDS = 4.0
_ATTRIBUTE_SECONDS = 5.0
_PICTURES = 16
_OF_A_CLASS = 1000
"""Images of the class of which it is said how well its mean will be known."""


@dataclass(frozen=True)
class _ImageCost:
    """What an image costs, in the budget's unit; with the spread of the pictures, if some were attributed for that."""

    amount: float
    known_from: str
    spread: Spread | None = None


def plan(
    config: AuditConfig,
    shards: Sequence[Shard],
    spec: AttributorSpec,
    earlier: Sequence[str] = (),
    measured: Cost | None = None,
) -> SamplingPlan | None:
    """Returns the sample that a run takes; None without a budget. A resumed run keeps the one that it began with.

    Args:
        config: the options, with the date in `output`.
        shards: all shards of the input.
        spec: what each worker loads.
        earlier: runs, and folders of them, by which costs may be known.
        measured: the cost of an image, if it has been measured already.

    Raises:
        ConfigError: the budget is less than an image costs, nothing can be attributed, or the interrupted run has
            another budget.
        OSError: the storage fails.
    """
    if not config.budget:
        return None
    if config.resume and (begun := _begun(config)):
        return begun
    try:
        found = survey.survey(shards, config.read_options(), _COUNT_SECONDS)
    except UsageError as error:
        raise ConfigError(str(error)) from error
    budget = Budget.parse(config.budget)
    cost = _cost(config, budget.unit, spec, earlier)
    if cost is None:
        cost = _measured(budget.unit, measured or _measure(config, found, spec))
    if budget.amount < cost.amount:
        each = f"an image takes {cost.amount:,.4g} {budget.unit} ({cost.known_from})"
        raise ConfigError(f"budget: {config.budget} pays for no image: {each}")
    spread = spread_of_runs(earlier, config.grid) or cost.spread or Spread()
    return SamplingPlan(
        budget=config.budget,
        share=min(1.0, budget.amount / cost.amount / max(1, found.images)),
        images=found.images,
        exact=found.exact,
        unit=budget.unit,
        cost=cost.amount,
        cost_from=cost.known_from,
        spread=spread.deviation,
        spread_from=spread.known_from,
    )


def explain(plan: SamplingPlan) -> str:
    """Returns a sentence about a sample: what it costs, and how well a mean will be known by it."""
    total = f"{plan.images:,}" if plan.exact else f"about {float(f'{plan.images:.3g}'):,.0f}"
    spread = Spread(plan.spread, plan.spread_from)
    width = spread.half_width(plan.share * _OF_A_CLASS)
    return (
        f"budget {plan.budget}: about {plan.expected:,} of {total} images, {plan.cost:,.4g} {plan.unit} each "
        f"({plan.cost_from}); the mean signed share of the largest cell of a class of {_OF_A_CLASS:,} images will be "
        f"known to ± {width:.2g} (95 %, {spread.known_from})"
    )


def reference_shares(
    classes: Sequence[tuple[int, float]], share: float, rows: int = 60
) -> tuple[tuple[int, float], ...]:
    """Returns the share of pictures that get reference maps in classes too small for `share` to give them `rows`.

    Args:
        classes: class index and number of images in the run, about; a class that was not seen is not among them.
        share: of pictures that get reference maps in all other classes, above 0.
        rows: with reference maps that a class is to have.
    """
    raised = {label: min(1.0, rows / images) for label, images in classes if images > 0}
    return tuple(sorted((label, found) for label, found in raised.items() if found > share))


def _begun(config: AuditConfig) -> SamplingPlan | None:
    """Returns the plan of the run that is to be resumed; None if nothing of it was computed by another budget.

    Raises:
        ConfigError: the run has another budget, or its plan cannot be read.
    """
    try:
        found = read_plan(config.output)
    except UsageError as error:
        raise ConfigError(f"resume: {error}") from error
    if found is None or found.budget == config.budget:
        return found
    if Run.open(config.output).has_begun:
        raise ConfigError(f"budget: {config.output} was begun with {found.budget}, not with {config.budget}")
    return None


def _cost(config: AuditConfig, unit: Unit, spec: AttributorSpec, earlier: Sequence[str]) -> _ImageCost | None:
    """Returns what an image costs, by its rule if that is fixed, or by an earlier run of the same; None if unknown."""
    settings = config.settings()
    known = gradients_by_rule(settings) if unit == "gradients" else None
    if known is not None:
        return _ImageCost(known, f"rule {settings.rule}")
    if run := last_run(config, spec.model_digest, earlier):
        return _ImageCost(_cost_in(run, unit), f"by {run.uri}")
    return None


def _measured(unit: Unit, measured: Cost) -> _ImageCost:
    amount = measured.steps_an_image if unit == "gradients" else measured.seconds_an_image
    return _ImageCost(amount or 0.0, f"measured with {measured.measured} images", measured.spread)


def gradients_by_rule(settings: Settings) -> float | None:
    """Returns the gradient evaluations that each image takes; None if the rule decides that image by image."""
    targets = Targets.parse(settings.targets)
    if settings.rule == "adaptive" or targets.above is not None or targets.text == "labels":
        return None
    nodes = sum(len(block.alphas) for block in settings.path_rule().start().blocks())
    paths = max(1, targets.top) * sum(baseline.count for baseline in parse_baselines(settings.baseline))
    return float(nodes * paths + settings.gradient * max(1, targets.top))


def _cost_in(run: Run, unit: Unit) -> float:
    """Returns what an image cost in a finished run."""
    manifest = run.manifest
    if unit == "seconds":
        return seconds_of(run) / manifest.worker_images
    ((rows, steps),) = (tuple(row.values()) for row in run.statistics(["count", "mean_steps"], kind="all").to_pylist())
    return float(rows * steps / manifest.images)


def _measure(config: AuditConfig, found: Survey, spec: AttributorSpec) -> Cost:
    """Returns the cost of an image, by attributing a few on this machine.

    Raises:
        ConfigError: none of those tried can be attributed, or the model cannot be used.
    """
    try:
        items = survey.read(found.places, config.read_options(), 2 * _PICTURES, _PICTURES, _READ_SECONDS)
        images = [item for item in items if isinstance(item, Image) and item.data]
        loaded = worker.attributor(spec)  # which a job on this machine will use
        cost = measure(loaded.attributor, list(itertools.islice(images, _PICTURES)), found.images, _ATTRIBUTE_SECONDS)
    except UsageError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(f"model: {spec.model}: {error}") from error
    if cost is None:
        raise ConfigError("budget: none of the images looked at can be attributed, so that their cost is unknown")
    return cost
