"""Tests against external programs, each in an environment of its own: `.ci/external [NAME…]`.

A folder `tests/external/NAME` holds `requirements.txt`, from which pip makes the environment `.venv-external/NAME`, if
need be a `constraints.txt` in place of ours, and `test_*.py`, which pytest runs there from the root of the repository,
so that the working tree can be imported. There, warnings are not errors. The table is the one of docs/external.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.environment import CONSTRAINTS, ROOT, make_environment, versions

FOLDER = ROOT / "tests" / "external"
ENVIRONMENTS = ROOT / ".venv-external"


@dataclass(frozen=True)
class Result:
    """The result of a folder's tests.

    Attributes:
        passed: whether there are tests that passed, and none that failed.
        outcome: pytest's counts, such as `2 passed`, or why there are none.
        output: the complete output of pytest or pip.
        seconds: duration of the tests, without the installation.
    """

    passed: bool
    outcome: str
    output: str = ""
    seconds: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table in Markdown, and the output of failed tests; returns 1 if any failed."""
    there = sorted(path.parent.name for path in FOLDER.glob("*/requirements.txt"))
    parser = argparse.ArgumentParser(".ci/external", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(there)} (default: all)")
    parser.add_argument(
        "--limit", type=float, default=600, metavar="SECONDS", help="time limit for the tests of each (default 600)"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(there)):
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(there)}")
    rows, results = [], []
    for name in options.names or there:
        result, installed = check(FOLDER / name, options.limit)
        if not result.passed:
            print(f"== {name}: {result.outcome}\n{result.output}", file=sys.stderr)
        results.append(result)
        rows.append((name, installed, result))
    print(table(rows, datetime.date.today()))
    return int(not all(result.passed for result in results))


def check(folder: Path, limit: float) -> tuple[Result, dict[str, str]]:
    """Returns the result of the tests in a folder, and the versions of the packages in its requirements."""
    requirements = read_requirements(folder / "requirements.txt")
    try:
        own = folder / "constraints.txt"
        constraints = own if own.exists() else CONSTRAINTS
        python = make_environment(ENVIRONMENTS / folder.name, ["pytest", *requirements], constraints)
    except subprocess.CalledProcessError as error:
        return Result(False, f"not installed: pip ended with {error.returncode}"), {}
    return run_tests(folder, python, limit), versions(python, requirements)


def read_requirements(path: Path) -> list[str]:
    """Returns the lines of a requirements file without comments."""
    lines = (line.partition(" #")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def run_tests(folder: Path, python: str, limit: float) -> Result:
    """Returns the result of a folder's tests, run by a Python that has pytest; kills them after `limit` seconds."""
    options = ["--quiet", "--confcutdir", str(folder), "-W", "default", "-p", "no:cacheprovider", "-rs"]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        command = [python, "-m", "pytest", *options, str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        late = False
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # children too, which may outlive even tests that passed
            process.wait()
        seconds = time.monotonic() - start
        output.seek(0)
        said = output.read()
    counts = said.strip().rpartition("\n")[2].partition(" in ")[0].strip("= ")
    if late:
        return Result(False, f"still running after {limit:g} s", said, seconds)
    return Result(process.returncode == 0 and "passed" in counts, counts, said, seconds)


def table(rows: Iterable[tuple[str, dict[str, str], Result]], day: datetime.date) -> str:
    """Returns the results in Markdown."""
    lines = ["| name | versions | result | seconds | date |", "|---|---|---|---|---|"]
    for name, installed, result in rows:
        packages = ", ".join(f"{package} {version}" for package, version in installed.items())
        lines.append(f"| {name} | {packages} | {result.outcome} | {result.seconds:.0f} | {day} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
