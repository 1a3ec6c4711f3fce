"""One run at a time in a directory, on any store: a lock file that its holder keeps renewing.

An object store has neither kernel locks nor an atomic "create if absent" that all its clients share, and clocks of
two machines differ. So a holder counts beats up in the file, and whoever finds a lock watches it: one that beats
within `Pace.lease` has a living holder, another is taken over. No clock is compared. A holder that died on this very
machine is known at once, by its process. Two that start within the same moment both write and then look whose
file stayed.

A job that was submitted to a cluster has no process that could beat: its lock stands until the job removes
it, or for `SUBMITTED_HOURS`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from transforms import process, storage
from transforms.core.errors import JobError, UsageError

LOCK = ".lock"
SUBMITTED_HOURS = 24


@dataclass(frozen=True)
class Pace:
    """Seconds between beats, without a beat until a lock is taken over, and until a contested lock has settled."""

    beat: float = 15.0
    lease: float = 60.0
    settle: float = 2.0


class InUseError(UsageError):
    """Another run writes into the directory."""


class _LostError(BaseException):
    """Another run has taken the lock over; raised in the main thread, wherever it is, past all that handles errors."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says.

    Attributes:
        run: unique to this holding.
        host: name of the machine.
        pid: of the process.
        process: tells the process from all others, now and before; empty where the system does not say.
        started: when the lock was taken, ISO 8601 in UTC.
        beats: how often it was renewed.
        submitted: whether a job of a cluster holds it, not the process.
    """

    run: str
    host: str
    pid: int
    process: str
    started: str
    beats: int = 0
    submitted: bool = False

    def __str__(self) -> str:
        """Returns the holder in words."""
        what = "a job submitted" if self.submitted else f"process {self.pid}"
        return f"{what} on {self.host} at {self.started}"

    def lives(self) -> bool | None:
        """Returns whether it lives, where that can be known without watching its lock."""
        if self.submitted:
            age = _now() - datetime.datetime.fromisoformat(self.started)
            return age < datetime.timedelta(hours=SUBMITTED_HOURS)
        here = _process(os.getpid()).partition(" ")[0]
        if not here or here != self.process.partition(" ")[0]:
            return None
        return self.process == _process(self.pid)


class Lock:
    """A held lock: renewed by a thread until it is released.

    Attributes:
        lost: whether another run was seen to have taken it over.
        submitted: whether it was handed to a submitted job.
    """

    def __init__(self, run_uri: str, holder: Holder, beat: float, on_loss: Callable[[], None]) -> None:
        """Starts to renew the lock of `run_uri`, which `holder` has written; calls `on_loss` in the renewing thread."""
        self._run_uri, self._holder, self._beat, self._on_loss = run_uri, holder, beat, on_loss
        self.lost = self.submitted = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    @property
    def run(self) -> str:
        """What tells this holding from all others: see `check_holder`."""
        return self._holder.run

    def check(self) -> None:
        """Looks into the lock file: to be called before something is written that another run would miss.

        Raises:
            JobError: another run has taken the lock over.
        """
        check_holder(self._run_uri, self.run)

    def submit(self) -> None:
        """Hands the lock to the job that is submitted next, which removes it with `release_submitted`."""
        self.stop()
        self._holder = dataclasses.replace(self._holder, submitted=True)
        _write(self._uri, self._holder)
        self.submitted = True

    def stop(self) -> None:
        """Renews it no more."""
        self._done.set()
        self._thread.join()

    @property
    def _uri(self) -> str:
        return storage.join(self._run_uri, LOCK)

    def _renew(self) -> None:
        while not self._done.wait(self._beat):
            # Whatever a failing store raises: the next beat may succeed. If none does for a lease, another run may
            # take over; this one goes on, as it looks before it writes what is not the same in both.
            with contextlib.suppress(Exception):
                found = _read(self._uri)
                if found and found.run != self.run:
                    self.lost = True
                    break
                self._holder = dataclasses.replace(self._holder, beats=self._holder.beats + 1)
                _write(self._uri, self._holder)
        if self.lost:
            self._on_loss()


@contextlib.contextmanager
def hold(run_uri: str, pace: Pace | None = None) -> Iterator[Lock]:
    """Holds the run directory `run_uri` while the block runs, or, if it submits a job, until that ends.

    A block in the main thread ends as soon as the loss of its lock is seen; one in another thread runs to its end.

    Raises:
        InUseError: another run holds it.
        JobError: another run took it over, because this one could not renew its lock for too long.
    """
    pace, mine = pace or Pace(), _this_process()
    try:
        with process.interruptible() as block, _released(run_uri, mine):
            _acquire(storage.join(run_uri, LOCK), mine, pace)
            lock = Lock(run_uri, mine, pace.beat, lambda: block.interrupt(_LostError()))
            try:
                yield lock
            finally:
                lock.stop()
    except _LostError:
        raise taken_over(run_uri) from None


@contextlib.contextmanager
def _released(run_uri: str, mine: Holder) -> Iterator[None]:
    """Removes the lock at the end of the block if it is this holder's: unless a submitted job has it, or on an error.

    One that a failing store keeps will be taken over.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        uri = storage.join(run_uri, LOCK)
        with contextlib.suppress(Exception):
            found = _read(uri)
            if found and found.run == mine.run and (failed or not found.submitted):
                _remove(uri)


