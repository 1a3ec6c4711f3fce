"""A worker process that dies or fails ends the job with one line, whether or not Beam notices."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pipeline import worker_errors


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
    monkeypatch.setattr(worker_errors, "PATIENCE_SECONDS", 0.2)
    handler, hook = signal.getsignal(signal.SIGUSR1), threading.excepthook
    yield
    assert (signal.getsignal(signal.SIGUSR1), threading.excepthook) == (handler, hook)


def test_a_wait_for_a_dead_worker_ends():
    start = time.monotonic()
    with (
        pytest.raises(RuntimeError, match="a worker process ended in the middle of its work"),
        worker_errors.told_plainly(local=True),
    ):
        die("run_worker")
        wait()
    assert time.monotonic() - start < 30


def test_what_beam_notices_is_told_alike():
    with pytest.raises(RuntimeError, match="a worker process ended"), worker_errors.told_plainly(local=True):
        raise RuntimeError("Channel closed prematurely.")


def test_a_job_that_ends_in_time_is_let_be():
    with worker_errors.told_plainly(local=True):
        thread = die("run_worker")
    thread.join()
    wait(0.5)


def test_other_threads_and_errors_are_let_be():
    with worker_errors.told_plainly(local=True):
        die("another")
        wait(0.5)
    with pytest.raises(RuntimeError, match=r"^something else$"), worker_errors.told_plainly(local=True):
        raise RuntimeError("something else")


def test_in_another_thread_nothing_is_woken():
    errors = []

    def block() -> None:
        with worker_errors.told_plainly(local=True):
            die("run_worker").join()
            wait(0.5)
        errors.append(None)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert errors == [None]


TRACE = """{before}Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 686, in apache_beam.runners.common.SimpleInvoker.invoke_process
KeyError: 'first'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "transforms/attribute.py", line 177, in _attribute
    with open(part) as file:
         ^^^^^^^^^^
RuntimeError: OSError: [Errno 28] No space left on device: 'part'{step}
{after}"""


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("step", ["", " [while running 'AttributeChunks/ParDo(_AttributeChunks)']"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("Failed in state FAILED: java.lang.RuntimeException: Error: ", "\n\tat org.apache\nCaused by"),
    ],
)
def test_what_a_worker_raised_is_told_without_its_trace(local, step, before, after):
    with pytest.raises(RuntimeError) as caught, worker_errors.told_plainly(local):
        raise RuntimeError(TRACE.format(before=before, step=step, after=after))
    told = "a worker failed: OSError: [Errno 28] No space left on device: 'part'; IG_AUDIT_DEBUG=1 shows where, "
    assert str(caught.value) == told + "the same command with --resume goes on"


def test_no_memory_for_a_thread_is_told_as_such():
    with (
        pytest.raises(RuntimeError, match="thread: out of memory, or of pro"),
        worker_errors.told_plainly(True),
    ):
        raise RuntimeError("Traceback (most recent call last):\n  File x\nRuntimeError: can't start new thread\n")
