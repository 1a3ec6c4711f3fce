"""What the stored config of a run says of how its pictures are read and attributed, and how refined maps differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from pipeline import launch
from pipeline.config import ConfigError, digest
from transforms import store, worker
from transforms.core.errors import UsageError
from transforms.core.explain.settings import DEFAULT_MAX_STEPS, Settings
from transforms.core.model.options import ModelOptions
from transforms.formats import ReadOptions
from transforms.store.refined import MapOptions
from transforms.store.run import Run
from transforms.worker import AttributorSpec

T = TypeVar("T")

_OF_RULES = ("rule", "steps", "tolerance", "max_steps", "channels", "dtype", "reference_share", "second_share")
"""What refined maps have of their own, and what belongs to other rules than theirs."""


def map_options(run: Run, tolerance: float, max_steps: int | None, channels: str, dtype: str) -> MapOptions:
    """Returns how refined maps of a run are made; the most steps of a path are the run's unless they are given."""
    most = max_steps or run.manifest.provenance.config.get("max_steps") or DEFAULT_MAX_STEPS
    return MapOptions(tolerance, most, channels, dtype)


def read_options(run: Run) -> ReadOptions:
    """Returns how the run's chunks are read.

    Raises:
        UsageError: the stored config has a value that cannot be used.
    """
    return _stored(ReadOptions, run)


def spec_of(run: Run, model: str = "") -> AttributorSpec:
    """Returns what made the run's attributor, but for the rule; loads no model.

    Class names are not needed: the rows have them.

    Args:
        run: a finished run.
        model: where its model lies now; empty if it lies where it lay.

    Raises:
        ConfigError: there is no model, or its files are others than the run's.
        UsageError: the stored config has a value that cannot be used.
    """
    made_by = run.manifest.provenance
    uri = model or made_by.model
    try:
        found = worker.model_digest_of(uri)
    except (OSError, UsageError) as error:
        text = str(error).removeprefix(f"model: {uri}: ")
        raise ConfigError(f"model: {uri}: {text}{'' if model else '; --model says where it lies now'}") from error
    if found != made_by.model_digest:
        raise ConfigError(
            f"model: {uri} has digest {found[:16]}, the run's model {made_by.model_digest[:16]}: a refined map must be "
            "of the same model; --model says where that lies now"
        )
    return AttributorSpec(
        uri,
        _stored(ModelOptions, run),
        _stored(Settings, run, _OF_RULES),
        baseline_images=made_by.baseline_images,
        model_digest=found,
    )


def refining(spec: AttributorSpec, options: MapOptions) -> AttributorSpec:
    """Returns a run's spec with the rule and the storage of refined maps."""
    kept = {field.name: getattr(spec.settings, field.name) for field in dataclasses.fields(Settings)}
    own = {name: value for name, value in kept.items() if name not in _OF_RULES}
    settings = Settings(**own, rule="adaptive", **dataclasses.asdict(options))
    return dataclasses.replace(spec, settings=settings, reference_shares=())


def provenance_of(run: Run, spec: AttributorSpec) -> store.Provenance:
    """Returns what parts of refined maps say of their making: the run's options, with those of the maps in place.

    Args:
        run: the finished run.
        spec: what makes the maps, see `refining`.
    """
    made_by = run.manifest.provenance
    config = {**made_by.config, **{name: getattr(spec.settings, name) for name in _OF_RULES}}
    return dataclasses.replace(
        made_by,
        config=config,
        config_digest=digest(config, run=made_by.config_digest),
        model=spec.model,
        versions=launch.versions(),
    )


def _stored(kind: type[T], run: Run, left_out: tuple[str, ...] = ()) -> T:
    """Returns the options of one kind as a run stores them; those that its version did not have are the defaults."""
    config: Mapping[str, Any] = run.manifest.provenance.config
    names = [field.name for field in dataclasses.fields(kind) if field.name not in left_out]  # type: ignore[arg-type]
    given = {name: config[name] for name in names if name in config}
    if not given.get("outputs", "auto"):
        del given["outputs"]  # it was not known when the run was launched
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{run.uri}: its stored options cannot be used: {error}") from error
