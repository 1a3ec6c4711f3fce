"""The DAG under real Airflow, in an environment of its own: its tasks, and what they make of exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.distributed import engines

DAG = Path(__file__).parents[2] / "templates/schedule/airflow_dag.py"

LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
(dag,) = bag.dags.values()
tasks = {
    name: {"retries": task.retries, "next": sorted(task.downstream_task_ids), "rule": str(task.trigger_rule.value)}
    for name, task in dag.task_dict.items()
}
found = {"errors": bag.import_errors, "tasks": tasks, "runs": dag.max_active_runs, "catchup": dag.catchup}
print("FOUND" + json.dumps(found | {"alerts": bool(dag.task_dict["run"].on_failure_callback)}))
"""

CALL = """
import json, os, runpy, sys
run = runpy.run_path(sys.argv[1])["ig_audit"]().task_dict["run"].python_callable
found = []
for code in range(5):
    os.environ["CODE"] = str(code)
    try:
        found.append(repr(run(ds="2026-11-21")))
    except Exception as error:
        found.append(f"{type(error).__name__}: {error}")
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return engines.airflow()
    except engines.UnavailableError as error:
        pytest.skip(str(error))


def ask(python: Path, script: str, folder: Path) -> Any:
    """Returns what `script` finds in the DAG's file, with programs in `folder` before all others."""
    environment = {**os.environ, "AIRFLOW_HOME": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}
    environment["IG_AUDIT_ROOT"] = "/nights"
    done = subprocess.run([python, "-c", script, DAG], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("FOUND")[2])


@pytest.mark.distributed
def test_airflow_finds_the_dag_and_its_tasks(python, tmp_path):
    found = ask(python, LOOK, tmp_path)
    assert found.pop("tasks") == {
        "run": {"retries": 3, "next": ["forget"], "rule": "all_success"},
        "forget": {"retries": 0, "next": [], "rule": "all_done"},
    }
    assert found == {"errors": {}, "runs": 1, "catchup": False, "alerts": True}


@pytest.mark.distributed
def test_a_run_is_tried_again_only_where_that_may_help(python, tmp_path):
    program = tmp_path / "ig-audit"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/arguments"\nexit "$CODE"\n')
    program.chmod(0o755)
    assert ask(python, CALL, tmp_path) == [
        "None",
        "AirflowException: the job failed with exit code 1; the next attempt resumes it",
        "AirflowFailException: unusable options or input",
        "AirflowFailException: drift",
        "AirflowFailException: too many failing images",
    ]
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[0] == "run" and arguments[arguments.index("--output") + 1] == "/nights/nights/2026-11-21"
