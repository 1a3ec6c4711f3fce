"""Nights that show a shortcut, judged: `python -m benchmarks.shortcuts --data DIR --folder DIR`.

Trains and attributes the networks that are missing, draws nights from their rows, and prints how many were told.
Outcomes are appended to a file, so that the bench can be stopped; what is there is not judged again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import table, write_json
from benchmarks.shortcuts import peers, tails
from benchmarks.shortcuts.networks import NETWORKS, Network
from benchmarks.shortcuts.nights import read_pool
from benchmarks.shortcuts.ours import Ours
from benchmarks.shortcuts.trials import Cell, Results, cells, night_chance, reference_chance, summarize
from support.planted_nights import Pool, draw_night, draw_references, uses

OURS, TAILS = "ours", "tails"
SHARES = (0, 0.005, 0.01, 0.02, 0.05, 0.1)


def main() -> None:
    """Prints the table."""
    options = _options()
    networks = _networks(options)
    _prepare(networks, options)
    results = Results(options.folder / options.results)
    rows: list[dict[str, Any]] = []
    for network in networks:
        pool = read_pool(network, options.folder)
        shares = options.shares if network.plant else [0]
        for detector in options.detector:
            wanted = list(cells(detector, network.name, shares, _possible(pool, network, options), options.references))
            with tempfile.TemporaryDirectory() as folder:
                if detector in (OURS, TAILS):
                    _judge(wanted, pool, network, results, options.nights, Path(folder))
                else:
                    peers.judge(detector, wanted, pool, results, (options.nights, options.quiet), Path(folder))
            rows += _summaries(wanted, pool, results, options)
    if not rows:
        sys.exit("nothing to judge: no network has as many pictures as --rows")
    print(table(rows))
    write_json(options.json, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10's train.parquet and test.parquet")
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"), help="where everything is kept")
    parser.add_argument("--results", default="outcomes.jsonl", metavar="NAME", help="file of outcomes in the folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks, such as tag border")
    parser.add_argument("--unseen", action="store_true", help="also the networks that are kept back")
    parser.add_argument("--detector", nargs="+", default=[OURS], choices=(OURS, TAILS, *peers.DETECTORS))
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the class that has the plant")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 500], help="of each class a night")
    parser.add_argument("--references", type=int, nargs="+", default=[1, 3, 7, 30], help="nights compared with")
    parser.add_argument("--nights", type=int, default=20, help="of each row of the table")
    parser.add_argument("--quiet", type=int, default=100, help="quiet nights that set a peer's threshold")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _networks(options: argparse.Namespace) -> list[Network]:
    known = {network.name: network for network in NETWORKS}
    if unknown := sorted(set(options.only or ()) - set(known)):
        sys.exit(f"--only: {', '.join(unknown)}: not one of {', '.join(known)}")
    wanted = [known[name] for name in options.only] if options.only else list(NETWORKS)
    if hidden := [network.name for network in wanted if network.unseen and not options.unseen]:
        print(f"left out without --unseen: {', '.join(hidden)}", file=sys.stderr)
    return [network for network in wanted if options.unseen or not network.unseen]


def _prepare(networks: list[Network], options: argparse.Namespace) -> None:
    missing = [one for one in networks if not (options.folder / f"{one.name}.parquet").exists()]
    if not missing:
        return
    if options.data is None:
        sys.exit(f"--data: is required to train {', '.join(network.name for network in missing)}")
    from benchmarks.shortcuts.networks import read_pictures
    from benchmarks.shortcuts.prepare import prepare  # imports TensorFlow

    options.folder.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(options.data)
    for network in missing:
        prepare(network, pictures, options.folder)


def _possible(pool: Pool, network: Network, options: argparse.Namespace) -> list[int]:
    """Returns those numbers of rows a class that a network has pictures for."""
    most = min(pool.most(for_nights=True), pool.most(for_nights=False))
    if larger := [rows for rows in options.rows if rows > most]:
        print(f"{network.name}: no nights of {larger} rows a class: it has {most}", file=sys.stderr)
    return [rows for rows in options.rows if rows <= most]


def _judge(wanted: list[Cell], pool: Pool, network: Network, results: Results, nights: int, folder: Path) -> None:
    """Judges by `compare` what was not judged yet; references are written once for all shares of a night."""
    ours = Ours(folder / "runs")
    for rows, count in dict.fromkeys((cell.rows, cell.references) for cell in wanted):
        for night in range(nights):
            these = [cell for cell in wanted if (cell.rows, cell.references) == (rows, count)]
            references = None
            for cell in these:
                if not results.has(cell, night):
                    references = references or draw_references(pool, rows, count, reference_chance(night))
                    candidate = draw_night(pool, rows, cell.share, night_chance(night))
                    judge = tails.judge if cell.detector == TAILS else ours.judge
                    outcome = judge(candidate, references, network)
                    results.add(cell, night, outcome)
                    print(f"{cell} night {night}: {outcome}", file=sys.stderr, flush=True)


def _summaries(
    wanted: list[Cell], pool: Pool, results: Results, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    for cell in wanted:
        found = [outcome for night, outcome in sorted(results.outcomes[cell].items()) if night < options.nights]
        if cell.detector not in (OURS, TAILS):
            found = peers.with_alarms(cell, found, results)
        yield summarize(cell, found, uses(pool, cell.rows, cell.references))


if __name__ == "__main__":
    main()
