"""A small job for faults to disturb: the processes that run it, its files, and those of an undisturbed run.

Processes are forked from one that has imported everything, so that a run takes two seconds.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

LIMIT_SECONDS = 300.0
_POLLING = threading.Lock()  # a child's exit code can be read once, and several threads would
_SHARDS, _IMAGES, _CHUNK, _SIDE = 2, 20, 4, 32
_OPTIONS = {
    "rule": "midpoint",
    "steps": 32,
    "dtype": "float32",
    "faithfulness": 0,  # another pass over the same model
    "chunk_images": _CHUNK,
    "max_error_rate": 0.1,
    "resume": "true",
}


class Bucket:
    """A folder with the methods of `support.stores.S3`."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of the bucket."""
        self.uri, self.environment = str(folder), dict[str, str]()
        self.requests: list[Any] = []
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Writes a file."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, name: str) -> bytes:
        """Returns a file."""
        return (self._folder / name).read_bytes()

    def delete(self, name: str) -> None:
        """Deletes a file."""
        (self._folder / name).unlink()

    def names(self, prefix: str = "") -> list[str]:
        """Returns the sorted names of all files below `prefix`."""
        files = (path for path in (self._folder / prefix).rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self._folder)) for path in files)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, negative if a signal killed it, and its stderr."""

    code: int
    errors: str

    @property
    def complete(self) -> bool:
        """Whether it ran to its end; with 4, many images are recorded as errors."""
        return self.code in (0, 4)

    @property
    def clear(self) -> bool:
        """Whether it ran to its end, or failed with few lines and no traceback; Beam's own lines do not count."""
        lines = [line for line in self.errors.splitlines() if line.startswith("ig-audit: ")]
        return self.complete or (self.code in (1, 2) and 0 < len(lines) <= 4 and "Traceback" not in self.errors)


class Running:
    """A process that runs the job."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        """Takes a started process, and the file of its stderr."""
        self._process, self._log = process, log
        self.pid = process.pid or 0

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        with _POLLING:
            return self._process.is_alive()

    def wait(self, seconds: float = LIMIT_SECONDS) -> Ended:
        """Returns how it ended, after waiting for that.

        Raises:
            TimeoutError: it did not end, and was killed.
        """
        end = time.monotonic() + seconds
        while self.alive and time.monotonic() < end:
            time.sleep(0.02)
        if self.alive:
            self.kill()
            raise TimeoutError(f"the job hung for {seconds:g} s; its stderr:\n{self._log.read_text()[-2000:]}")
        return Ended(self._process.exitcode or 0, self._log.read_text(errors="replace"))

    def kill(self) -> None:
        """Kills it with signal 9, and waits until its workers have ended too."""
        workers = descendants(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while (self.alive or any(_lives(pid) for pid in workers)) and time.monotonic() < end:
            time.sleep(0.05)

    def at(self, seconds: float) -> bool:
        """Waits until the process has used `seconds` of CPU time; returns whether it is still running then."""
        while self.alive and cpu_seconds(self.pid) < seconds:
            time.sleep(0.01)
        return self.alive


class Job:
    """The job on a bucket that holds its input.

    Attributes:
        bucket: contains input and output.
        requests: number of requests of an undisturbed run to a store.
        files: the files of an undisturbed run below its output, without its report.
        seconds: CPU time of an undisturbed run, so that a moment of the job is the same on a busy machine.
    """

    requests: int
    files: dict[str, bytes]
    seconds: float

    def __init__(self, bucket: Any, model: str, folder: Path) -> None:
        """Puts model and shards into `bucket`; `folder` is for logs."""
        self.bucket, self._folder = bucket, folder
        for path in sorted(path for path in Path(model).rglob("*") if path.is_file()):
            bucket.put(f"model/{path.relative_to(model)}", path.read_bytes())
        bucket.put("names.txt", b"ant\nbee\ncat\ndog\nelk\n")
        for number in range(_SHARDS):
            bucket.put(shard_name(number), _shard(number))

    def measure(self) -> None:
        """Runs the job undisturbed, twice: the first run warms up, the second is timed."""
        for output in ("warm", "truth"):
            before = len(self.bucket.requests)
            running = self.start(output)
            while running.alive:
                self.seconds = cpu_seconds(running.pid)
                time.sleep(0.02)
            ended = running.wait()
            self.requests = len(self.bucket.requests) - before
            if ended.code:
                raise RuntimeError(f"the undisturbed job failed:\n{ended.errors}")
        self.files = self.stored("truth")

    def start(
        self,
        output: str,
        *flags: str,
        uri: str = "",
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> Running:
        """Starts `ig-audit run --resume` into a folder of the bucket.

        Args:
            output: the folder.
            flags: additional flags.
            uri: of the output, if it is not in the bucket.
            environment: additional variables.
            prepare: called in the process before the job.
        """
        base = self.bucket.uri
        options = {
            "input": f"{base}/shards/*",
            "model": f"{base}/model",
            "class_names": f"{base}/names.txt",
            "output": uri or f"{base}/{output}",
            **_OPTIONS,
        }
        arguments = ["run", *(f"--{name}={value}" for name, value in options.items()), *flags]
        log = self._folder / f"{output.replace('/', '-')}-{time.monotonic_ns()}.log"
        variables = {**self.bucket.environment, **(environment or {})}
        process = _context().Process(target=_run, args=(arguments, str(log), variables, prepare))
        with _POLLING:
            process.start()
        return Running(process, log)

    def stored(self, output: str) -> dict[str, bytes]:
        """Returns the files of a run that must be the same after any disturbance."""
        return read_run(self.bucket, output)

    def half_visible(self, files: Mapping[str, bytes]) -> list[str]:
        """Returns the names of incomplete files of a run that a reader could take for complete."""
        bad = [name for name, content in files.items() if name.endswith(".parquet") and content != self.files.get(name)]
        if "manifest.json" in files and set(self.files) - set(files):
            bad.append("manifest.json")
        return bad

    def lost_and_doubled(self, files: Mapping[str, bytes]) -> tuple[int, int]:
        """Returns the numbers of missing and of duplicate rows of a run."""
        wanted, found = keys(self.files), keys(files)
        return (wanted - found).total(), (found - wanted).total()

    def same(self, files: Mapping[str, bytes]) -> bool:
        """Returns whether rows, errors and statistics, and no others, are those of an undisturbed run, bit for bit."""
        return {**files, "manifest.json": b""} == {**self.files, "manifest.json": b""} and "manifest.json" in files


def shard_name(number: int) -> str:
    """Returns the name of a shard in the bucket."""
    return f"shards/{number}.tfrecord"


def read_run(bucket: Any, output: str) -> dict[str, bytes]:
    """Returns the files of a run by name, with hidden ones, without audit, report and lock."""
    names = [
        name for name in bucket.names(output + "/") if not name.endswith(("/audit.json", "/report.html", "/.lock"))
    ]
    return {name.removeprefix(output + "/"): bucket.get(name) for name in names}


def keys(files: Mapping[str, bytes]) -> collections.Counter[tuple[Any, ...]]:
    """Returns the number of copies of each row of attributions and errors."""
    found: collections.Counter[tuple[Any, ...]] = collections.Counter()
    for name, content in files.items():
        if name.startswith(("attributions/part-", "errors/part-")):
            columns = ["shard", "index", "target_rank"] if name.startswith("attributions/") else ["shard", "index"]
            found.update(tuple(row.values()) for row in pq.read_table(io.BytesIO(content), columns=columns).to_pylist())
    return found


def descendants(pid: int) -> list[int]:
    """Returns the processes below `pid`, parents first (Linux only)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process; 0 if it no longer exists."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def workers(running: Running) -> list[int]:
    """Returns Beam's worker processes of a job, without their own children, which decode."""
    return [pid for pid in descendants(running.pid) if _is_worker(pid)]


