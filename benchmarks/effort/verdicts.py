"""Whether audits of few steps raise the alarms of converged maps: `python -m benchmarks.effort.verdicts --data DIR`.

Each night is judged twice, by the rows of both maps of the same pictures against those of the same references: by its
tails in memory, and, of the first `--compared` nights, by `compare`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.common import table, write_json
from benchmarks.effort import rows as pools
from benchmarks.shortcuts import tails
from benchmarks.shortcuts.networks import Network
from benchmarks.shortcuts.ours import Ours
from benchmarks.shortcuts.trials import Outcome, night_chance, reference_chance
from support.planted_nights import Pool, draw_night, draw_references
from support.redraw import COLUMNS

Judge = Callable[[pa.Table, Sequence[pa.Table], Network], Outcome]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    pools.add_arguments(parser)
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--compared", type=int, default=20, help="nights that `compare` judges, too")
    parser.add_argument("--rows", type=int, nargs="+", default=[100], help="of each class a night")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.02, 0.05, 0.1])
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    network, stored = pools.pool(options)
    efforts = {
        "audit": Pool.of(stored.select(COLUMNS)),
        "map": Pool.of(pools.of_maps(stored).select(COLUMNS)),
    }
    with tempfile.TemporaryDirectory() as folder:
        found = [
            _row(
                how,
                rows,
                share,
                [_paired(judges, efforts, rows, share, night, options, network) for night in range(nights)],
            )
            for how, judges, nights in (
                ("tails", dict.fromkeys(efforts, tails.judge), options.nights),
                ("compare", {name: Ours(Path(folder) / name).judge for name in efforts}, options.compared),
            )
            for rows in options.rows
            for share in options.shares
            if nights
        ]
    print(table(found))
    write_json(options.json, found)


def _paired(
    judges: dict[str, Judge],
    efforts: dict[str, Pool],
    rows: int,
    share: float,
    night: int,
    options: argparse.Namespace,
    network: Network,
) -> dict[str, Outcome]:
    """Returns what both efforts say of a night of the same pictures."""
    found = {}
    for name, pool in efforts.items():
        references = draw_references(pool, rows, options.references, reference_chance(night))
        candidate = draw_night(pool, rows, share, night_chance(night))
        found[name] = judges[name](candidate, references, network)
    if night % 50 == 49:
        print(f"{rows} rows, {share:g}: {night + 1} nights", file=sys.stderr, flush=True)
    return found


def _row(how: str, rows: int, share: float, nights: Sequence[dict[str, Outcome]]) -> dict[str, Any]:
    alarms = {name: [bool(night[name].alarm) for night in nights] for name in ("audit", "map")}
    named = {name: [night[name].right_place for night in nights] for name in alarms}
    return {
        "by": how,
        "rows a class": rows,
        "planted, %": f"{100 * share:g}",
        "nights": len(nights),
        **{f"alarms, {name}": sum(each) for name, each in alarms.items()},
        **{f"place named, {name}": sum(each) for name, each in named.items()},
        "only audit": sum(a and not m for a, m in zip(*alarms.values(), strict=True)),
        "only map": sum(m and not a for a, m in zip(*alarms.values(), strict=True)),
    }


if __name__ == "__main__":
    main()
