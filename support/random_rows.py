"""Random rows by column, as `statistics.summarize_rows` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from transforms.core.statistics.importance import STORED_SCALARS, ImportanceStatistics, add_slices
from transforms.core.statistics.slices import Slice
from transforms.core.statistics.statistic import Columns


def make_rows(count: int, seed: int = 0, classes: int = 5, grid: int = 4) -> Columns:
    """Returns `count` rows, the same for the same arguments; about one in `classes + 1` has no label."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(grid * grid) * 0.3, size=count).astype(np.float32)
    rows = {
        "grid": shares,
        "signed_grid": (shares * rng.uniform(-1, 1, size=shares.shape)).astype(np.float32),
        "channel_share": rng.dirichlet(np.ones(3), size=count).astype(np.float32),
        "baseline_score": rng.uniform(0, 0.01, size=count).astype(np.float32),
        "converged": rng.random(count) < 0.9,
    }
    rows |= {name: rng.normal(0, 10 ** rng.uniform(-6, 3), size=count).astype(np.float32) for name in STORED_SCALARS}
    rows["steps"] = rng.integers(24, 512, size=count)
    rows["pointing_hit"] = rng.choice(np.array([0, 1, np.nan], np.float32), size=count)
    measured = rng.random(count) < 0.3
    rows |= {name: np.where(measured, rows[name], np.float32(np.nan)) for name in ("insertion_auc", "deletion_auc")}
    predicted = rng.integers(0, classes, size=count).tolist()
    labels = [int(label) if label < classes else None for label in rng.integers(0, classes + 1, size=count)]
    return rows | {
        "label": labels,
        "label_name": [None if label is None else f"class {label}" for label in labels],
        "predicted": predicted,
        "target": predicted,
        "target_name": [f"class {target}" for target in predicted],
        "target_rank": [0] * count,
        "predicted_name": [f"class {target}" for target in predicted],
        "shard": [f"/in/{'ab'[number % 2]}-{number % 3}.tar" for number in range(count)],
        "fields": [[("camera", f"{number % 4}")] for number in range(count)],
    }


def merge_slices(parts: Iterable[Mapping[Slice, ImportanceStatistics]]) -> dict[Slice, ImportanceStatistics]:
    """Returns the statistics of the rows of all `parts`, slice by slice, sorted by slice, as a run stores them."""
    merged: dict[Slice, ImportanceStatistics] = {}
    for part in parts:
        add_slices(merged, part.items())
    return dict(sorted(merged.items()))
