"""One run at a time: a living holder is respected on every store, a dead one is taken over."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import worker_errors
from transforms import process, storage
from transforms.core.errors import JobError
from transforms.store import lock
from transforms.store.lock import Holder, InUseError, Pace, hold

QUICK = Pace(beat=0.03, lease=0.4, settle=0.05)


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path) -> str:
    if request.param == "local":
        return str(tmp_path / "run")
    base = f"mock://{tmp_path.name}/run"
    filesystem, path = storage.resolve(base)
    filesystem.create_dir(path)
    return base


def holder(folder: str) -> Holder:
    return Holder(**json.loads(storage.read_bytes(storage.join(folder, lock.LOCK))))


def leave(folder: str, **changes) -> None:
    """Leaves the lock of a holder on another machine that never renews it."""
    there = Holder("other", "elsewhere", 7, "a boot elsewhere/pid 7/1", "2026-11-21T00:00:00+00:00")
    content = json.dumps(dataclasses.asdict(dataclasses.replace(there, **changes)))
    storage.write_bytes(storage.join(folder, lock.LOCK), content.encode())


def test_a_second_run_is_refused_while_the_first_lives_and_let_in_after(folder):
    with hold(folder, QUICK):
        with (
            pytest.raises(InUseError, match=f"process {os.getpid()} on .*two runs cannot share a directory"),
            hold(folder, QUICK),
        ):
            pass
        assert holder(folder).pid == os.getpid()  # the refused one left it alone
    assert not storage.names(folder)
    with hold(folder, QUICK):
        pass


def test_a_lock_that_is_not_renewed_is_taken_over_after_the_lease(folder, capsys):
    leave(folder)
    start = time.monotonic()
    with hold(folder, QUICK):
        assert holder(folder).pid == os.getpid()
    assert time.monotonic() - start >= QUICK.lease
    assert "process 7 on elsewhere" in capsys.readouterr().err


def test_a_lock_that_is_renewed_elsewhere_is_not_taken_over_however_its_clock_goes(folder):
    done = threading.Event()

    def beat() -> None:
        beats = 0
        while not done.wait(0.05):
            leave(folder, beats=(beats := beats + 1))

    leave(folder)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(InUseError, match="process 7 on elsewhere"), hold(folder, QUICK):
            pass
    finally:
        done.set()
        thread.join()


def test_a_killed_run_of_this_machine_is_taken_over_at_once(tmp_path):
    code = """
import sys, time
from transforms.store.lock import hold
with hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()
    with hold(str(tmp_path), Pace(lease=1e6, settle=0.1)):
        assert holder(str(tmp_path)).pid == os.getpid()


def test_a_process_that_got_a_dead_ones_number_is_not_it():
    mine = lock._process(os.getpid())
    assert mine == lock._process(os.getpid()) != ""
    here, _, number = mine.partition(" ")
    earlier = Holder("r", "h", os.getpid(), f"{here} {number.partition('/')[0]}/1", "2026-11-21T00:00:00+00:00")
    assert earlier.lives() is False
    assert dataclasses.replace(earlier, process=mine).lives() is True
    assert dataclasses.replace(earlier, process=f"another boot/pid {number}").lives() is None


def test_of_many_that_start_at_once_one_holds(folder):
    held, refused, start = [], [], threading.Barrier(6)

    def run() -> None:
        start.wait()
        try:
            with hold(folder, QUICK):
                held.append(holder(folder).run)
                time.sleep(0.5)
        except InUseError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 5)


def test_a_run_whose_lock_was_taken_over_stops(folder):
    with pytest.raises(RuntimeError, match="another run has taken over"), hold(folder, QUICK):
        for _ in range(50):  # a beat that has begun may write its own once more, as over a run that has not settled
            leave(folder)
            time.sleep(0.1)
    assert holder(folder).run == "other"


@pytest.mark.parametrize("wrapped", [False, True])
def test_as_a_job_runs_it_a_lost_lock_ends_the_wait_for_the_runner(folder, wrapped):
    start, killed = time.monotonic(), []
    with (
        pytest.raises(JobError, match="another run has taken over"),
        pytest.MonkeyPatch.context() as patch,
        hold(folder, QUICK),
        worker_errors.plain_errors(local=True),
    ):
        patch.setattr(process, "end_processes", killed.append)
        leave(folder)
        try:
            time.sleep(20)
        except BaseException as error:
            if not wrapped:
                raise
            raise RuntimeError(f"{error!r} [while running 'FinishRun/Write']") from error
    assert time.monotonic() - start < 10
    assert killed == ["apache_beam.runners.worker.sdk_worker_main"]
    assert holder(folder).run == "other"


