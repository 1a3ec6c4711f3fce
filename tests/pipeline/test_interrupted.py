"""A run that is asked to end, by Ctrl-C or by the system, ends soon, leaves nothing behind, and resumes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms import process

pytestmark = pytest.mark.slow

SECONDS = 120.0
PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return str(write_shard(folder, "tfrecord", [png(picture) for picture in pictures(200)])), smooth(folder / "model")


@contextlib.contextmanager
def started(folder: Path, inputs: tuple[str, str], *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a run that takes minutes; yields it when it has begun to write a part and to decode."""
    images, model = inputs
    options = {"input": images, "model": model, "output": folder / "run", "rule": "midpoint", "steps": "400"}
    command = [sys.executable, "-m", "pipeline", "run", "--chunk_images=20"]
    (folder / "tmp").mkdir()
    with subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items()), *flags],
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            end = time.monotonic() + SECONDS
            while not (list(folder.glob("run/attributions/.ig-audit-*")) and process.descendants(run.pid)):
                assert run.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            yield run
        finally:
            run.kill()


@pytest.mark.parametrize(
    ("number", "to_all", "flags"),
    [
        (signal.SIGTERM, False, ()),
        (signal.SIGINT, True, PROCESSES),  # as a terminal sends it
    ],
)
def test_an_interrupted_run_says_how_to_go_on_and_leaves_nothing_behind(tmp_path, inputs, number, to_all, flags):
    with started(tmp_path, inputs, *flags) as run:
        children = process.descendants(run.pid)
        (os.killpg if to_all else os.kill)(run.pid, number)
        _, errors = run.communicate(timeout=SECONDS)
    assert run.returncode == 1
    assert errors.endswith(f"ig-audit: interrupted ({number.name}); the same command with --resume continues\n")
    assert "Traceback" not in errors and "KeyboardInterrupt" not in errors
    left = [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert all(name.startswith("part-") for name in left)
    assert not os.listdir(tmp_path / "tmp")
    end = time.monotonic() + 10  # that guards take to see that their parent is gone
    while alive := [child for child in children if os.path.exists(f"/proc/{child}")]:
        assert time.monotonic() < end, alive
        time.sleep(0.1)
