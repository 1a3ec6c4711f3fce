"""Nights of few shifted steps are compared as others are; what they do not estimate is left out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from pipeline.cli import main
from tests.night_rows import draw, make_pool, stamp
from tests.stored_nights import write_rows
from transforms.core.drift.contrast import Rows
from transforms.store.run import Run

POOL = make_pool(1200, classes=3)
FEW = {"rule": "shifted", "steps": 8, "channels": "none"}


def night(folder: Path, rows: Rows, day: int) -> Run:
    unknown = np.full(len(rows), np.nan)
    scalars = {**rows.scalars, "error_estimate": unknown, "steps": np.full(len(rows), 8.0)}
    return write_rows(folder / str(day), dataclasses.replace(rows, scalars=scalars), day, **FEW)


def compared(folder: Path, candidate: Run, reference: Run) -> tuple[int, set[str], set[str]]:
    code = main(["compare", candidate.uri, reference.uri, "--json", str(folder / "audit.json")])
    slices = json.loads((folder / "audit.json").read_text())["slices"]
    metrics = {metric["name"] for one in slices for metric in one["metrics"]}
    drifted = {metric["name"] for one in slices for metric in one["metrics"] if metric["drift"]}
    return code, metrics, drifted


def test_nights_of_the_same_pool_are_alike_and_a_stamp_is_told(tmp_path):
    approved = night(tmp_path, draw(POOL, 600, seed=1), 1)
    code, metrics, drifted = compared(tmp_path, night(tmp_path, draw(POOL, 600, seed=2), 2), approved)
    assert (code, drifted) == (0, set())
    assert "error_estimate" not in metrics
    assert {"grid", "signed_cells", "gini", "score"} <= metrics
    rows = draw(POOL, 600, seed=3)
    stamped = stamp(rows, np.arange(600) % 2 == 0)
    code, _, drifted = compared(tmp_path, night(tmp_path, stamped, 3), approved)
    assert code == 3
    assert "cells" in drifted
