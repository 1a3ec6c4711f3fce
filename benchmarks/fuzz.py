"""Feeds damaged shards and images to the readers and the decoder, in a guarded process of its own.

    python -m benchmarks.fuzz --inputs 100000

For each target: how many inputs ended the process or raised what they should not (crashes), took too long (hangs), and
by how much the worst of them made the process grow. Also a crash: opening a file to write, starting a process,
connecting anywhere. Input n of a seed is always the same: `--first n --inputs 1` repeats it alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, mutations
from transforms import formats
from transforms.core.image.decode import DecodeError, Decoding, decode, decode_mask
from transforms.core.record import Failure
from transforms.formats import ReadOptions, Shard

_HANG_SECONDS = 20.0
_MEMORY = 4 << 30
_SIZE = (64, 48)
_FORBIDDEN = ("os.remove", "os.rename", "os.mkdir", "subprocess.Popen", "os.system", "os.exec", "socket.connect")


@dataclass(frozen=True)
class Target:
    """What is attacked.

    Attributes:
        seeds: makes the undamaged inputs.
        repair: applied to half of the damaged ones.
        wrap: applied last.
        check: takes a damaged input, and a path to write it to where it must be a file; raises on a fault.
    """

    seeds: Callable[[], list[bytes]]
    check: Callable[[bytes, Path], None]
    repair: Callable[[bytes], bytes] = bytes
    wrap: Callable[[bytes], bytes] = bytes

    def input(self, seeds: Sequence[bytes], seed: int, index: int) -> bytes:
        """Returns the damaged input `index`."""
        chance = random.Random(f"{seed}:{index}")
        data = mutations.mutate(seeds, chance)
        return self.wrap(self.repair(data) if chance.random() < 0.5 else data)


class FaultError(Exception):
    """Something was returned that never should be."""


def _check_image(data: bytes, _: Path) -> None:
    try:
        pixels = decode(data, _SIZE).array
    except DecodeError:
        return
    if pixels.shape != (*_SIZE, 3) or pixels.dtype != np.float32 or not (0 <= pixels.min() <= pixels.max() <= 1):
        raise FaultError(f"{pixels.dtype} {pixels.shape} from {pixels.min()} to {pixels.max()}")


def _check_bands(data: bytes, _: Path) -> None:
    """Pixels of many bands, which the 4 GiB of this process hold only within a smaller limit."""
    how = Decoding(max_pixels=1 << 20, channels=5, value_range=(-1e3, 1e5))
    try:
        pixels = decode(data, _SIZE, how).array
    except DecodeError:
        return
    if pixels.shape != (*_SIZE, 5) or pixels.dtype != np.float32 or not (0 <= pixels.min() <= pixels.max() <= 1):
        raise FaultError(f"{pixels.dtype} {pixels.shape} from {pixels.min()} to {pixels.max()}")


def _check_mask(data: bytes, _: Path) -> None:
    try:
        inside = decode_mask(data, (20, 24), _SIZE)
    except DecodeError:
        return
    if inside.shape != _SIZE or inside.dtype != bool:
        raise FaultError(f"{inside.dtype} {inside.shape}")


def _check_shard(format: str) -> Callable[[bytes, Path], None]:
    options = ReadOptions(chunk_images=2, fields=("camera",) if format != "parquet" else (), max_bytes=1 << 20)

    def check(data: bytes, path: Path) -> None:
        path.write_bytes(data)
        with _watched():
            formats.detect(str(path))
            try:
                chunks = list(formats.plan(Shard(str(path), path.name, format), options))
            except ValueError:
                return  # not of the schema that the options say
            for chunk in chunks:
                outcomes = list(formats.read(chunk, options))
                if sum(not isinstance(each, Failure) for each in outcomes) > chunk.count:
                    raise FaultError(f"{len(outcomes)} images in a chunk of {chunk.count}")

    return check


TARGETS = {
    "image": Target(mutations.images, _check_image, mutations.repair_png),
    "bands": Target(mutations.arrays, _check_bands),
    "mask": Target(mutations.images, _check_mask, mutations.repair_png),
    "tfrecord": Target(mutations.tfrecords, _check_shard("tfrecord"), mutations.repair_tfrecord),
    "tfrecord.gz": Target(mutations.tfrecords, _check_shard("tfrecord"), mutations.repair_tfrecord, mutations.gzipped),
    "zlib": Target(lambda: [mutations.zlibbed(data) for data in mutations.tfrecords()], _check_shard("tfrecord")),
    "gzip": Target(lambda: [mutations.gzipped(data) for data in mutations.tfrecords()], _check_shard("tfrecord")),
    "tar": Target(mutations.tars, _check_shard("webdataset"), mutations.repair_tar),
    "parquet": Target(mutations.parquets, _check_shard("parquet")),
}


class _Watch:
    """Raises where anything is written, started or called up while it is on."""

    on = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in _FORBIDDEN:
            raise FaultError(f"{event} {arguments}")

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False


_WATCH = _Watch()


def _watched() -> _Watch:
    return _WATCH


def _attack(name: str, seed: int, first: int, end: int, reached: Any, pipe: Connection) -> None:
    """Runs in the guarded process: tells of each fault, and at the end how much the process has grown."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff tells of each damage there
    sys.addaudithook(_WATCH)
    target = TARGETS[name]
    seeds = target.seeds()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = Path(folder) / "input"
        for data in seeds:  # imports and caches are no growth
            target.check(target.wrap(data), path)
        before = _peak()
        resource.setrlimit(resource.RLIMIT_AS, (_resident() + _MEMORY, resource.RLIM_INFINITY))
        for index in range(first, end):
            reached.value = index
            try:
                target.check(target.input(seeds, seed, index), path)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                pipe.send(("crash", index, f"{error!r:.200} ({Path(where.filename).name}:{where.lineno})"))
            pipe.send(("peak", index, _peak() - before))
        reached.value = end


