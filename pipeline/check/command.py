"""Runs a check and prints what it found."""

from __future__ import annotations

import json

from pipeline import launch
from pipeline.check.examine import examine
from pipeline.check.page import page
from pipeline.config import AuditConfig, ConfigError
from pipeline.exit_code import ExitCode
from transforms import storage, worker
from transforms.text import printable


def check(config: AuditConfig, json_file: str | None = None, interval: float | None = None) -> ExitCode:
    """Checks what `config` describes, and returns UNUSABLE if a run could attribute none of the images looked at.

    Args:
        config: the options of a run.
        json_file: where to also write the report as JSON; `-` prints it in place of the page.
        interval: half width to which a mean is to be known, whose cost is wanted; None if it is not.

    Raises:
        ConfigError: an option, the input or the model cannot be used.
        OSError: the storage fails, or the file cannot be written.
    """
    report = examine(config, interval)
    content = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    if json_file and json_file != "-":
        storage.write_bytes(json_file, content.encode("utf-8", "backslashreplace"))
    print(content.encode("utf-8", "backslashreplace").decode() if json_file == "-" else page(report))
    return ExitCode.FINE if report.usable else ExitCode.UNUSABLE


def list_layers(config: AuditConfig) -> ExitCode:
    """Prints the layers of a model that `--layer` can name, one a line, with their shapes.

    Raises:
        ConfigError: the model cannot be used.
    """
    try:
        found = worker.layers(launch.spec_of(config))
    except OSError as error:
        raise ConfigError(f"model: {config.model}: {error}") from error
    for name, shape in found:
        print(f"{printable(name)}  [{', '.join('batch' if side is None else str(side) for side in shape)}]")
    return ExitCode.FINE
