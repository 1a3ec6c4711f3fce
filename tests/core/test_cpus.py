"""The processors that a process may use are those of its affinity, less what its cgroups hold back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from transforms.core import cpus
from transforms.core.cpus import usable_cpus


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """No cgroups but those that a test makes; a machine of 16 processors."""
    monkeypatch.setattr(cpus, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cpus, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return tmp_path


def test_the_affinity_counts_and_not_the_machine(groups, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cpus() == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_a_process_that_is_pinned_uses_what_it_is_pinned_to():
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "from transforms.core.cpus import usable_cpus; print(usable_cpus())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("count", [8, None])
def test_without_an_affinity_the_machine_counts(groups, monkeypatch, count):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cpus() == (count or 1)


@pytest.mark.parametrize(
    ("quotas", "usable"),
    [
        ({"": "max 100000", "a": "400000 100000"}, 4),
        ({"a": "400000 100000", "a/b": "max 100000"}, 4),  # of the group above
        ({"a": "400000 100000", "a/b": "150000 100000"}, 2),  # a thread more uses the half that is left
        ({"": "250000 100000"}, 3),
        ({"a/b": "1000 100000"}, 1),
        ({"a/b": "9900000 100000"}, 16),
        ({"a/b": "damaged"}, 16),
        ({"a/b": "1 0"}, 16),
        ({"other": "100000 100000"}, 16),
        ({}, 16),
    ],
)
def test_quotas_of_all_groups_above_count(groups, quotas, usable):
    (groups / "own").write_text("1:cpu:/other\n0::/a/b\n")
    for name, content in quotas.items():
        folder = groups / "groups" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{content}\n")
    assert usable_cpus() == usable
