"""A block is interrupted from any thread or by a signal, whatever foreign code makes of that; nothing outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from transforms import process

SECONDS = 20.0


@pytest.fixture(autouse=True)
def handlers():
    """Checks that every test leaves the handlers of signals as they were."""
    numbers = (signal.SIGURG, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def wait(seconds: float = SECONDS) -> None:
    """Waits as Beam's main thread does."""
    condition = threading.Condition()
    with condition:
        condition.wait(seconds)


def later(function, *arguments) -> threading.Thread:
    thread = threading.Timer(0.1, function, arguments)
    thread.start()
    return thread


def test_another_thread_ends_a_wait_in_the_main_thread():
    start = time.monotonic()
    with pytest.raises(KeyError, match="lost"), process.interruptible() as block:
        later(block.interrupt, KeyError("lost"))
        wait()
    assert time.monotonic() - start < SECONDS / 2


@pytest.mark.parametrize("outer", [True, False])
def test_of_nested_blocks_the_one_that_is_interrupted_ends_with_its_error(outer):
    inner_ended = []
    with pytest.raises(KeyError, match="lost"), process.interruptible() as first:
        try:
            with process.interruptible() as second:
                later((first if outer else second).interrupt, KeyError("lost"))
                wait()
        finally:
            inner_ended.append(second.error)
    assert (inner_ended == [None]) == outer


def test_an_error_that_is_wrapped_or_swallowed_still_ends_the_block():
    with pytest.raises(KeyError, match="lost"), process.interruptible() as block:
        later(block.interrupt, KeyError("lost"))
        try:
            wait()
        except KeyError as error:
            raise RuntimeError(f"{error} [while running 'Stage']") from error
    with pytest.raises(KeyError, match="lost"), process.interruptible() as block:
        later(block.interrupt, KeyError("lost"))
        with contextlib.suppress(KeyError):
            wait()


def test_the_first_error_counts_and_is_raised_once():
    with pytest.raises(KeyError, match="first"), process.interruptible() as block:
        later(block.interrupt, KeyError("first"))
        try:
            wait()
        finally:
            block.interrupt(KeyError("second"))
            time.sleep(0.1)


def test_what_comes_after_the_block_does_nothing():
    with process.interruptible() as block:
        pass
    block.interrupt(KeyError("late"))
    with process.interruptible():
        wait(0.2)
    os.kill(os.getpid(), signal.SIGURG)
    wait(0.1)


def test_a_block_of_another_thread_runs_on_and_ends_with_the_error():
    ended = []

    def run() -> None:
        try:
            with process.interruptible() as block:
                block.interrupt(KeyError("lost"))
                ended.append("its end")
        except KeyError as error:
            ended.append(error.args[0])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == ["its end", "lost"]


def test_whatever_interrupts_the_inner_blocks_are_prepared_first():
    calls = []
    with (
        pytest.raises(KeyError),
        process.interruptible(lambda: calls.append("outer")) as block,
        process.interruptible(lambda: calls.append("inner")),
    ):
        later(block.interrupt, KeyError("lost"))
        wait()
    assert calls == ["inner", "outer"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_block_even_if_it_is_wrapped(number):
    with pytest.raises(process.Interrupted, match=signal.Signals(number).name), process.ending_by_signals():
        later(os.kill, os.getpid(), number)
        try:
            wait()
        except KeyboardInterrupt as error:
            raise RuntimeError("KeyboardInterrupt [while running 'Stage']") from error


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.ending_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            wait(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("pause", "same", "code"), [(0.0, 30.0, 7), (0.7, 0.01, -signal.SIGINT)])
def test_a_second_signal_ends_the_process_at_once_unless_it_is_the_same_one(pause, same, code):
    program = """
import os, signal, sys, threading, time
from transforms import process
from transforms.process import interruption
interruption._SAME_SECONDS = float(sys.argv[2])  # a busy machine may let half a second pass between the two
def send():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(float(sys.argv[1]))
    os.kill(os.getpid(), signal.SIGINT)
try:
    with process.ending_by_signals():
        threading.Timer(0.1, send).start()
        try:
            time.sleep(20)
        finally:
            time.sleep(1.5)
except process.Interrupted:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", program, str(pause), str(same)], check=False).returncode == code


def test_only_processes_of_the_command_are_ended_and_all_below_them():
    sleep = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)', *sys.argv[1:]])"
    )
    started = [subprocess.Popen([sys.executable, "-c", sleep, mark]) for mark in ("to_be_ended", "to_stay")]
    ended, stays = started
    while not (process.descendants(ended.pid) and process.descendants(stays.pid)):
        time.sleep(0.05)
    below = process.descendants(ended.pid)
    try:
        process.end_processes("to_be_ended")
        assert ended.wait(10) == -signal.SIGKILL
        assert stays.poll() is None and len(process.descendants(stays.pid)) == 1
        assert not set(below) & set(process.descendants())
    finally:
        process.end_processes("to_stay")
        stays.wait(10)
