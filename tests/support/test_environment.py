"""Environments: what is installed when, without a network; and which version of what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import environment


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """Records calls of pip, whose first argument after `-c FILE` is what it installs; environments are bare folders."""
    calls: list[list[str]] = []

    def create(folder: Path, with_pip: bool, clear: bool) -> None:
        assert with_pip and clear
        calls.append(["venv"])
        folder.mkdir(exist_ok=True)

    def run(command: list[str], **options: object) -> None:
        words = command[command.index("-c") + 2 :]
        calls.append(words)
        if "broken" in words:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(environment.venv, "create", create)
    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(environment, "_digest", lambda: "a")
    return calls


def test_only_what_is_missing_is_installed(pip, tmp_path):
    folder = tmp_path / "one"
    python = environment.make_environment(folder, ["numpy", "-e .[samples]"])
    assert python == str(folder / "bin" / "python")
    assert pip == [["venv"], ["-e", ".[samples]", "numpy"]]
    environment.make_environment(folder, ["numpy"])
    environment.make_environment(folder, ["numpy", "pandas ; python_version > '3'"])
    assert pip[2:] == [["pandas ; python_version > '3'"]]


def test_all_is_installed_again_if_the_pinned_versions_change(pip, tmp_path, monkeypatch):
    environment.make_environment(tmp_path / "one", ["numpy", "pandas"])
    monkeypatch.setattr(environment, "_digest", lambda: "b")
    environment.make_environment(tmp_path / "one", ["numpy"])
    environment.make_environment(tmp_path / "one", ["pandas"])
    assert pip[2:] == [["numpy"], ["pandas"]]


def test_an_environment_whose_installation_failed_is_made_anew(pip, tmp_path):
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            environment.make_environment(tmp_path / "one", ["broken"])
    assert pip == [["venv"], ["broken"]] * 2


def test_versions_are_those_of_named_packages(monkeypatch):
    listed = [
        {"name": "Typing_Extensions", "version": "4"},
        {"name": "numpy", "version": "2"},
        {"name": "x", "version": "1"},
    ]
    done = subprocess.CompletedProcess([], 0, json.dumps(listed))
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: done)
    requirements = ["typing-extensions>=3", "numpy[a]==2 ; python_version > '3'", "-e .", "./here"]
    assert environment.versions(sys.executable, requirements) == {"typing-extensions": "4", "numpy": "2"}
