"""The peers' own virtual environment, made once."""

from __future__ import annotations

from collections.abc import Iterable

from support import environment
from support.environment import ROOT

FOLDER = ROOT / ".venv-peers"

PACKAGES = {
    "xplique": ("tensorflow", "xplique==1.3.3"),
    "tutorial": ("tensorflow",),
    "saliency": ("tensorflow", "saliency==0.2.1"),
    "captum": ("torch", "captum==0.9.0", "efficientnet-lite-pytorch==0.1.0"),
}
"""What pip installs for each peer. PyTorch's wheel on PyPI does not load without its CUDA packages."""

DRIFT_PACKAGES = {
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "alibi_detect": ("alibi-detect[tensorflow]==0.13.0",),
}
"""What pip installs for each program that tells samples apart: Evidently does not load with pandas 3, and alibi-detect
needs NumPy 1."""


def make_environment(peers: Iterable[str]) -> str:
    """Returns the interpreter of an environment that has all of `peers`; installs what is missing.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    return environment.make_environment(FOLDER, _packages(peers))


def versions(python: str, peers: Iterable[str]) -> dict[str, str]:
    """Returns the installed version of each package that `peers` asked for."""
    return environment.versions(python, _packages(peers))


def _packages(peers: Iterable[str]) -> list[str]:
    return sorted({package for peer in peers for package in PACKAGES[peer]})


def make_drift_environment(program: str) -> str:
    """Returns the interpreter of the environment of one of DRIFT_PACKAGES, apart from all others' versions.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    return environment.make_environment(ROOT / f".venv-{program}", DRIFT_PACKAGES[program], constraints=None)
