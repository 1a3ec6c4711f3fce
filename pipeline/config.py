"""AuditConfig: every option of a run, from flags and YAML, checked together before any work.

Imports neither Beam nor TensorFlow: a wrong option is reported within a fraction of a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import hashlib
import json
import re
import typing
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.budget import Budget
from pipeline.command_line import text
from pipeline.effort import EFFORTS, applied, preset, words_of
from pipeline.suggest import suggestion
from transforms import __version__, storage
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.model.options import ModelOptions
from transforms.core.option import GROUPS, option, problems_of
from transforms.core.statistics.slices import SliceOptions
from transforms.core.vocabulary import MAX_BATCH, MAX_ERROR_RATE
from transforms.formats import ReadOptions

_DATE = "{date}"
_OF_REFERENCE = ("nights", "thresholds")
_OF_FORMAT = {
    "tfrecord": (
        *("image_feature", "label_feature", "mask_feature"),
        *("height_feature", "width_feature", "channels_feature"),
    ),
    "webdataset": ("image_member",),
    "parquet": ("image_column", "label_column", "mask_column"),
}
_BY_CONTENT = {"class_names"}  # a file, whose names go into the digest themselves
_METAVARS = {int: "INT", float: "FLOAT", bool: "true|false", str: "NAME", tuple: "NAME"}


class ConfigError(UsageError):
    """Options are wrong; `str()` has one line for each."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig(ModelOptions, Settings, ReadOptions, SliceOptions):
    """The options of a run: those of the model, of its attribution, of reading images, of slices, and these."""

    input: tuple[str, ...] = option(
        (), "URIs, globs or folders of image shards", group="input", metavar="URI", required=True
    )
    model: str = option(
        "",
        "TF-Hub https handle, SavedModel folder, or Keras file (.keras, .h5)",
        group="model",
        metavar="URI",
        required=True,
    )
    output: str = option(
        "",
        "run directory to write: local, gs://, s3:// or hdfs://; {date} becomes today's date in UTC",
        group="output",
        metavar="DIR",
        required=True,
    )
    effort: str = option(
        EFFORTS[0],
        f"what the run is for: map, maps to tolerance; audit, statistics: {words_of(preset('audit'))}, unless given",
        EFFORTS,
        group="attribution",
    )
    resume: bool = option(False, "resume an interrupted run with the same options and directory", group="running")
    budget: str = option(
        "",
        "what the run may cost: a number of gradient evaluations, or hours, minutes or seconds of one worker, as 2h, "
        "90m or 3600s; attributes as large a sample of the images as that pays for, the same share of every class",
        group="running",
        metavar="COST",
    )
    reuse: tuple[str, ...] = option(
        (),
        "earlier runs, or folders of runs, from which chunks of the same images, model and options are taken",
        group="running",
        metavar="RUN",
    )
    batch_size: str = option(
        "auto", f"steps in one model call: auto, or a number from 1 to {MAX_BATCH}", group="running", metavar="N"
    )
    model_cache: str = option(
        "",
        "folder or URI in which workers keep a model's compiled graph for their next start, trusted as the model "
        "itself; none keeps nothing (default: a folder of your own in ~/.cache/ig-audit)",
        group="running",
        metavar="DIR",
    )
    reference: tuple[str, ...] = option(
        (), "finished runs, or folders of runs, to compare this run with", group="comparison", metavar="RUN"
    )
    nights: int = option(0, "use only the latest N reference runs; 0 uses all", low=0, group="comparison", metavar="N")
    thresholds: str = option("", "YAML file of drift thresholds", group="comparison", metavar="URI")
    max_error_rate: float = option(
        MAX_ERROR_RATE, "share of failing images above which the exit code is 4", low=0, high=1, group="running"
    )
    accelerator: str = option(
        "",
        "accelerator of the machines that compute attributions, as type:T;count:N;…; ignored by runners that do not "
        "choose machines, such as the local one",
        group="running",
        metavar="HINT",
    )
    min_ram: str = option(
        "",
        "memory of the machines that compute attributions, such as 16GB; ignored like accelerator",
        group="running",
        metavar="SIZE",
    )

    def __post_init__(self) -> None:
        """Raises ConfigError with every problem that can be found without reading a file."""
        found = [f"{name}: is required" for name in required() if not getattr(self, name)]
        found += ModelOptions.problems(self) + Settings.problems(self)
        if not (self.batch_size == "auto" or (self.batch_size.isdecimal() and 1 <= int(self.batch_size) <= MAX_BATCH)):
            found.append(f"batch_size: {self.batch_size!r} is not auto or a number from 1 to {MAX_BATCH}")
        if self.budget:
            try:
                Budget.parse(self.budget)
            except ValueError as error:
                found.append(str(error))
            if self.limit:
                found.append("budget: chooses a sample itself; give either --budget or --limit")
        if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?(?:[KMGT]i?)?B)?", self.min_ram):
            found.append(f"min_ram: {self.min_ram!r} is not a size such as 16GB")
        if re.search("[{}]", self.output.replace(_DATE, "")):
            found.append(f"output: {self.output!r}: the only braces allowed are {_DATE}")
        found = list(dict.fromkeys([*found, *problems_of(self)])) or self._ignored()
        if found:
            raise ConfigError("\n".join(found))

    def _ignored(self) -> list[str]:
        """Returns the given options that have no effect because of the others, one line each."""
        given = {name for name, field in options().items() if getattr(self, name) != field.default}
        found = []
        if not self.reference:
            hint = "applies only to a comparison; give --reference too"
            found += [f"{name}: {hint}" for name in _OF_REFERENCE if name in given]
        if self.input_format != "auto":
            for format, names in _OF_FORMAT.items():
                found += [
                    f"{name}: is for input_format {format}; it is {self.input_format}"
                    for name in names
                    if name in given and format != self.input_format
                ]
        return found

    def effort_facts(self) -> dict[str, Any]:
        """Returns the effort, and the options that have the value it sets."""
        return {"effort": self.effort, "set": applied(self.effort, vars(self))}

    def dated(self, day: datetime.date) -> AuditConfig:
        """Returns these options with `day` in place of `{date}` in the output."""
        return dataclasses.replace(self, output=self.output.replace(_DATE, day.isoformat()))

    def model_options(self) -> ModelOptions:
        """Returns the options of the function that is explained."""
        return _part(ModelOptions, self)

    def settings(self) -> Settings:
        """Returns the options of attribution."""
        return _part(Settings, self)

    def read_options(self) -> ReadOptions:
        """Returns the options of reading images; the fields to copy include those to slice by."""
        fields = tuple(dict.fromkeys([*self.fields, *self.slice_by]))
        return dataclasses.replace(_part(ReadOptions, self), fields=fields)

    def resource_hints(self) -> dict[str, str]:
        """Returns the resource hints of the machines that compute attributions, under Beam's names."""
        hints = {"accelerator": self.accelerator, "min_ram": self.min_ram}
        return {name: value for name, value in hints.items() if value}

    def shaping(self) -> dict[str, Any]:
        """Returns the options that determine the content of rows, as JSON values: the stored config."""
        parts = (ModelOptions, Settings, ReadOptions, SliceOptions)
        names = {field.name for part in parts for field in dataclasses.fields(part)} - _BY_CONTENT
        values = {name: getattr(self, name) for name in sorted(names)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def digest(shaping: dict[str, Any], **digests: Any) -> str:
    """Returns the config digest: SHA-256 in hex of the shaping options, the version and further `digests`."""
    content = {"options": shaping, "version": __version__, **digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def options() -> dict[str, dataclasses.Field[Any]]:
    """Returns every option of a run by name, as declared."""
    return {field.name: field for field in dataclasses.fields(AuditConfig)}


def type_of(name: str) -> type:
    """Returns the type of an option: str, int, float, bool or tuple."""
    hint = _hints()[name]
    if typing.get_origin(hint) is tuple:
        return tuple
    return next(kind for kind in (bool, int, float, str) if kind is hint or kind in typing.get_args(hint))


@functools.lru_cache(maxsize=1)
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(AuditConfig)


def required() -> list[str]:
    """Returns the names of the options that every run needs."""
    return [name for name, field in options().items() if field.metadata["required"]]


def help_of(name: str) -> str:
    """Returns the help of an option, with its choices and its default.

    >>> help_of("nights")
    'use only the latest N references; 0 uses all (default 0)'
    """
    field = options()[name]
    choices, default = field.metadata["choices"], field.default
    facts = [f"one of {', '.join(map(str, choices))}"] if choices else []
    if field.metadata["required"]:
        facts.append("required")
    elif default is not None and default not in ((), ""):
        facts.append(f"default {str(default).lower() if default is False else default}")
    return f"{field.metadata['help']} ({'; '.join(facts)})" if facts else str(field.metadata["help"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every option, by groups; none has a default, so that flags can override a YAML file."""
    groups = {group: parser.add_argument_group(group) for group in GROUPS}
    for name in sorted(options(), key=lambda name: name not in required()):
        metadata, kind = options()[name].metadata, type_of(name)
        extra: dict[str, Any] = {}
        if kind is bool:
            extra = {"nargs": "?", "const": True}
        elif kind is tuple:
            extra = {"nargs": "+"}
        groups[metadata["group"]].add_argument(
            f"--{name}",
            default=argparse.SUPPRESS,
            help=help_of(name).replace("%", "%%"),
            metavar=metadata["metavar"] or _METAVARS[kind],
            **extra,
        )
    groups["running"].add_argument(
        "--config", type=text, metavar="URI", help="YAML file of options, under the same names; flags override it"
    )


def load(flags: dict[str, Any], defaults: dict[str, Any] | None = None) -> AuditConfig:
    """Returns the config of parsed flags, which override the YAML file that `config` names, which overrides `defaults`.

    What the effort sets, all of these override.

    >>> load({"input": "photos", "model": "model.keras", "output": "runs/first", "steps": "64", "rule": "left"}).steps
    64

    Raises:
        ConfigError: an option is unknown or missing, or has a value that is not allowed.
    """
    given = dict(flags)
    path = given.pop("config", None)
    named = {**(defaults or {}), **(_read_yaml(path) if path else {}), **given}
    explicit = {name: value for name, value in named.items() if value is not None}
    named |= preset(str(named.get("effort")), explicit, explicit.get("rule"))
    problems, values = [], {}
    for name, value in named.items():
        if name not in options():
            problems.append(f"{name}: is not an option{suggestion(name, options())}")
            continue
        try:
            values[name] = _convert(name, value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return AuditConfig(**values)


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(storage.read_bytes(path).decode("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"config: {path}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"config: {path}: is not a mapping of option names to values")
    return content


def _convert(name: str, value: Any) -> Any:
    """Returns a flag's text, or a YAML value, as the option's type.

    Raises:
        ValueError: it does not have that type.
    """
    kind = type_of(name)
    if value is None:
        return options()[name].default
    if kind is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        if any(item is None or isinstance(item, list | dict) for item in items):
            raise ValueError(f"{value!r} is not a list of names")
        return tuple(str(item) for item in items)
    if kind is bool:
        flag = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise ValueError(f"{value!r} is not true or false")
        return flag
    if isinstance(value, bool) and str(value).lower() in (options()[name].metadata["choices"] or ()):
        return str(value).lower()  # YAML's true
    if isinstance(value, bool | list | dict):
        raise ValueError(f"{value!r} is not one value")
    try:
        return kind(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not {'a whole number' if kind is int else 'a number'}") from None


P = typing.TypeVar("P")


def _part(part: type[P], options: Any) -> P:
    names = [field.name for field in dataclasses.fields(part)]  # type: ignore[arg-type]
    return part(**{name: getattr(options, name) for name in names})
