"""Is the power that an audit states that of planted changes? `python -m benchmarks.shortcuts.power --folder DIR`.

A share of one class's pictures puts a part of its attention into a random cell: signed cells shrink by that part, which
is added to the cell. What `ClassTest.noticed` says beforehand, averaged over cells, stands beside how many nights of
such pictures are told with class and place. Parts are those stated, and that of the network's own tag.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import table, write_json
from benchmarks.shortcuts.networks import NETWORKS
from benchmarks.shortcuts.nights import read_pool
from benchmarks.shortcuts.tails import by_label
from benchmarks.shortcuts.trials import night_chance, reference_chance
from pipeline.audit.thresholds import load_thresholds
from support.planted_nights import Pool, draw_night, draw_references, planted_rows
from transforms.core.drift.places import Places
from transforms.core.drift.power import STATED_PART, ClassTest
from transforms.core.drift.tails import Exceedances, Rates, Units, count_tests, judge_tails
from transforms.store.schema import matrix

_PLACES = Places(8)
_SHARES = (0.01, 0.02, 0.05, 0.1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"))
    parser.add_argument("--network", default="tag")
    parser.add_argument("--nights", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    network = next(one for one in NETWORKS if one.name == options.network)
    pool = read_pool(network, options.folder)
    rows: list[dict[str, Any]] = []
    for count, references in ((500, 1), (500, 7), (100, 1), (100, 7)):
        for part in (_own_part(pool, network.target, network.cells[0]), STATED_PART):
            stated, told = _measure(pool, network.target, count, references, part, options.nights)
            rows += [
                {
                    "rows a class": count,
                    "references": references,
                    "part of the attention": f"{part:.3f}",
                    "share, %": 100 * share,
                    "said": float(said),
                    "told": told[share] / options.nights,
                }
                for share, said in zip(_SHARES, stated, strict=True)
            ]
    print(table(rows))
    print(f"largest difference: {max(abs(row['said'] - row['told']) for row in rows):.2f}")
    write_json(options.json, rows)


def _own_part(pool: Pool, target: int, cell: tuple[int, int]) -> float:
    """Returns by how much a network's plant raises the signed share of its cell."""
    number = cell[0] * _PLACES.side + cell[1]
    plain = matrix(pool.plain, "signed_grid")[pool.labels == target]
    return float(matrix(pool.planted, "signed_grid")[:, number].mean() - plain[:, number].mean())


def _measure(
    pool: Pool, target: int, count: int, references: int, part: float, nights: int
) -> tuple[np.ndarray, dict[float, int]]:
    """Returns the mean power said for each share, and in how many nights the change was told."""
    limits, said = load_thresholds().tails, []
    told = dict.fromkeys(_SHARES, 0)
    for night in range(nights):
        there = [_values(rows) for rows in draw_references(pool, count, references, reference_chance(night))]
        here = _values(draw_night(pool, count, 0, night_chance(night)))
        labels = sorted(here)
        units = {label: Units.of(np.concatenate([one[label] for one in there]), _PLACES) for label in labels}
        counted = [_count(one, units) for one in there]
        tests, number = count_tests(_count(here, units)), labels.index(target)
        signed = np.concatenate([one[target] for one in there])[:, : _PLACES.side**2]
        test = ClassTest(signed, units[target], Rates.of(counted, _PLACES), number, count, tests, limits)
        said.append(test.noticed(part, _SHARES))
        rng = np.random.default_rng([night, count, references])
        for share in _SHARES:
            cell = int(rng.integers(_PLACES.side**2))
            planted = _plant(here[target], planted_rows(count, share), cell, part)
            audits = judge_tails(counted, _count(here | {target: planted}, units), _PLACES, limits)
            told[share] += any([*divmod(cell, _PLACES.side)] in tail.cells for tail in audits[number])
    return np.mean(said, axis=0), told


def _values(rows: pa.Table) -> dict[int, np.ndarray]:
    return by_label(rows, _PLACES)


def _count(night: dict[int, np.ndarray], units: dict[int, Units]) -> Exceedances:
    counts = Exceedances.zero(len(units), _PLACES)
    for number, label in enumerate(units):
        counts.add(number, night[label], units[label], _PLACES)
    return counts


def _plant(values: np.ndarray, pictures: int, cell: int, part: float) -> np.ndarray:
    """Returns the values with the first pictures putting a part of their attention into a cell and those it is in."""
    changed, cells = values.copy(), _PLACES.side**2
    signed = values[:pictures, :cells] * (1 - part)
    signed[:, cell] += part
    rest = {
        "grid": values[:pictures, -cells - 2 : -2],
        "border_share": values[:pictures, -2],
        "gini": values[:pictures, -1],
    }
    changed[:pictures] = _PLACES.values({"signed_grid": signed, **rest})
    return changed


if __name__ == "__main__":
    main()
