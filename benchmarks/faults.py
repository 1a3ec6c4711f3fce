"""Disturbs the job as production does, goes on with `--resume`, and counts what was lost.

    python -m benchmarks.faults --tries 20 --seed 0

A try is recovered if the disturbed run ended by itself with a clear word (or was killed, where that is the fault),
left nothing that looks whole but is not, and `--resume` then gave the bytes of an undisturbed run: rows, errors and
statistics. Lost and doubled are rows. Try n of a seed is always disturbed at the same moment of the job's work.

Linux only. A full disk and a read-only one need leave to mount a tmpfs (root); what is killed of Flink needs Java.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import common
from support.distributed.engines import UnavailableError
from support.faults import FAULTS, Stages, attempt


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns 1 where a try was not recovered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20, help="of each fault (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS), metavar="FAULT")
    parser.add_argument("--lanes", type=int, default=1, help="tries that run side by side (default 1)")
    parser.add_argument("--quick", action="store_true", help="one try of each fault: shows that it works")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    options = parser.parse_args(arguments)
    tries = 1 if options.quick else options.tries
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Stages(Path(folder))) as stages:
        rows = [count(stages, name, options.seed, tries, min(options.lanes, tries)) for name in options.faults]
    print(common.table(rows))
    common.write_json(options.json, rows)
    return int(any(row["recovered"] < row["tries"] for row in rows))


def count(stages: Stages, name: str, seed: int, tries: int, lanes: int) -> dict[str, Any]:
    """Returns the row of a fault, tried in so many lanes at once."""
    jobs = [stages.job(name, lane) for lane in range(lanes)]

    def ride(lane: int) -> list[dict[str, Any]]:
        return [attempt(jobs[lane], name, seed, number) for number in range(lane, tries, lanes)]

    with ThreadPoolExecutor(lanes) as pool:
        try:
            results = [result for results in pool.map(ride, range(lanes)) for result in results]
        except UnavailableError as error:
            print(f"{name}: not tried: {error}", file=sys.stderr)
            results = []
    row: dict[str, Any] = {"fault": name, "tries": len(results)}
    return row | {key: sum(result[key] for result in results) for key in ("recovered", "lost", "doubled")}


if __name__ == "__main__":
    sys.exit(main())
