"""Findings without a reference, on real rows: `python -m benchmarks.shortcuts.findings`.

Rows of a class are drawn, some with what the network learned as a shortcut put in, beside as many rows of each other
class. Printed is how often a finding names class and place, how well the pictures are pointed at, and how often a class
of a harmless network has a finding. `--spray` adds CoRelAy's clusters of the same rows: it says neither which class nor
which cluster matters, so counted are the draws in which any of its clusters holds half of the planted pictures and
little else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import rankdata

from benchmarks.common import table, write_json
from benchmarks.shortcuts.networks import CLASSES, NETWORKS, Network
from support.environment import ROOT, make_environment
from transforms.core.findings.groups import Group, find_groups
from transforms.core.findings.robust import strangeness
from transforms.store.schema import matrix

_SPRAY = Path(__file__).with_name("spray.py")
_SIDE = 8


@dataclass(frozen=True)
class Pool:
    """The rows of a network: signed cells by class, and of the class with the plant put in; float `[rows, cells]`."""

    network: Network
    plain: list[np.ndarray]
    planted: np.ndarray

    @classmethod
    def read(cls, network: Network, folder: Path) -> Pool:
        """Returns the stored rows of a network."""
        stored = pq.read_table(folder / f"{network.name}.parquet", columns=["image_id", "label", "signed_grid"])
        signed, labels = matrix(stored, "signed_grid"), stored.column("label").to_numpy()
        planted = np.array([name.startswith("planted") for name in stored.column("image_id").to_pylist()])
        return cls(network, [signed[~planted & (labels == label)] for label in range(len(CLASSES))], signed[planted])


@dataclass(frozen=True)
class Draw:
    """Drawn rows of each class, of which some of the network's class have the plant: those come last."""

    classes: list[np.ndarray]
    target: int
    planted: int

    @property
    def truth(self) -> np.ndarray:
        """Which rows of the class have the plant, bool `[rows]`."""
        return np.arange(len(self.classes[self.target])) >= len(self.classes[self.target]) - self.planted


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"), help="where the networks' rows are")
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 500, 2000], help="pictures of a class")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.005, 0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of networks")
    parser.add_argument("--unseen", action="store_true", help="only the networks that were kept back")
    parser.add_argument("--spray", action="store_true", help="cluster the same rows with CoRelAy")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    wanted = options.only or [one.name for one in NETWORKS if one.unseen is options.unseen]
    there = [one for one in NETWORKS if one.name in wanted and _is_there(options.folder, one)]
    pools = (Pool.read(network, options.folder) for network in there)
    planted, clean = [], []
    for pool in pools:
        if pool.network.plant is None:
            clean.append(_clean(pool, options.rows, options.draws))
        else:
            planted += list(_planted(pool, options))
    for rows in (planted, clean):
        if rows:
            print(table(rows), end="\n\n")
    write_json(options.json, planted + clean)


def _is_there(folder: Path, network: Network) -> bool:
    return (folder / f"{network.name}.parquet").exists()


def draw(pool: Pool, rows: int, share: float, rng: np.random.Generator) -> Draw:
    """Returns `rows` rows of each class, a share of those of the network's class with the plant."""
    count, target = round(rows * share), pool.network.target
    classes = []
    for label, plain in enumerate(pool.plain):
        taken = plain[rng.choice(len(plain), rows - (count if label == target else 0), replace=False)]
        if label == target:
            taken = np.concatenate([taken, pool.planted[rng.choice(len(pool.planted), count, replace=False)]])
        classes.append(taken)
    return Draw(classes, target, count)


def _planted(pool: Pool, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for rows in options.rows:
        for share in options.shares:
            if rows * share >= 1:
                draws = [draw(pool, rows, share, rng) for _ in range(options.draws)]
                line = _score(pool.network, rows, share, draws, options.spray)
                print(line, file=sys.stderr, flush=True)
                yield line


def _score(network: Network, rows: int, share: float, draws: Sequence[Draw], spray: bool) -> dict[str, Any]:
    start = time.process_time()
    found = [find_groups(one.classes) for one in draws]
    seconds = (time.process_time() - start) / len(draws)
    hits = [[group for group in groups if group.number == one.target] for groups, one in zip(found, draws, strict=True)]
    areas = [_area(strangeness(one.classes[one.target]), one.truth) for one in draws]
    kept = [(group[0], one.truth) for group, one in zip(hits, draws, strict=True) if group]
    line = {
        "network": network.name,
        "rows": rows,
        "share": share,
        "draws": len(draws),
        "class": sum(map(bool, hits)),
        "class and place": sum(any(_in_place(network, group) for group in groups) for groups in hits),
        "other classes": sum(len(groups) > len(mine) for groups, mine in zip(found, hits, strict=True)),
        "of the planted": _mean([truth[group.members].sum() / truth.sum() for group, truth in kept]),
        "of the found": _mean([truth[group.members].mean() for group, truth in kept]),
        "AUROC, mean": float(np.mean(areas)),
        "AUROC, least": float(np.min(areas)),
        "processor seconds": seconds,
    }
    return line | ({"CoRelAy": _clusters_hit(draws)} if spray else {})


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _in_place(network: Network, group: Group) -> bool:
    """Returns whether a group's place is that of the plant; if that is anywhere, a group of several places."""
    cells = {row * _SIDE + col for row, col in network.cells}
    return bool(cells & set(group.cells)) if cells else not group.cells


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the area under the ROC curve."""
    ranks = rankdata(np.nan_to_num(scores))
    positive, negative = truth.sum(), (~truth).sum()
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _clean(pool: Pool, rows: Sequence[int], draws: int) -> dict[str, Any]:
    """Returns in how many classes of a harmless network there is a finding: among all rows, and among drawn ones."""
    rng = np.random.default_rng(0)
    line: dict[str, Any] = {"network": pool.network.name, "classes": len(pool.plain)}
    line |= {"all rows": _classes(find_groups(pool.plain))}
    for count in rows:
        if count < min(map(len, pool.plain)):
            found = [_classes(find_groups(draw(pool, count, 0, rng).classes)) for _ in range(draws)]
            line[f"{count} rows, {draws} draws"] = sum(found)
    print(line, file=sys.stderr, flush=True)
    return line


def _classes(groups: Sequence[Group]) -> int:
    return len({group.number for group in groups})


def _clusters_hit(draws: Sequence[Draw]) -> int:
    """Returns in how many draws a cluster of CoRelAy's holds half of the planted pictures, and half of it is these."""
    python = make_environment(ROOT / ".venv-corelay", ["corelay==1.0.0"])
    with tempfile.TemporaryDirectory() as folder:
        rows, clusters = f"{folder}/rows.npz", f"{folder}/clusters.npz"
        np.savez(rows, **{str(number): one.classes[one.target] for number, one in enumerate(draws)})
        subprocess.run([python, "-W", "ignore", str(_SPRAY), rows, clusters], check=True)
        with np.load(clusters) as found:
            return sum(_hit(found[str(number)], one.truth) for number, one in enumerate(draws))


def _hit(clusters: np.ndarray, truth: np.ndarray) -> bool:
    for cluster in np.unique(clusters):
        inside = clusters == cluster
        both = (inside & truth).sum()
        if both >= truth.sum() / 2 and both >= inside.sum() / 2:
            return True
    return False


if __name__ == "__main__":
    main()
