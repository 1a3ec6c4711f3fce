"""How large a sample a budget pays for, and how well it will know a mean: decided once, before a run begins.

Only the sample depends on the budget, never the rule or its steps: runs of different budgets have comparable rows.
Every image has the same chance, whatever its class, so that the mean of any slice is unbiased. In small classes, more
of the sample get reference maps; their rows are marked, so that means over several classes leave them out.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from pipeline.audit.references import find_references
from pipeline.budget import Budget, Unit
from pipeline.config import AuditConfig, ConfigError
from pipeline.cost import Cost, Spread, last_run, measure, seconds_of, spread_of_runs
from transforms import survey, worker
from transforms.core.errors import UsageError
from transforms.core.explain.label import LabelError, Labels
from transforms.core.explain.settings import Settings
from transforms.core.explain.target import Targets
from transforms.core.image.baseline import parse_baselines
from transforms.core.model.names import class_names
from transforms.core.record import Image
from transforms.core.vocabulary import REFERENCE, SECOND_CELLS
from transforms.formats import Shard
from transforms.store.run import Run
from transforms.store.sampling import SamplingPlan, read_plan
from transforms.survey import Survey
from transforms.worker import AttributorSpec

_COUNT_SECONDS = 10.0
_COUNT_SECONDS_OF_CLASSES = 4.0
_READ_SECONDS = 4.0
_ATTRIBUTE_SECONDS = 5.0
_PICTURES = 16
REFERENCE_STEPS = f"{REFERENCE}steps"

_LABELS = 2000
"""Images whose labels are read, to know how large classes are."""

_REFERENCE_ROWS = 60
_MOST_RAISED = 5
"""Pictures of a class that are to get reference maps: statistics of a class are corrected from 50 on."""

_OF_A_CLASS = 1000
"""Images of the class of which it is said how well its mean will be known."""


@dataclass(frozen=True)
class _ImageCost:
    """What an image costs, in the budget's unit.

    Attributes:
        amount: of its own maps.
        known_from: how that is known.
        reference: of its reference maps, if it gets any.
        spread: of the pictures that were attributed to find this out, if any were.
    """

    amount: float
    known_from: str
    reference: float = 0.0
    spread: Spread | None = None

    def mean(self, reference_share: float) -> float:
        """Returns the mean over images of which such a share gets reference maps."""
        return self.amount + reference_share * self.reference


def plan(
    config: AuditConfig,
    shards: Sequence[Shard],
    spec: AttributorSpec,
    earlier: Sequence[str] = (),
    measured: Cost | None = None,
) -> SamplingPlan | None:
    """Returns the sample that a run takes, and where it makes more reference maps; None if it does neither.

    A resumed run keeps what it began with.

    Args:
        config: the options, with the date in `output`.
        shards: all shards of the input.
        spec: what each worker loads.
        earlier: runs, and folders of them, by which costs may be known.
        measured: the cost of an image without reference maps, if it has been measured already.

    Raises:
        ConfigError: the budget is less than an image costs, nothing can be attributed, or the interrupted run has
            another budget.
        OSError: the storage fails.
    """
    if not config.budget and not config.reference_share:
        return None
    if config.resume and Run.open(config.output).has_begun:
        return _begun(config)
    try:
        seconds = _COUNT_SECONDS if config.budget else _COUNT_SECONDS_OF_CLASSES
        found = survey.survey(shards, config.read_options(), seconds)
        kept = _kept_shares(config, spec)
        classes = _classes(config, spec, found) if config.reference_share and kept is None else []
    except UsageError as error:
        raise ConfigError(str(error)) from error
    if config.budget:
        return _afford(config, found, classes, kept, spec, earlier, measured)
    shares = reference_shares(classes, config.reference_share) if kept is None else kept
    return SamplingPlan("", 1.0, found.images, found.exact, reference_shares=shares) if shares else None


def explain(plan: SamplingPlan) -> list[str]:
    """Returns sentences about a sample: its cost, how well a mean will be known, and where more reference maps are."""
    lines = []
    if plan.budget:
        total = f"{plan.images:,}" if plan.exact else f"about {float(f'{plan.images:.3g}'):,.0f}"
        spread = Spread(plan.spread, plan.spread_from)
        width = spread.half_width(plan.share * _OF_A_CLASS)
        lines.append(
            f"budget {plan.budget}: about {plan.expected:,} of {total} images, {plan.cost:,.4g} {plan.unit} each "
            f"({plan.cost_from}); the mean signed share of the largest cell of a class of {_OF_A_CLASS:,} images will "
            f"be known to ± {width:.2g} (95 %, {spread.known_from})"
        )
    if plan.reference_shares:
        classes = (
            "1 small class" if len(plan.reference_shares) == 1 else f"{len(plan.reference_shares):,} small classes"
        )
        most = max(share for _, share in plan.reference_shares)
        lines.append(f"reference maps: of more pictures in {classes}, up to {most:.0%}, for {_REFERENCE_ROWS} each")
    return lines


def reference_shares(
    classes: Sequence[tuple[int, float]], share: float, rows: int | None = None
) -> tuple[tuple[int, float], ...]:
    """Returns the share of pictures that get reference maps in classes too small for `share` to give them `rows`.

    A class that would need more than _MOST_RAISED times the share keeps it: its own correction is not worth that many
    gradients, and its slices borrow from the other classes.

    Args:
        classes: class index and number of images in the run, about; a class that was not seen is not among them.
        share: of pictures that get reference maps in all other classes, above 0.
        rows: with reference maps that a class is to have; by default _REFERENCE_ROWS.
    """
    wanted, most = _REFERENCE_ROWS if rows is None else rows, min(1.0, _MOST_RAISED * share)
    raised = {label: wanted / images for label, images in classes if images > 0}
    return tuple(sorted((label, found) for label, found in raised.items() if share < found <= most))


def gradients_by_rule(settings: Settings) -> float | None:
    """Returns the mean gradient evaluations of an image, without reference maps; None if that depends on the image."""
    targets = Targets.parse(settings.targets)
    if settings.rule == "adaptive" or targets.above is not None or targets.text == "labels":
        return None
    nodes = sum(len(block.alphas) for block in settings.path_rule().start().blocks())
    paths = max(1, targets.top) * sum(baseline.count for baseline in parse_baselines(settings.baseline))
    second = settings.second_share if settings.rule == "shifted" else 0.0
    return float(nodes * paths * (1 + second) + settings.gradient * max(1, targets.top))


def _begun(config: AuditConfig) -> SamplingPlan | None:
    """Returns the plan of the run that is to be resumed.

    Raises:
        ConfigError: the run has another budget, or its plan cannot be read.
    """
    try:
        found = read_plan(config.output)
    except UsageError as error:
        raise ConfigError(f"resume: {error}") from error
    budget = found.budget if found else ""
    if config.budget != budget:
        here, there = (f"with {text}" if text else "without one" for text in (config.budget, budget))
        raise ConfigError(f"budget: {config.output} was begun {there}, and cannot be resumed {here}")
    return found


def _kept_shares(config: AuditConfig, spec: AttributorSpec) -> tuple[tuple[int, float], ...] | None:
    """Returns the shares of reference maps of the latest run to reuse, as other shares would make other rows."""
    for uri in config.reuse if config.reference_share else ():
        with contextlib.suppress(OSError, ValueError):
            for run in reversed(find_references([uri])):
                made = run.manifest.provenance
                is_alike = made.config.get("reference_share") == config.reference_share
                if is_alike and made.model_digest == spec.model_digest:
                    plan = read_plan(run.uri)
                    return plan.reference_shares if plan else ()
    return None


def _afford(
    config: AuditConfig,
    found: Survey,
    classes: Sequence[tuple[int, float]],
    kept: tuple[tuple[int, float], ...] | None,
    spec: AttributorSpec,
    earlier: Sequence[str],
    measured: Cost | None,
) -> SamplingPlan:
    """Returns the sample that the budget pays for; the shares of reference maps are those `kept`, if any are."""
    budget = Budget.parse(config.budget)
    cost = _cost(config, found, spec, budget.unit, earlier, measured)
    images, share, raised = max(1, found.images), 1.0, config.reference_share
    shares: tuple[tuple[int, float], ...] = ()
    for _ in range(2):  # the smaller the sample, the larger the share of it that small classes need
        mean = cost.mean(raised)
        share = min(1.0, budget.amount / mean / images)
        shares = reference_shares([(label, count * share) for label, count in classes], config.reference_share)
        sizes = dict(classes)
        more = sum((each - config.reference_share) * sizes[label] for label, each in shares)
        raised = config.reference_share + more / images
    if budget.amount < cost.mean(config.reference_share):
        each = f"an image takes {cost.amount:,.4g} {budget.unit} ({cost.known_from})"
        raise ConfigError(f"budget: {config.budget} pays for no image: {each}")
    spread = spread_of_runs(earlier, config.grid) or cost.spread or Spread()
    return SamplingPlan(
        budget=config.budget,
        share=share,
        images=found.images,
        exact=found.exact,
        unit=budget.unit,
        cost=mean,
        cost_from=cost.known_from,
        spread=spread.deviation,
        spread_from=spread.known_from,
        reference_shares=shares if kept is None else kept,
    )


def _cost(
    config: AuditConfig,
    found: Survey,
    spec: AttributorSpec,
    unit: Unit,
    earlier: Sequence[str],
    measured: Cost | None,
) -> _ImageCost:
    """Returns what an image costs: by its rule if that is fixed, by an earlier run of the same, or measured here.

    Raises:
        ConfigError: no image that was tried can be attributed, or the model cannot be used.
    """
    settings = spec.settings
    by_rule = gradients_by_rule(settings)
    if unit == "gradients" and by_rule is not None and not settings.reference_share:
        return _ImageCost(by_rule, f"rule {settings.rule}")
    if run := last_run(config, spec.model_digest, earlier):
        return _ImageCost(cost_in(run, unit), f"by {run.uri}")
    if not settings.reference_share:
        own = measured or _measure(config, found, spec)
        amount = own.steps_an_image if unit == "gradients" else own.seconds_an_image
        return _ImageCost(amount or 0.0, f"measured with {own.measured} images", spread=own.spread)
    every = dataclasses.replace(settings, reference_share=1.0, second_share=0.0)
    both = _measure(config, found, dataclasses.replace(spec, settings=every))
    alone = gradients_by_rule(every)
    if alone is None:
        alone = (measured or _measure(config, found, spec)).steps_an_image or 0.0
    amounts = (by_rule or alone), max(0.0, (both.steps_an_image or 0.0) - alone)
    rate = (both.steps_a_second or 1.0) if unit == "seconds" else 1.0
    own_amount, reference = (amount / rate for amount in amounts)
    return _ImageCost(own_amount, f"measured with {both.measured} images", reference, both.spread)


def cost_in(run: Run, unit: Unit) -> float:
    """Returns what an image cost in a finished run, its share of reference and second maps included."""
    manifest = run.manifest
    if unit == "seconds":
        return seconds_of(run) / manifest.worker_images
    total = 0
    for table in run.rows(["steps", REFERENCE_STEPS, SECOND_CELLS]):
        total += pc.sum(table.column("steps")).as_py() or 0
        if REFERENCE_STEPS in table.column_names:
            total += pc.sum(table.column(REFERENCE_STEPS)).as_py() or 0
        if SECOND_CELLS in table.column_names:
            total += pc.sum(table.filter(pc.field(SECOND_CELLS).is_valid()).column("steps")).as_py() or 0
    return total / manifest.images


def _measure(config: AuditConfig, found: Survey, spec: AttributorSpec) -> Cost:
    """Returns the cost of an image, by attributing a few on this machine.

    Raises:
        ConfigError: none of those tried can be attributed, or the model cannot be used.
    """
    try:
        items = survey.read(found.places, config.read_options(), 2 * _PICTURES, _PICTURES, _READ_SECONDS)
        images = [item for item in items if isinstance(item, Image) and item.data]
        loaded = worker.attributor(spec)  # which a job on this machine will use
        cost = measure(loaded.attributor, images[:_PICTURES], found.images, _ATTRIBUTE_SECONDS)
    except UsageError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(f"model: {spec.model}: {error}") from error
    if cost is None:
        raise ConfigError("budget: none of the images looked at can be attributed, so that their cost is unknown")
    return cost


def _classes(config: AuditConfig, spec: AttributorSpec, found: Survey) -> list[tuple[int, float]]:
    """Returns the classes that labels of the input name, and how many of its images each has, about."""
    if spec.facts is None:
        return []
    names, _ = class_names(spec.options, spec.facts.classes, spec.facts.task)
    labels = Labels(names, spec.facts.task, spec.options.label_offset)
    items = list(survey.read(found.places, config.read_options(), _LABELS, 0, _READ_SECONDS))
    counts = Counter(label for item in items if isinstance(item, Image) for label in _named(item, labels))
    return [(label, count * found.images / len(items)) for label, count in sorted(counts.items())]


def _named(image: Image, labels: Labels) -> tuple[int, ...]:
    """Returns the classes that the label of an image names."""
    try:
        found = labels.resolve_image(image)
    except LabelError:
        return ()
    return found if isinstance(found, tuple) else (found,) if isinstance(found, int) else ()