def test_a_dead_worker_is_told_while_the_lock_is_held_and_releases_it(folder, monkeypatch):
    monkeypatch.setattr(worker_errors, "PATIENCE_SECONDS", 0.1)
    names = {"__name__": "apache_beam.runners"}
    exec("def run():\n    raise RuntimeError('Worker subprocess exited with return code 137')", names)
    with (
        pytest.raises(JobError, match="a worker process ended in the middle"),
        hold(folder, QUICK),
        worker_errors.plain_errors(local=True),
    ):
        threading.Thread(target=names["run"], name="run_worker").start()
        time.sleep(20)
    assert not storage.names(folder)


def test_a_run_in_another_thread_that_lost_its_lock_ends_with_that(folder):
    ended = []

    def run() -> None:
        try:
            with hold(folder, QUICK) as held:
                leave(folder)
                time.sleep(0.5)
                with pytest.raises(JobError, match="taken over"):
                    held.check()
        except JobError as error:
            ended.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(ended) == 1 and "another run has taken over" in ended[0]
    assert holder(folder).run == "other"


@pytest.mark.parametrize("error", [OSError("503"), pa.ArrowInvalid("no"), ValueError("no JSON"), KeyError("run")])
def test_whatever_the_store_raises_the_renewal_goes_on(folder, monkeypatch, error):
    read = storage.read_bytes
    failing = threading.Event()
    failing.set()

    def fail(uri, *arguments):
        if failing.is_set():
            raise error
        return read(uri, *arguments)

    with hold(folder, QUICK) as held:
        monkeypatch.setattr(storage, "read_bytes", fail)
        time.sleep(QUICK.lease)
        with pytest.raises(type(error)):
            held.check()  # nothing is written in the dark
        failing.clear()
        before = holder(folder).beats
        time.sleep(0.3)
        held.check()
        assert holder(folder).beats > before
    with pytest.raises(JobError, match="another run has taken over"), hold(folder, QUICK):
        failing.set()
        time.sleep(0.2)
        leave(folder)
        failing.clear()
        time.sleep(5)


@pytest.mark.parametrize("folder", ["remote"], indirect=True)
def test_an_interruption_while_it_settles_leaves_no_lock(folder, monkeypatch):
    def interrupt(_: float) -> None:
        assert storage.names(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(lock.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt), hold(folder, QUICK):
        pass
    assert not storage.names(folder)


def test_a_submitted_job_holds_until_it_ends_or_for_a_day(folder):
    with hold(folder, QUICK) as held:
        held.submit()
    with (
        pytest.raises(InUseError, match=r"a job submitted on .*if that job is dead, delete .*/\.lock"),
        hold(folder, QUICK),
    ):
        pass
    lock.release_submitted(folder)
    with hold(folder, QUICK):
        lock.release_submitted(folder)
        assert holder(folder).pid == os.getpid()
    day = datetime.timedelta(hours=lock.SUBMITTED_HOURS + 1)
    leave(folder, submitted=True, started=(datetime.datetime.now(datetime.timezone.utc) - day).isoformat())
    with hold(folder, QUICK):
        pass


def test_a_failed_submission_leaves_no_lock(folder):
    with contextlib.suppress(OSError), hold(folder, QUICK) as held:
        held.submit()
        raise OSError("the cluster is away")
    assert not storage.names(folder)


def test_a_store_that_fails_at_the_end_fails_no_run(folder, monkeypatch):
    def fail(_):
        raise OSError("503")

    with hold(folder, QUICK):
        monkeypatch.setattr(storage, "delete", fail)
    assert holder(folder).pid == os.getpid()


def test_a_lock_of_another_version_is_watched_like_any(folder):
    storage.write_bytes(storage.join(folder, lock.LOCK), b"\xffnot JSON")
    with hold(folder, QUICK):
        assert holder(folder).pid == os.getpid()


def test_a_folder_that_was_made_for_the_lock_goes_with_it(tmp_path):
    with hold(str(tmp_path / "run"), QUICK):
        pass
    assert not (tmp_path / "run").exists()
    with hold(str(tmp_path / "run"), QUICK):
        Path(tmp_path / "run" / "part").touch()
    assert os.listdir(tmp_path / "run") == ["part"]
