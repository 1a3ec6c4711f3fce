"""What belongs to the whole run is written, and what does not deleted, only by the run that holds the directory."""

from __future__ import annotations

import os

import pytest

from transforms import finish, store
from transforms.core.errors import JobError
from transforms.core.record import Randomization
from transforms.progress import Meter
from transforms.store import lock
from transforms.store.run import Run
from transforms.worker import AttributorSpec


@pytest.fixture
def stage(tmp_path):
    provenance = store.Provenance(config={}, config_digest="", model="", model_digest="", versions={})
    return finish.FinishRun(str(tmp_path / "run"), provenance, "", 10, AttributorSpec("model"), {}, Meter(), "")


def write(stage) -> None:
    stage._write(stage.output, (), [], [], (Randomization(reason="none"), None))


@pytest.fixture
def stray(stage) -> str:
    path = os.path.join(stage.output, "attributions", ".ig-audit-0.tmp")
    os.makedirs(os.path.dirname(path))
    open(path, "w").close()
    return path


def test_its_holder_writes_the_manifest_and_deletes_what_was_left(stage, stray):
    with lock.hold(stage.output) as held:
        stage.holder = held.run
        write(stage)
    assert Run.open(stage.output).is_finished and not os.path.exists(stray)


def test_a_retry_after_the_lock_was_released_is_no_loser(stage, stray):
    stage.holder = "this run"
    write(stage)
    assert Run.open(stage.output).is_finished


def test_a_run_that_lost_its_lock_deletes_and_writes_nothing(stage, stray):
    stage.holder = "the loser"
    with lock.hold(stage.output), pytest.raises(JobError, match="another run has taken over"):
        write(stage)
    assert not Run.open(stage.output).is_finished and os.path.exists(stray)


def test_a_lock_that_is_lost_meanwhile_leaves_no_manifest(stage, stray, monkeypatch):
    stage.holder = "the loser"
    written = store.write_statistics

    def lose(*arguments):
        lock._write(f"{stage.output}/.lock", lock._this_process())
        return written(*arguments)

    monkeypatch.setattr(store, "write_statistics", lose)
    with pytest.raises(JobError, match="another run has taken over"):
        write(stage)
    assert not Run.open(stage.output).is_finished


def test_a_job_that_has_ended_meanwhile_writes_nothing(stage, stray, tmp_path):
    stage.meter = Meter(str(tmp_path / "gone"))
    with pytest.raises(JobError, match="has ended meanwhile"):
        write(stage)
    assert os.path.exists(stray)
