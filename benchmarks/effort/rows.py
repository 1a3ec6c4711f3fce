"""Rows of one network that have a map of few steps, a second one, and a map to tolerance; kept as Parquet."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shortcuts.networks import CLASSES, NETWORKS, Network
from support.redraw import COLUMNS
from transforms.core.explain.settings import Settings
from transforms.core.vocabulary import FEW_STEPS_COLUMNS, REFERENCE, REFERENCED
from transforms.store.schema import matrix

STEPS = 8
SCORE = "logit"

_BATCH = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options by which `pool` finds or makes rows."""
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10's train.parquet and test.parquet")
    parser.add_argument("--folder", type=Path, default=Path("runs/shortcuts"), help="where networks and rows are kept")
    parser.add_argument("--network", default="tag", help="of benchmarks.shortcuts")
    parser.add_argument("--pictures", type=int, default=10_000, help="that no network was trained on")


def pool(options: argparse.Namespace) -> tuple[Network, pa.Table]:
    """Returns the network and its rows, which are made if they are missing."""
    network = next(each for each in NETWORKS if each.name == options.network)
    path = options.folder / f"effort-{network.name}-{options.pictures}.parquet"
    if not path.exists():
        _attribute(dataclasses.replace(network, rows=options.pictures), options, path)
    return network, pq.read_table(path)


def of_maps(rows: pa.Table) -> pa.Table:
    """Returns the rows as a run of maps to tolerance has them."""
    for name in REFERENCED:
        field = rows.schema.field(name)
        rows = rows.set_column(rows.column_names.index(name), field, rows.column(REFERENCE + name))
    scores, baselines = (rows.column(name).to_numpy() for name in ("score", "baseline_score"))
    delta = (matrix(rows, "cells").sum(axis=1, dtype=np.float64) - (scores - baselines)).astype(np.float32)
    position = rows.column_names.index("convergence_delta")
    return rows.set_column(position, rows.schema.field(position), pa.array(delta)).drop_columns(FEW_STEPS_COLUMNS)


def _attribute(network: Network, options: argparse.Namespace, path: Path) -> None:
    from benchmarks.shortcuts.networks import read_pictures, train
    from benchmarks.shortcuts.rows import images, write
    from transforms.core.explain.attributor import Attributor
    from transforms.core.model import classifier
    from transforms.core.model.options import ModelOptions

    settings = Settings(
        rule="shifted", steps=STEPS, second_share=1.0, reference_share=1.0, channels="none", faithfulness=0.0
    )
    pictures, model = read_pictures(options.data), options.folder / f"{network.name}.keras"
    if not model.exists():
        train(network, pictures, model)
    what = ModelOptions(class_names=CLASSES, outputs="logits", score=SCORE)
    attributor = Attributor(classifier.load(str(model), what), settings, _BATCH)
    write(attributor, images(network, pictures), [*COLUMNS, *FEW_STEPS_COLUMNS], path)
