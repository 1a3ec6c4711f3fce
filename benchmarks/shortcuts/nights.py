"""Nights and references drawn from a network's rows, as finished runs that `compare` reads."""

from __future__ import annotations

import functools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shortcuts.networks import CLASSES, STEPS, Network
from pipeline.config import AuditConfig, digest
from support import redraw
from support.planted_nights import Pool
from transforms import __version__
from transforms.store.run import Run
from transforms.store.schema import Provenance

MODEL = "models/classifier"
"""Where all networks are said to lie: a retraining takes the place of the last one."""


def read_pool(network: Network, folder: Path) -> Pool:
    """Returns the rows of a network that was prepared.

    Raises:
        FileNotFoundError: it was not.
    """
    return Pool.of(pq.read_table(folder / f"{network.name}.parquet"))


def write_night(uri: Path, rows: pa.Table, network: str, day: int) -> Run:
    """Writes rows as the finished run of a day.

    Args:
        uri: of the run.
        rows: with `redraw.COLUMNS`.
        network: name of the network that they are of: the digest of the model.
        day: 0 is the first.
    """
    created = f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T22:00:00+00:00"
    return redraw.write_night(str(uri), rows, provenance(network), created)


@functools.cache
def provenance(network: str) -> Provenance:
    """Returns what a night of a network was made by: the options of `rows.attribute`."""
    config = AuditConfig(
        input=("cifar10",), model=MODEL, output="runs/{date}", outputs="logits", score="logit", rule="midpoint",
        steps=STEPS, channels="sum", dtype="int8", faithfulness=0,
    )  # fmt: skip
    shaping = config.shaping()
    made_by = digest(shaping, model=network, names=CLASSES)
    return Provenance(shaping, made_by, MODEL, network, {"ig-audit": __version__})
