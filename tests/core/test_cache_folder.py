"""Caches lie where the XDG base directories say, for this user only, or else below the temporary folder."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from transforms.core.cache_folder import cache_folder


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "work")
    yield
    assert not os.listdir(tmp_path / "work")  # nothing lies where the process happens to run


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_where_the_variable_says_and_only_for_this_user(tmp_path):
    folder = cache_folder("models")
    assert folder == tmp_path / "XDG_CACHE_HOME" / "ig-audit" / "models"
    assert {mode(path) for path in (folder, folder.parent)} == {0o700}
    assert cache_folder("models") == folder


@pytest.mark.parametrize("value", [None, "", "relative", "./relative", "~/relative"])
def test_a_variable_that_is_no_absolute_path_is_ignored(tmp_path, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder("batch") == tmp_path / "HOME" / ".cache" / "ig-audit" / "batch"


def test_without_a_home_it_is_temporary(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the system does not know
    folder = cache_folder("batch")
    assert folder == tmp_path / "tmp" / f"ig-audit-{os.getuid()}" / "batch"
    assert mode(folder.parent) == 0o700


@pytest.mark.parametrize("broken", ["a file", "read-only"])
def test_where_it_can_not_be_written_it_is_temporary(tmp_path, monkeypatch, broken):
    if broken == "a file":
        (tmp_path / "XDG_CACHE_HOME").touch()
    else:
        monkeypatch.setattr(os, "access", lambda *_: False)  # for root, too
    assert cache_folder("batch").is_relative_to(tmp_path / "tmp")


@pytest.mark.parametrize("theirs", ["open to all", "a link"])
def test_what_another_user_may_have_made_is_not_used(tmp_path, monkeypatch, theirs):
    (tmp_path / "XDG_CACHE_HOME").touch()
    trap, elsewhere = tmp_path / "tmp" / f"ig-audit-{os.getuid()}", tmp_path / "elsewhere"
    if theirs == "a link":
        elsewhere.mkdir(mode=0o700)
        trap.symlink_to(elsewhere)
    else:
        trap.mkdir()
        trap.chmod(0o777)
    folder = cache_folder("batch")
    assert folder.parent != trap and mode(folder.parent) == 0o700
    assert not os.listdir(trap)
