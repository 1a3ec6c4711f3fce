"""A worker process that dies or fails ends the job with one line, whether or not Beam notices."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pipeline import worker_errors
from transforms.core.errors import JobError, UsageError


def die(name: str, module: str = "apache_beam.runners.portability.local_job_service") -> threading.Thread:
    """Starts a thread that raises in `module`, as Beam's does when its worker process ended."""
    names = {"__name__": module}
    exec("def run():\n    raise RuntimeError('Worker subprocess exited with return code 137')", names)
    thread = threading.Thread(target=names["run"], name=name)
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
    handler, hook = signal.getsignal(signal.SIGURG), threading.excepthook
    yield
    assert (signal.getsignal(signal.SIGURG), threading.excepthook) == (handler, hook)


def test_a_wait_for_a_dead_worker_ends():
    start = time.monotonic()
    with (
        pytest.raises(RuntimeError, match="a worker process ended in the middle of its work"),
        worker_errors.plain_errors(local=True),
    ):
        die("run_worker")
        wait()
    assert time.monotonic() - start < 30


def test_what_beam_notices_is_told_alike():
    with pytest.raises(RuntimeError, match="a worker process ended"), worker_errors.plain_errors(local=True):
        raise RuntimeError("Channel closed prematurely.")


def test_a_job_that_ends_in_time_is_let_be():
    with worker_errors.plain_errors(local=True):
        thread = die("run_worker")
    thread.join()
    wait(0.5)


@pytest.fixture
def reported(impatient):
    """The names of the threads whose errors are reported."""
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda arguments: names.append(arguments.thread.name))
        yield names


def test_of_other_threads_beams_are_kept_back_and_others_reported(reported):
    with worker_errors.plain_errors(local=True):
        die("beam's").join()
        die("ours", "transforms.store.lock").join()
        die("yours", "apache_beam_like").join()
        wait(0.5)
    die("beam's after the block").join()
    assert reported == ["ours", "yours", "beam's after the block"]


def test_with_debugging_all_threads_are_reported(reported, monkeypatch):
    monkeypatch.setenv("IG_AUDIT_DEBUG", "1")
    with worker_errors.plain_errors(local=True):
        die("beam's").join()
    assert reported == ["beam's"]


def test_other_errors_are_let_be():
    with pytest.raises(JobError, match=r"^something else; "), worker_errors.plain_errors(local=True):
        raise RuntimeError("something else")
    with pytest.raises(TypeError, match=r"^a fault$"), worker_errors.plain_errors(local=True):
        raise TypeError("a fault")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TypeError("no [while running 'A']"), "a worker failed, by a fault of ig-audit: TypeError: no; "),
        (KeyError("k [while running 'A']"), "a worker failed, by a fault of ig-audit: KeyError: k; "),
        (UsageError("model: no [while running 'A']"), "a worker failed: model: no; "),
        (RuntimeError("OSError: [Errno 28] full [while running 'A']"), "a worker failed: OSError: [Errno 28] full; "),
        (
            RuntimeError("Traceback (most recent call last):\n  File x\ntransforms.core.errors.UsageError: no\n"),
            "a worker failed: no; ",
        ),
    ],
)
def test_what_a_worker_in_this_process_raised_is_told_alike(error, told):
    with pytest.raises(JobError) as caught, worker_errors.plain_errors(local=True):
        raise error
    assert str(caught.value).startswith(told) and "--resume" in str(caught.value)


def test_in_another_thread_nothing_is_woken():
    errors = []

    def block() -> None:
        with worker_errors.plain_errors(local=True):
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
    with pytest.raises(RuntimeError) as caught, worker_errors.plain_errors(local):
        raise RuntimeError(TRACE.format(before=before, step=step, after=after))
    told = "a worker failed: OSError: [Errno 28] No space left on device: 'part'; IG_AUDIT_DEBUG=1 shows where, "
    assert str(caught.value) == told + "the same command with --resume continues"


def test_no_memory_for_a_thread_is_told_as_such():
    with (
        pytest.raises(RuntimeError, match="thread: out of memory, or of pro"),
        worker_errors.plain_errors(True),
    ):
        raise RuntimeError("Traceback (most recent call last):\n  File x\nRuntimeError: can't start new thread\n")
