"""Runs are written and read without pandas, which is no requirement: only the tests' environment has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'")
sys.meta_path.insert(0, Missing())
from pipeline.report import write_report
from pipeline.verify.check import verify
from tests.stored_run import write_run
from transforms.store.run import Run
folder = sys.argv[1]
write_run(folder)
run = Run.open(folder)
assert not verify(run)
assert list(run.rows()) and len(run.statistics()) and list(run.errors()) is not None
write_report(run)
"""


def test_a_run_is_written_verified_and_reported_without_pandas(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
