"""Faults as in production: each disturbs the job of `fault_job` at a seeded moment, which is then resumed.

Try n of a seed is always disturbed at the same moment of the job's work. Linux only. A full disk and a read-only one
need permission to mount a tmpfs (root); faults of Flink need Java.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import flink_faults
from support.distributed.engines import UnavailableError
from support.fault_job import Bucket, Ended, Job, Running, save_model, shard_name, workers
from support.stores import S3

TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
_CAPABILITY_VERSION = 0x20080522


@dataclass
class Scene:
    """One try.

    Attributes:
        job: on local disk or a store.
        output: folder of the bucket.
        chance: seeded; the only source of randomness.
        closing: cleanup after the try.
        flags: additional flags for the disturbed and the resumed run.
        prepare: called in the processes of both.
        makes_errors: whether the disturbed run may be complete, with errors that the resumed run replaces.
    """

    job: Job
    output: str
    chance: random.Random
    closing: contextlib.ExitStack
    flags: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    makes_errors: bool = False

    @property
    def folder(self) -> Path:
        """The local folder of the output."""
        return Path(self.job.bucket.uri, self.output)

    def start(self, *flags: str) -> Running:
        """Starts the job."""
        return self.job.start(self.output, *self.flags, *flags, prepare=self.prepare)

    def moment(self) -> float:
        """Returns a moment of the job, in seconds of its work."""
        return self.chance.uniform(0.0, self.job.seconds)


def launcher_killed(scene: Scene) -> Ended:
    """Kills the process that launches the job and here also runs it; retries earlier if it was done by then."""
    moment = scene.moment()
    while True:
        running = scene.start()
        if running.at(moment):
            running.kill()
            return Ended(0, "")
        running.wait()
        shutil.rmtree(scene.folder)
        moment *= 0.8


def worker_killed(scene: Scene) -> Ended:
    """Kills one of two worker processes."""
    return _at_a_worker(scene, lambda worker: os.kill(worker, 9))


def worker_out_of_memory(scene: Scene) -> Ended:
    """Limits one of two worker processes to at most 16 MiB more than its current memory."""

    def limit(worker: int) -> None:
        pages = int(Path(f"/proc/{worker}/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + scene.chance.randrange(16 << 20)
        resource.prlimit(worker, resource.RLIMIT_AS, (most, most))

    return _at_a_worker(scene, limit)


def _at_a_worker(scene: Scene, disturb: Callable[[int], None]) -> Ended:
    """Disturbs a worker process a seeded time after a seeded number of parts exists."""
    parts, later, which = scene.chance.randrange(8), scene.chance.uniform(0, 0.3), scene.chance.randrange(2)
    running = scene.start(*TWO_PROCESSES)
    while running.alive:
        found = workers(running)
        done = len(scene.job.bucket.names(f"{scene.output}/attributions"))
        if len(found) == 2 and done >= parts:
            time.sleep(later)
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                disturb(found[which])
            break
        time.sleep(0.02)
    ended = running.wait()
    words = [line for line in ended.errors.splitlines(keepends=True) if line.startswith("ig-audit: ")]
    return Ended(ended.code, "".join(words))  # the other worker's log contains how Beam ended it


def disk_full(scene: Scene) -> Ended:
    """Gives the run a disk that is too small for its files, and afterwards one that is large enough."""
    needed = sum(map(len, scene.job.files.values()))
    _mount(scene, f"size={scene.chance.randrange(4096, needed)}")
    ended = scene.start().wait()
    _remount(scene, "size=64m")
    return ended


def read_only(scene: Scene) -> Ended:
    """Makes the output's file system read-only, as a kernel does after an error."""
    _mount(scene, "size=64m")
    running, moment = scene.start(), scene.moment()
    while running.at(moment) and not _remount(scene, "ro"):  # refused while a file is being written
        time.sleep(0.005)
    ended = running.wait()
    _remount(scene, "rw")
    return ended


def permission_denied(scene: Scene) -> Ended:
    """Removes the job's permission to write into the output."""
    scene.prepare = _obey_modes
    scene.folder.mkdir()
    running = scene.start()
    if running.at(scene.moment()):
        closed = scene.folder / "attributions"
        closed = closed if closed.exists() else scene.folder
        closed.chmod(0o555)
        ended = running.wait()
        closed.chmod(0o755)
        return ended
    return running.wait()


def shard_vanishes(scene: Scene) -> Ended:
    """Removes a shard, whose images are then recorded as errors; it is restored before the job is resumed."""
    scene.makes_errors = True
    name = shard_name(scene.chance.randrange(2))
    content = scene.job.bucket.get(name)
    running = scene.start()
    while running.alive and not (scene.folder / ".lock").exists():  # its inputs are listed by then
        time.sleep(0.01)
    if running.at(scene.moment()):
        scene.job.bucket.delete(name)
    ended = running.wait()
    scene.job.bucket.put(name, content)
    return ended


