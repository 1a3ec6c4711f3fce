"""AuditConfig: every option of a run, from flags and YAML, checked as a whole before any work.

Imports neither Beam nor TensorFlow: a wrong option costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import difflib
import hashlib
import json
import re
import typing
from dataclasses import dataclass
from typing import Any

import yaml

from transforms import __version__, storage
from transforms.core.option import option, problems_of
from transforms.core.settings import Settings
from transforms.core.slices import SliceOptions
from transforms.formats import ReadOptions

_DATE = "{date}"


class ConfigError(ValueError):
    """Options that can't be used; `str()` has one line for each that is wrong."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Settings, ReadOptions, SliceOptions):
    """The options of a run: those that shape an attribution, read images, name slices, and these."""

    input: tuple[str, ...] = option((), "URIs, globs or folders of image shards")
    model: str = option("", "TF-Hub https handle, SavedModel folder, or .keras file")
    class_names: str = option("", "text file with one class name a line")
    output: str = option("", "run directory to write: local, gs://, s3:// or hdfs://; {date} is today's in UTC")
    resume: bool = option(False, "go on with an unfinished run of the same options in the same directory")
    batch_size: str = option("auto", "steps in one model call: auto, or a number")
    reference: tuple[str, ...] = option((), "finished runs, or folders of nights, to compare this run with")
    nights: int = option(0, "the latest references to take; 0 takes all", low=0)
    thresholds: str = option("", "YAML file of what counts as a change")
    max_error_rate: float = option(0.01, "share of failing images above which the exit code is 4", low=0, high=1)
    accelerator: str = option("", "of the machines that attribute, where the runner fits them: type:T;count:N;…")
    min_ram: str = option("", "memory of the machines that attribute, where the runner fits them: 16GB")

    def __post_init__(self) -> None:
        """Raises ConfigError with every problem that can be seen without reading a file."""
        found = [f"{name}: is required" for name in ("input", "model", "output") if not getattr(self, name)]
        found += self.problems()
        if not (self.batch_size == "auto" or (self.batch_size.isdecimal() and 1 <= int(self.batch_size) <= 4096)):
            found.append(f"batch_size: {self.batch_size!r} is not auto or a number from 1 to 4096")
        if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?(?:[KMGT]i?)?B)?", self.min_ram):
            found.append(f"min_ram: {self.min_ram!r} is not a size like 16GB")
        if re.search("[{}]", self.output.replace(_DATE, "")):
            found.append(f"output: {self.output!r}: the only braces allowed are {_DATE}")
        found += [line for line in problems_of(self) if line not in found]
        if found:
            raise ConfigError("\n".join(found))

    def dated(self, day: datetime.date) -> AuditConfig:
        """Returns these options with `day` where the output says `{date}`."""
        return dataclasses.replace(self, output=self.output.replace(_DATE, day.isoformat()))

    def settings(self) -> Settings:
        """Returns the options that shape an attribution."""
        return _part(Settings, self)

    def read_options(self) -> ReadOptions:
        """Returns the options that read images; the fields to slice by are among those to carry."""
        fields = tuple(dict.fromkeys([*self.fields, *self.slice_by]))
        return dataclasses.replace(_part(ReadOptions, self), fields=fields)

    def resource_hints(self) -> dict[str, str]:
        """Returns what the machines that attribute must have, by Beam's names."""
        hints = {"accelerator": self.accelerator, "min_ram": self.min_ram}
        return {name: value for name, value in hints.items() if value}

    def shaping(self) -> dict[str, Any]:
        """Returns the options that decide what a row holds, as JSON values: what the stored config is made of."""
        parts = [field.name for part in (Settings, ReadOptions, SliceOptions) for field in dataclasses.fields(part)]
        values = {name: getattr(self, name) for name in sorted(parts)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def digest(shaping: dict[str, Any], **digests: Any) -> str:
    """Returns the config digest: sha256 hex of the shaping options, the version and further `digests`."""
    content = {"options": shaping, "version": __version__, **digests}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def options() -> dict[str, dataclasses.Field[Any]]:
    """Returns every option of a run by name, as it is declared."""
    return {field.name: field for field in dataclasses.fields(AuditConfig)}


def type_of(name: str) -> type:
    """Returns the type of an option: str, int, float, bool or tuple."""
    hint = typing.get_type_hints(AuditConfig)[name]
    if typing.get_origin(hint) is tuple:
        return tuple
    return next(kind for kind in (bool, int, float, str) if kind is hint or kind in typing.get_args(hint))


def help_of(name: str) -> str:
    """Returns what an option does, with its choices and its default."""
    field = options()[name]
    default = "" if field.default in ((), "", None, False) else f" (default {field.default})"
    choices = f": {', '.join(map(str, field.metadata['choices']))}" if field.metadata.get("choices") else ""
    return f"{field.metadata['help']}{choices}{default}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every option; none has a default, so that a YAML file can be told from a flag."""
    parser.add_argument("--config", metavar="FILE", help="YAML file of options, by URI; flags win")
    for name in options():
        extra: dict[str, Any] = {"metavar": name.upper()}
        if type_of(name) is bool:
            extra = {"nargs": "?", "const": True, "metavar": "true|false"}
        elif type_of(name) is tuple:
            extra["nargs"] = "+"
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=help_of(name).replace("%", "%%"), **extra)


def load(flags: dict[str, Any]) -> AuditConfig:
    """Returns the config of parsed flags, over those of the YAML file that `config` names.

    Raises:
        ConfigError: an option is unknown, missing, or has a value that is not allowed.
    """
    given = dict(flags)
    path = given.pop("config", None)
    named = {**(_read_yaml(path) if path else {}), **given}
    problems, values = [], {}
    for name, value in named.items():
        if name not in options():
            close = difflib.get_close_matches(name, options(), 1)
            problems.append(f"{name}: is not an option" + (f"; did you mean {close[0]}?" if close else ""))
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
        ValueError: it is not of that type.
    """
    kind = type_of(name)
    if kind is tuple:
        return tuple(str(item) for item in value) if isinstance(value, list | tuple) else (str(value),)
    if kind is bool:
        flag = {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise ValueError(f"{value!r} is not true or false")
        return flag
    if isinstance(value, bool | list | dict):
        raise ValueError(f"{value!r} is not one value")
    if value is None:
        return options()[name].default
    try:
        return kind(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not {'a whole number' if kind is int else 'a number'}") from None


P = typing.TypeVar("P")


def _part(part: type[P], options: Any) -> P:
    names = [field.name for field in dataclasses.fields(part)]  # type: ignore[arg-type]
    return part(**{name: getattr(options, name) for name in names})
