"""Trains and attributes every network that is not there yet: `python -m benchmarks.shortcuts.prepare`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.shortcuts.networks import NETWORKS, Network, Pictures, read_pictures, train
from benchmarks.shortcuts.rows import attribute


def main() -> None:
    """Prepares the networks in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with CIFAR-10's train.parquet and test.parquet"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"), help="where networks and rows are kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="networks; all if none is named")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(options.data)
    chosen = {network.name: network for network in NETWORKS}
    for name in options.only or chosen:
        prepare(chosen[name], pictures, options.folder)


def prepare(network: Network, pictures: Pictures, folder: Path) -> Path:
    """Returns the Parquet file of a network's rows; trains and attributes what is not there."""
    model, rows = folder / f"{network.name}.keras", folder / f"{network.name}.parquet"
    start = time.monotonic()
    if not model.exists():
        train(network, pictures, model)
    trained = time.monotonic()
    if not rows.exists():
        attribute(network, pictures, model, rows)
    print(
        f"{network.name}: trained in {trained - start:.0f} s, attributed in {time.monotonic() - trained:.0f} s",
        flush=True,
    )
    return rows


if __name__ == "__main__":
    main()