def store_fails(scene: Scene) -> Ended:
    """Answers with 500: one request in twenty, thirty in a row, or all from some moment on."""
    first = scene.chance.randrange(scene.job.requests)
    length = scene.chance.choice((0, 30, 1 << 30))
    count, chance = 0, random.Random(scene.chance.random())

    def fail(*_: str) -> int | None:
        nonlocal count
        count += 1
        failing = first <= count < first + length if length else chance.random() < 0.05
        return 500 if failing else None

    return _through(scene, fail)


def store_slow(scene: Scene) -> Ended:
    """Answers late: each request by up to 20 ms, one in a hundred later than a client waits."""
    chance = random.Random(scene.chance.random())

    def wait(*_: str) -> None:
        time.sleep(5.0 if chance.random() < 0.01 else chance.uniform(0, 0.02))

    return _through(scene, wait)


def _through(scene: Scene, fault: Callable[..., int | None]) -> Ended:
    store = scene.job.bucket
    running = scene.start()
    store.fault = fault
    try:
        return running.wait()
    finally:
        store.fault = None


FAULTS: dict[str, Callable[[Scene], Ended]] = {
    "launching process killed": launcher_killed,
    "worker process killed": worker_killed,
    "worker out of memory": worker_out_of_memory,
    "disk full": disk_full,
    "output turns read-only": read_only,
    "permission denied": permission_denied,
    "shard vanishes": shard_vanishes,
    "store answers 500": store_fails,
    "store answers slowly": store_slow,
    "TaskManager killed": flink_faults.task_manager_killed,
    "JobManager killed": flink_faults.job_manager_killed,
    "workers of a TaskManager killed": flink_faults.flink_workers_killed,
}
_OWN = {"shard vanishes": "local", "store answers 500": "s3", "store answers slowly": "s3"}


def attempt(job: Job, name: str, seed: int, number: int) -> dict[str, Any]:
    """Returns the result of a try: whether the job recovered, lost and duplicate rows, and the problems.

    Raises:
        UnavailableError: this fault cannot be caused on this machine.
    """
    with contextlib.ExitStack() as closing:
        scene = Scene(job, f"{name.replace(' ', '-')}-{number}", random.Random(f"{name}:{seed}:{number}"), closing)
        wrong = []
        try:
            first = FAULTS[name](scene)
            if not first.clear:
                wrong.append(f"ended with {first.code} and no clear message:\n{first.errors[-2000:]}")
            whole = scene.makes_errors and first.complete
            if not whole and (half := job.half_visible(job.stored(scene.output))):
                wrong.append(f"half-visible: {half}")
            again = scene.start().wait()
            if again.code:
                wrong.append(f"--resume ended with {again.code}:\n{again.errors[-2000:]}")
        except TimeoutError as error:
            wrong.append(str(error))
        files = job.stored(scene.output)
        if not wrong and not job.same(files):
            wrong.append(f"other files than an undisturbed run's: {sorted({*files} ^ {*job.files}) or 'other bytes'}")
        lost, doubled = job.lost_and_doubled(files)
    print(f"{name} {number}: {'; '.join(wrong) or 'recovered'}", file=sys.stderr)
    return {"recovered": not wrong, "lost": lost, "doubled": doubled, "wrong": wrong}


class Stages:
    """The jobs to disturb: one on local disk for all tries, and separate ones for each lane of tries."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder for all of them."""
        self._folder, self._model = folder, save_model(folder / "model")
        self._made: dict[str, Job] = {}
        self._stack = contextlib.ExitStack()

    def job(self, name: str, lane: int) -> Job:
        """Returns the job for a fault; a shard or a store that fails is used by its lane alone."""
        kind = "local" if name not in _OWN else f"{_OWN[name]}-{lane}"
        if kind not in self._made:
            folder = self._folder / kind
            folder.mkdir()
            remote = kind.startswith("s3")
            bucket: Any = self._stack.enter_context(contextlib.closing(S3())) if remote else Bucket(folder / "bucket")
            self._made[kind] = Job(bucket, self._model, folder)
            self._made[kind].measure()
        return self._made[kind]

    def close(self) -> None:
        """Stops the stores."""
        self._stack.close()


def _mount(scene: Scene, options: str) -> None:
    scene.folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(scene.folder)], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise UnavailableError(done.stderr.strip())
    scene.closing.callback(subprocess.check_call, ["umount", "--lazy", str(scene.folder)])


def _remount(scene: Scene, options: str) -> bool:
    command = ["mount", "-o", f"remount,{options}", str(scene.folder)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def _obey_modes() -> None:
    """Drops the capabilities with which root may ignore file modes."""
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of the upper 32
    if libc.capget(header, sets):
        raise OSError("capget failed")
    for position in range(3):
        sets[position] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, sets):
        raise OSError("capset failed")