def save_model(folder: Path) -> str:
    """Saves a smooth convolutional classifier of five classes as a SavedModel; returns its path."""
    import tensorflow as tf

    generator = np.random.default_rng(3)
    kernel = tf.constant(generator.normal(0, 0.4, [5, 5, 3, 8]), tf.float32)
    head = tf.constant(generator.normal(0, 2.0, [8, 5]), tf.float32)
    module = tf.Module()
    module.__call__ = tf.function(
        lambda images: tf.reduce_mean(tf.nn.softplus(tf.nn.conv2d(images - 0.5, kernel, 2, "SAME")), [1, 2]) @ head,
        input_signature=[tf.TensorSpec([None, _SIDE, _SIDE, 3], tf.float32)],
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    return str(folder)


def _shard(number: int) -> bytes:
    """Returns a TFRecord file of seeded noise, with one image that cannot be decoded."""
    import tensorflow as tf

    generator = np.random.default_rng(number)
    path = os.path.join(tempfile.gettempdir(), f"ig-audit-{os.getpid()}-{number}.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for index in range(_IMAGES):
            stream = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, [_SIDE, _SIDE, 3], np.uint8)).save(stream, "PNG")
            data = b"no image" if (number, index) == (1, 7) else stream.getvalue()
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[index % 5])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    content = Path(path).read_bytes()
    os.remove(path)
    return content


def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.fault_job_preload"])
    return context


def _run(
    arguments: Sequence[str], log: str, environment: Mapping[str, str], prepare: Callable[[], None] | None
) -> None:
    """Runs the job in the new process."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(stream, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.update({"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", **environment})
    if prepare:
        prepare()
    from pipeline.cli import main

    try:
        code = main(arguments)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing skips; Beam stops a job server there
    sys.exit(code)


def _is_worker(pid: int) -> bool:
    try:
        program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"python" in program and any(b"sdk_worker" in argument for argument in arguments)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
