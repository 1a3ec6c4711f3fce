"""The peers' own virtual environment, made once."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"

PACKAGES = {
    "xplique": ("tensorflow", "xplique==1.3.3"),
    "tutorial": ("tensorflow",),
    "saliency": ("tensorflow", "saliency==0.2.1"),
    "captum": ("torch", "captum==0.9.0", "efficientnet-lite-pytorch==0.1.0"),
}
"""What pip installs for each peer. PyTorch's wheel on PyPI does not load without its CUDA packages."""


def make_environment(peers: Iterable[str]) -> str:
    """Returns the interpreter of an environment that has all of `peers`; installs what is missing.

    TensorFlow and all that ig-audit also uses come in the versions of constraints.txt.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    python = FOLDER / "bin" / "python"
    stamp = FOLDER / "installed.json"
    wanted = sorted({package for peer in peers for package in PACKAGES[peer]})
    installed = json.loads(stamp.read_text()) if stamp.exists() else []
    if missing := sorted(set(wanted) - set(installed)):
        print(f"Installing {', '.join(missing)} into {FOLDER}", file=sys.stderr)
        if not python.exists():
            venv.create(FOLDER, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *missing], check=True)
        stamp.write_text(json.dumps(sorted({*installed, *missing})))
    return str(python)


def versions(python: str, peers: Iterable[str]) -> dict[str, str]:
    """Returns the installed version of each package that `peers` asked for."""
    command = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {package["name"].lower(): package["version"] for package in listed}
    names = {package.partition("==")[0] for peer in peers for package in PACKAGES[peer]}
    return {name: found[name] for name in sorted(names)}
