"""The runner of external tests, on folders that need no environment of their own."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import external

OUTCOMES = {
    "def test_one(): pass\ndef test_two(): assert False": (False, "1 failed, 1 passed"),
    "import pytest\ndef test_one(): pytest.skip('not here')": (False, "1 skipped"),
    "import warnings\ndef test_one(): warnings.warn('theirs')": (True, "1 passed, 1 warning"),
    "": (False, "no tests ran"),
}


@pytest.fixture(autouse=True)
def only_pytest_itself(monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # plugins take most of a second to import


@pytest.mark.parametrize("text", OUTCOMES)
def test_passed_means_some_passed_and_none_failed(tmp_path, text):
    (tmp_path / "test_theirs.py").write_text(text)
    result = external.run_tests(tmp_path, sys.executable, 60)
    assert (result.passed, result.outcome) == OUTCOMES[text], result.output


def test_a_late_test_is_ended_with_its_children(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nsleep 1000 &\necho $!\nwait\n")
    python.chmod(0o755)
    result = external.run_tests(tmp_path, str(python), 2)
    assert not result.passed and result.outcome == "still running after 2 s"
    assert 2 <= result.seconds < 60
    child, end = Path("/proc", result.output.strip(), "stat"), time.monotonic() + 10
    while (alive := child.exists() and " Z " not in child.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name, text in {"fine": "def test(): pass", "wrong": "def test(): assert 0", "absent": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text(
            "# why\n\nnumpy  # as ours\n" + "absent\n" * (name == "absent")
        )
        (tmp_path / name / "test_theirs.py").write_text(text)
    (tmp_path / "no_requirements").mkdir()
    (tmp_path / "wrong" / "constraints.txt").write_text("numpy<2")

    def make(folder: Path, requirements: list[str], constraints: Path) -> str:
        assert requirements[:2] == ["pytest", "numpy"]
        own = tmp_path / "wrong" / "constraints.txt"
        assert constraints == (own if folder.name == "wrong" else external.CONSTRAINTS)
        if "absent" in requirements:
            raise subprocess.CalledProcessError(1, "pip")
        return sys.executable

    monkeypatch.setattr(external, "FOLDER", tmp_path)
    monkeypatch.setattr(external, "make_environment", make)
    monkeypatch.setattr(external, "versions", lambda *_: {"numpy": "2.0"})


def test_the_table_names_versions_and_results(folders, capsys):
    assert external.main([]) == 1
    printed = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in printed.out.splitlines()[2:]]
    assert rows == [
        ["absent", "", "not installed: pip ended with 1"],
        ["fine", "numpy 2.0", "1 passed"],
        ["wrong", "numpy 2.0", "1 failed"],
    ]
    assert str(datetime.date.today().year) in printed.out
    assert "assert 0" in printed.err and "== fine" not in printed.err


def test_only_what_is_named_runs_and_must_be_there(folders, capsys):
    assert external.main(["fine"]) == 0
    assert "wrong" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        external.main(["no_requirements"])
    assert refused.value.code == 2
    assert "no_requirements: not one of absent, fine, wrong" in capsys.readouterr().err


def test_the_suite_leaves_external_tests_out_unless_they_are_named(tmp_path):
    for name in ("tests/test_ours.py", "tests/external/peer/test_theirs.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def test(): pass")
    shutil.copy(external.ROOT / "pyproject.toml", tmp_path)
    listed = re.search(r"find tests .* -print", (external.ROOT / "run_local.sh").read_text())
    assert listed is not None
    assert run(tmp_path, "bash", "-c", listed[0]) == "tests/test_ours.py\n"
    collect = [sys.executable, "-m", "pytest", "--collect-only", "--quiet"]
    assert run(tmp_path, *collect).startswith("tests/test_ours.py::test\n\n1 test collected")
    assert run(tmp_path, *collect, "tests/external/peer").startswith(
        "tests/external/peer/test_theirs.py::test\n\n1 test"
    )


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
