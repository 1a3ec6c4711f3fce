"""Checks and preparation before a graph is built: returns a job that can run, or fails with exit code 2.

Any cause that would fail every image (a missing shard, a model that does not suit the options, an output
directory in use) fails here, in the launcher, before anything is written.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import sampling
from pipeline.audit.references import choose_references
from pipeline.audit.thresholds import load_thresholds
from pipeline.config import AuditConfig, ConfigError, digest
from pipeline.cost import known_runs
from pipeline.reuse import Reusable, differences, find_reusable
from transforms import __version__, formats, store, worker
from transforms.core.errors import UsageError
from transforms.core.explain.target import Targets
from transforms.core.image.baseline import check_channels, parse_baselines
from transforms.core.model.facts import facts_of
from transforms.core.model.known_model import KnownModel
from transforms.formats import Shard
from transforms.store.run import Run
from transforms.store.sampling import SAMPLED, SamplingPlan
from transforms.worker import AttributorSpec

_LIBRARIES = ("apache-beam", "tensorflow", "keras", "numpy", "pillow", "pyarrow")


@dataclass(frozen=True)
class Job:
    """A checked run: everything that the graph needs.

    Attributes:
        config: the options, with the date in `output`.
        shards: the shards to read, sorted.
        spec: what each worker loads.
        provenance: options, model and versions, as stored in every part and in the manifest.
        started: when this run was checked, ISO 8601 in UTC.
        passed_over: how many files of the input's folders were not taken, by extension.
        notes: what is taken for granted of the input, a sentence each.
        reuse: the earlier runs of which parts may be taken; None if the options name none.
        plan: of which share of the images the run is a sample; None if it is not.
    """

    config: AuditConfig
    shards: tuple[Shard, ...]
    spec: AttributorSpec
    provenance: store.Provenance
    started: str
    passed_over: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reuse: Reusable | None = None
    plan: SamplingPlan | None = None


def prepare(config: AuditConfig) -> Job:
    """Returns the job that `config` describes; its `{date}` is the day of this call, in UTC.

    Raises:
        ConfigError: a file is missing, the output holds another run, or the model does not suit the options.
        UsageError: the run would not be comparable with its reference.
        OSError: there is no finished run at the reference, none at all to reuse, or a file cannot be read.
    """
    started = datetime.datetime.now(datetime.timezone.utc)
    earlier, config = known_runs(config), config.dated(started.date())
    found, spec = discover(config), spec_of(config)
    known = worker.known_model(spec)
    spec = _with_facts(config, spec, known)
    notes = formats.describe(found.shards, config.read_options())
    plan = sampling.plan(config, found.shards, spec, earlier)
    spec = dataclasses.replace(spec, reference_shares=plan.reference_shares if plan else ())
    provenance = _provenance(config, spec, plan)
    if config.reference:
        choose_references(provenance, config.reference, config.nights, exclude=config.output)
        load_thresholds(config.thresholds)
    if not resumes(config, provenance):
        checked = _check_known(spec, known) if known else _check_model(spec)
        if checked != spec:  # a damaged local copy has been replaced
            spec, provenance = checked, _provenance(config, checked, plan)
    reuse = find_reusable(config.reuse, provenance, config.output) if config.reuse else None
    began = started.isoformat(timespec="seconds")
    return Job(config, found.shards, spec, provenance, began, found.passed_over, notes, reuse, plan)


def discover(config: AuditConfig) -> formats.Discovery:
    """Returns the shards of the input, sorted, and what was passed over.

    Raises:
        ConfigError: an input is missing, or its format is unknown.
    """
    try:
        return formats.discover(config.input, config.input_format)
    except (UsageError, OSError) as error:
        raise ConfigError(f"input: {error}") from error


def spec_of(config: AuditConfig) -> AttributorSpec:
    """Returns what each worker loads, with the digest of the model's files; loads no model.

    Raises:
        ConfigError: a file that the options name is missing or cannot be used.
    """
    batch_size = 0 if config.batch_size == "auto" else int(config.batch_size)
    try:
        spec = worker.resolve(config.model, config.model_options(), config.settings(), batch_size, config.model_cache)
    except UsageError as error:
        raise ConfigError(str(error)) from error
    try:
        return dataclasses.replace(spec, model_digest=worker.model_digest_of(config.model))
    except OSError as error:
        raise ConfigError(f"model: {config.model}: {error}") from error


def _with_facts(config: AuditConfig, spec: AttributorSpec, known: KnownModel | None) -> AttributorSpec:
    """Returns the spec with what is known of the model, which is loaded only if nobody has looked at it yet.

    Raises:
        ConfigError: the model cannot be read.
        UsageError: it does not suit the options.
    """
    evidence = worker.known_evidence(spec) or (known.evidence if known else None)
    if evidence is not None:
        return dataclasses.replace(spec, evidence=evidence, facts=facts_of(evidence, spec.options))
    return spec if _found_earlier(config, spec) else _check_model(spec)


def _found_earlier(config: AuditConfig, spec: AttributorSpec) -> str:
    """Returns what the interrupted run found that the model's outputs are; empty if there is none of this model."""
    try:
        earlier = Run.open(config.output).provenance if config.resume else None
    except (OSError, ValueError):  # which `resumes` reports
        return ""
    return str(earlier.config.get("outputs", "")) if earlier and earlier.model_digest == spec.model_digest else ""