def check_holder(run_uri: str, run: str) -> None:
    """Checks that no other run than `run` holds the run directory; a lock that is gone was released at the job's end.

    Raises:
        JobError: another run has taken the lock over.
    """
    found = _read(storage.join(run_uri, LOCK))
    if found and found.run != run:
        raise taken_over(run_uri)


def taken_over(run_uri: str) -> JobError:
    """Returns the error of a run that has lost its lock."""
    uri = storage.join(run_uri, LOCK)
    return JobError(f"output: another run has taken over {run_uri}: {uri} was not renewed")


def release_submitted(run_uri: str) -> None:
    """Removes the lock that a submitted job holds: called by that job, at its end."""
    uri = storage.join(run_uri, LOCK)
    found = _read(uri)
    if found and found.submitted:
        _remove(uri)


def _this_process() -> Holder:
    started = _now().isoformat(timespec="seconds")
    return Holder(uuid.uuid4().hex, socket.gethostname(), os.getpid(), _process(os.getpid()), started)


def _acquire(uri: str, mine: Holder, pace: Pace) -> None:
    """Writes `mine` as the holder of the lock at `uri`.

    Raises:
        InUseError: another run holds it.
    """
    found = _read(uri)
    if found is None and not storage.is_remote(uri):
        with contextlib.suppress(FileExistsError):
            storage.create(uri, _to_bytes(mine))
            return
        found = _read(uri)
    if found:
        lives = found.lives()
        if lives or (lives is None and _beats(uri, found, pace)):
            raise _in_use(uri, found)
    _write(uri, mine)
    time.sleep(pace.settle)
    last = _read(uri)
    if last != mine:
        raise _in_use(uri, last)


def _beats(uri: str, found: Holder, pace: Pace) -> bool:
    """Returns whether the lock that was found is renewed within the lease; one that is released meanwhile is not."""
    print(f"ig-audit: output: {found} has locked it; looking for up to {pace.lease:g} s if it lives", file=sys.stderr)
    end = time.monotonic() + pace.lease
    while time.monotonic() < end:
        time.sleep(min(1.0, pace.beat / 4))
        now = _read(uri)
        if now != found:
            return now is not None
    return False


def _in_use(uri: str, holder: Holder | None) -> InUseError:
    way_out = f"; if that job is dead, delete {uri}" if holder and holder.submitted else ""
    return InUseError(f"output: {uri} is held by {holder or 'another run'}: two runs cannot share a directory{way_out}")


def _read(uri: str) -> Holder | None:
    """Returns the holder that the lock file names, or None where there is no lock."""
    try:
        content = storage.read_bytes(uri)
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        digest = uuid.uuid5(uuid.NAMESPACE_OID, content.decode("latin-1")).hex
        return Holder(digest, "an unknown host", 0, "", "an unknown time")  # of another version; watched like any


def _write(uri: str, holder: Holder) -> None:
    storage.write_bytes(uri, _to_bytes(holder))


def _to_bytes(holder: Holder) -> bytes:
    return json.dumps(dataclasses.asdict(holder)).encode()


def _remove(uri: str) -> None:
    """Deletes the lock, and a local run directory that holds nothing else."""
    storage.delete(uri)
    if not storage.is_remote(uri):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(storage.resolve(uri)[1]))


def _process(pid: int) -> str:
    """Returns `<boot>/<process namespace> <pid>/<start>` of a process of this machine; empty where unknown or gone."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot, open(f"/proc/{pid}/stat", "rb") as stat:
            birth = stat.read().rpartition(b")")[2].split()[19].decode()
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')} {pid}/{birth}"
    except OSError:
        return ""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
