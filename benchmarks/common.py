"""What the benchmarks of the engine share: timing in turns, and tables."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transforms.core.cpus import usable_cpus


def rate(
    call: Callable[[], Any], units: int, threads: int = 1, seconds: float = 1.0, by_processor: bool = False
) -> float:
    """Returns units a second of `call`, made over and over by each of `threads`.

    Args:
        call: what is measured.
        units: what one call does.
        threads: how many make calls at once.
        seconds: for about how long.
        by_processor: count the seconds that the cores worked for this process, divided by their number:
            what the wall's clock would say on an idle machine if no core ever waited for another.
    """
    start, worked = time.perf_counter(), time.process_time()

    def work(_: int) -> int:
        calls = 0
        while not calls or time.perf_counter() - start < seconds:
            call()
            calls += 1
        return calls

    with ThreadPoolExecutor(threads) as pool:
        calls = sum(pool.map(work, range(threads)))
    if by_processor:
        return units * calls * usable_cpus() / (time.process_time() - worked)
    return units * calls / (time.perf_counter() - start)


def in_turns(measures: Mapping[str, Callable[[], float]], turns: int) -> dict[str, float]:
    """Returns the median of each measure; they take turns, so that a busy machine is busy for all."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(turns):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(values) for name, values in taken.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns rows with the same keys as aligned columns, text to the left and numbers to the right."""
    heads = list(rows[0])
    cells = [heads, *([_cell(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    left = [isinstance(rows[0][head], str) for head in heads]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if first else cell.rjust(width)
            for cell, width, first in zip(line, widths, left, strict=True)
        )
        for line in cells
    )


def write_json(path: str | None, result: Any) -> None:
    """Writes a result for `--json FILE`; nothing where there is no file."""
    if path:
        Path(path).write_text(json.dumps(result, indent=2) + "\n")


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
