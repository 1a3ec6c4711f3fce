"""Virtual environments for programs that do not run in that of ig-audit."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


def make_environment(folder: Path, requirements: Iterable[str], constraints: Path | None = CONSTRAINTS) -> str:
    """Returns the interpreter of an environment that has all of `requirements`; installs missing ones.

    TensorFlow and all other dependencies of ig-audit have the versions of constraints.txt; if these change, all are
    installed again.

    Args:
        folder: of the environment; created if it is missing or incomplete.
        requirements: lines of a requirements file; paths are relative to the root of the repository.
        constraints: a file of versions; None for a program that needs others, and nothing of ig-audit.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    python, stamp = folder / "bin" / "python", folder / "environment.json"
    current = _digest()
    installed = json.loads(stamp.read_text()) if stamp.exists() else {}
    known = installed["requirements"] if installed.get("digest") == current else []
    if missing := sorted(set(requirements) - set(known)):
        print(f"Installing {', '.join(missing)} into {folder}", file=sys.stderr)
        if not installed:
            venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        words = [word for line in missing for word in (shlex.split(line) if line.startswith("-") else [line])]
        limits = ["-c", str(constraints)] if constraints else []
        subprocess.run([*pip, *limits, *words], cwd=ROOT, stdout=sys.stderr, check=True)
        stamp.write_text(json.dumps({"digest": current, "requirements": sorted({*known, *missing})}))
    return str(python)


def versions(python: str, requirements: Iterable[str]) -> dict[str, str]:
    """Returns the installed version of each package that `requirements` names, by its name there."""
    command = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {_canonical(package["name"]): package["version"] for package in listed}
    matches = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in requirements)
    names = (match[0] for match in matches if match)
    return {name: found[_canonical(name)] for name in names if _canonical(name) in found}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest() -> str:
    """Returns a digest that changes if other versions are to be installed."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in (CONSTRAINTS, ROOT / "setup.py"))).hexdigest()