def _peak() -> int:
    """Returns the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident() -> int:
    """Returns this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def fuzz(name: str, seed: int, first: int, inputs: int) -> dict[str, Any]:
    """Returns what came of `inputs` damaged inputs of a target, starting new processes after those that ended one."""
    context = multiprocessing.get_context("spawn")
    start, position, end = time.monotonic(), first, first + inputs
    found: dict[str, list[Any]] = {"crash": [], "hang": [], "peak": [(0, first)]}
    while position < end:
        here, there = context.Pipe(duplex=False)
        reached = context.Value("q", -1, lock=False)
        process = context.Process(target=_attack, args=(name, seed, position, end, reached, there))
        process.start()
        there.close()
        hung = _follow(here, found)
        position = reached.value
        if hung:
            process.kill()
        process.join()
        if hung:
            found["hang"].append((position, f"more than {_HANG_SECONDS:g} s"))
        elif position < end:
            found["crash"].append((position, f"the process ended with {process.exitcode}"))
        if position < 0:
            raise RuntimeError(f"{name}: the undamaged inputs failed")
        position += 1
    for kind in ("crash", "hang"):
        for index, what in found[kind]:
            print(f"{name} {kind} at input {index} of seed {seed}: {what}", file=sys.stderr)
    return {
        "target": name,
        "inputs": inputs,
        "crashes": len(found["crash"]),
        "hangs": len(found["hang"]),
        "worst memory, MB": round(found["peak"][0][0] / 1e6),
        "at": found["peak"][0][1],
        "inputs/s": inputs / (time.monotonic() - start),
    }


def _follow(pipe: Connection, found: dict[str, list[Any]]) -> bool:
    """Takes what the process tells until it ends; returns whether it was silent for too long."""
    while True:
        if not pipe.poll(_HANG_SECONDS):
            return True
        try:
            kind, index, what = pipe.recv()
        except EOFError:
            return False
        if kind == "peak":
            found["peak"] = [max(found["peak"][0], (what, index), key=lambda peak: peak[0])]
        else:
            found[kind].append((index, what))


def main() -> int:
    """Prints the table; returns 1 where anything crashed or hung."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="of each target (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = [fuzz(name, options.seed, options.first, options.inputs) for name in options.targets]
    print(common.table(rows))
    common.write_json(options.json, rows)
    return int(any(row["crashes"] or row["hangs"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
