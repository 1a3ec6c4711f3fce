"""Memory of a slice's statistics by its rows, as a merging worker has them: `python -m benchmarks.slice_memory`.

Rows are noise, so that histograms fill as fast as they can. Counted are the bytes that Python and NumPy allocate for
statistics that come out of a pickle.
"""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

from benchmarks.common import table
from support.random_rows import make_rows
from transforms.core.statistics.importance import summarize_rows
from transforms.core.statistics.moments import Distribution
from transforms.core.statistics.slices import Slice

_SLICES = 10


def main() -> None:
    """Measures and prints."""
    print(table([measure(rows) for rows in (10, 100, 1000, 10_000)]))


def measure(rows: int) -> dict[str, float]:
    """Returns kilobytes a slice of `rows` rows."""
    key = Slice("label", "0")
    stored = pickle.dumps(summarize_rows(make_rows(rows, seed=0, grid=8), lambda *_: (key,))[key])
    one = pickle.loads(stored)
    found = {name: value.histogram for name, value in one.values.items() if isinstance(value, Distribution)}
    histograms = pickle.dumps(found)
    return {
        "rows": rows,
        "buckets": sum(len(histogram.buckets) for histogram in found.values()),
        "kB a slice": _kilobytes(lambda: pickle.loads(stored)),
        "of it histograms": _kilobytes(lambda: pickle.loads(histograms)),
    }


def _kilobytes(make: Callable[[], Any]) -> float:
    tracemalloc.start()
    kept = [make() for _ in range(_SLICES)]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / len(kept) / 1e3


if __name__ == "__main__":
    main()
