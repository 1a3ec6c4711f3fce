"""Nights of `night_rows` as finished runs, for tests of what compares them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from support.redraw import COLUMNS, write_night
from tests.stored_run import PROVENANCE
from transforms.core.drift.contrast import SCALARS, Rows
from transforms.core.explain.settings import Settings
from transforms.store.run import Run
from transforms.store.schema import attributions_schema


def write_rows(
    run: Path,
    rows: Rows,
    day: int = 1,
    labelled: bool = True,
    named: str = "class {}",
    contents: Sequence[str] | None = None,
    **config: Any,
) -> Run:
    """Writes rows as a finished run of a day of November; `config` and `model…` change what it was made by.

    Pictures are the same if `contents` are; without these, if all of their numbers are.
    """
    schema = attributions_schema(Settings(), (224, 224, 3))
    count = len(rows)
    if contents is None:
        contents = [hashlib.sha256(row.tobytes()).hexdigest()[:32] for row in rows.vectors["grid"]]
    names = [named.format(code) for code in rows.classes.tolist()]
    columns: dict[str, Any] = {
        "image_id": [f"pool#{number}" for number in range(count)],
        "index": np.arange(count),
        "content": contents,
        "cells": _lists(rows.vectors["signed_grid"]),
        "signed_grid": _lists(rows.vectors["signed_grid"]),
        "grid": _lists(rows.vectors["grid"]),
        "channel_share": _lists(rows.vectors["channel_share"]),
        "baseline_score": np.zeros(count, np.float32),
        "converged": np.ones(count, bool),
        "label": rows.classes if labelled else [None] * count,
        "label_name": names if labelled else [None] * count,
        "predictions": [
            [{"target": code, "name": name, "probability": 0.5}]
            for code, name in zip(rows.classes.tolist(), names, strict=True)
        ],
        "target": rows.classes,
        "target_name": names,
        "target_rank": np.zeros(count, np.int32),
        "shard": [f"/in/pool-{number % 3}.tar" for number in range(count)],
        "fields": [[("camera", "ab"[number % 2])] for number in range(count)],
    }
    columns |= {name: pa.array(rows.scalars[name], from_pandas=True) for name in SCALARS}
    columns |= {name: [None] * count for name in ("insertion_auc", "deletion_auc")}  # which no comparison looks at
    arrays = [_array(columns[name], schema.field(name).type) for name in COLUMNS]
    table = pa.Table.from_arrays(arrays, schema=pa.schema([schema.field(name) for name in COLUMNS]))
    made_by = {name: config.pop(name) for name in ("model", "model_digest") if name in config}
    provenance = dataclasses.replace(PROVENANCE, **made_by, config={**PROVENANCE.config, **config})
    return write_night(str(run), table, provenance, f"2026-11-{day:02d}T22:00:00+00:00")


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def _lists(values: np.ndarray) -> pa.Array:
    unknown = np.isnan(values).all(axis=1)
    return pa.array([None if null else row for row, null in zip(values.astype(np.float32), unknown, strict=True)])