def _provenance(config: AuditConfig, spec: AttributorSpec, plan: SamplingPlan | None) -> store.Provenance:
    """Returns the provenance of the run."""
    outputs = spec.facts.outputs if spec.facts else _found_earlier(config, spec)
    shaping = {**config.shaping(), "outputs": outputs, **({SAMPLED: plan.shaping} if plan else {})}
    model_digest, names, pictures = spec.model_digest, spec.options.class_names, spec.baseline_images
    hashes = [_sha256(data) for data in pictures]
    return store.Provenance(
        config=shaping,
        config_digest=digest(shaping, model=model_digest, names=names, pictures=hashes),
        model=config.model,
        model_digest=model_digest,
        versions=versions(),
        baseline_images=pictures,
    )


def resumes(config: AuditConfig, provenance: store.Provenance) -> bool:
    """Returns whether the output directory holds the beginning of this same run, and `resume` is given.

    Raises:
        ConfigError: it holds a run, but `resume` is not given, or the run is another one; or its content cannot be
            read, so that another run might be overwritten.
    """
    run = Run.open(config.output)
    try:
        if not run.has_begun:
            return False
        earlier = run.provenance if config.resume else None
    except FileNotFoundError:  # a killed process left no more than temporary files
        return False
    except (OSError, ValueError) as error:
        raise ConfigError(f"output: {error}") from error
    if earlier is None:
        raise ConfigError(f"output: {config.output} holds a run; give --resume to continue it, or another directory")
    if earlier.config_digest != provenance.config_digest:
        raise ConfigError(f"resume: {config.output} holds a run of other options ({differences(earlier, provenance)})")
    return True


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_known(spec: AttributorSpec, known: KnownModel) -> AttributorSpec:
    """Checks that a model that was loaded with these options before suits the settings too, and returns the spec."""
    targets = Targets.parse(spec.settings.targets)
    targets.check(known.classes(spec.options), known.task, known.by_class)
    check_channels(parse_baselines(spec.settings.baseline), known.input_shape[2])
    return spec


def _check_model(spec: AttributorSpec) -> AttributorSpec:
    """Loads the model in the launcher, so that a model that does not suit the options fails before the work.

    Returns the spec with what was found; its digest is another one if a damaged local copy was replaced.
    """
    try:
        classifier = worker.classifier(spec)
        Targets.parse(spec.settings.targets).check(classifier.classes, classifier.task, classifier.by_class)
        check_channels(parse_baselines(spec.settings.baseline), classifier.input_shape[2])
    except OSError as error:
        raise ConfigError(f"model: {spec.model}: {error}") from error
    return dataclasses.replace(
        spec, model_digest=classifier.digest, evidence=classifier.evidence, facts=classifier.facts
    )


def versions() -> dict[str, str]:
    """Returns the versions of this package, of Python and of the libraries that decide what rows are."""
    found = {"ig-audit": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "unknown"
    return found
