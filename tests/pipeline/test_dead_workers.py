"""A worker process that dies ends the job with one line, whether or not Beam notices."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pipeline import dead_workers


def die(name: str) -> threading.Thread:
    """Starts a thread that raises, as Beam's does when its worker process ended."""

    def fail() -> None:
        raise RuntimeError("Worker subprocess exited with return code 137")

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    return thread


def wait(seconds: float = 60.0) -> None:
    """Waits as Beam's main thread does."""
    condition = threading.Condition()
    with condition:
        condition.wait(seconds)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(dead_workers, "PATIENCE_SECONDS", 0.2)
    handler, hook = signal.getsignal(signal.SIGUSR1), threading.excepthook
    yield
    assert (signal.getsignal(signal.SIGUSR1), threading.excepthook) == (handler, hook)


def test_a_wait_for_a_dead_worker_ends():
    start = time.monotonic()
    with (
        pytest.raises(RuntimeError, match="a worker process ended in the middle of its work"),
        dead_workers.told_plainly(),
    ):
        die("run_worker")
        wait()
    assert time.monotonic() - start < 30


def test_what_beam_notices_is_told_alike():
    with pytest.raises(RuntimeError, match="a worker process ended"), dead_workers.told_plainly():
        raise RuntimeError("Channel closed prematurely.")


def test_a_job_that_ends_in_time_is_let_be():
    with dead_workers.told_plainly():
        thread = die("run_worker")
    thread.join()
    wait(0.5)


def test_other_threads_and_errors_are_let_be():
    with dead_workers.told_plainly():
        die("another")
        wait(0.5)
    with pytest.raises(RuntimeError, match=r"^something else$"), dead_workers.told_plainly():
        raise RuntimeError("something else")


def test_in_another_thread_nothing_is_woken():
    errors = []

    def block() -> None:
        with dead_workers.told_plainly():
            die("run_worker").join()
            wait(0.5)
        errors.append(None)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert errors == [None]
