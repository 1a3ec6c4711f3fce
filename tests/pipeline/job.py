"""Runs commands as a user does, in this process, and reads what they stored."""

from __future__ import annotations

import glob
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.cli import main
from transforms.store.schema import arrays


def run(folder: Path, *flags: Any, **options: Any) -> int:
    """Runs `ig-audit run` with options as flags; returns its exit code."""
    arguments = ["run", "--output", str(folder)]
    for name, value in options.items():
        values = [str(item) for item in value] if isinstance(value, list) else [str(value)]
        arguments += [f"--{name}", *values]
    return main([*arguments, *map(str, flags)])


def rows_of(folder: Path, table: str = "attributions") -> list[dict[str, Any]]:
    """Returns the stored rows, sorted by image and rank; maps as arrays."""
    tables = [pq.ParquetFile(path).read() for path in sorted(glob.glob(f"{folder}/{table}/*.parquet"))]
    rows = []
    for part in tables:
        listed = (
            part.drop_columns(["attribution"]).to_pylist() if "attribution" in part.column_names else part.to_pylist()
        )
        if "attribution" in part.column_names:
            maps = arrays(part, "attribution")
            listed = [{**row, "attribution": values} for row, values in zip(listed, maps, strict=True)]
        rows += listed
    return sorted(rows, key=lambda row: (row["image_id"], row.get("target_rank", 0)))


def table_of(folder: Path) -> pa.Table:
    """Returns the stored statistics."""
    return pq.read_table(folder / "statistics" / "statistics.parquet")


def png(array: np.ndarray) -> bytes:
    """Returns uint8 `[height, width, 3]` as a PNG."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def pictures(count: int, size: int = 32, seed: int = 0) -> list[np.ndarray]:
    """Returns smooth random uint8 pictures, each of another size around `size`."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        height, width = size + generator.integers(-8, 9, 2)
        coarse = Image.fromarray(generator.integers(0, 256, [4, 4, 3], np.uint8))
        found.append(np.asarray(coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC)))
    return found


def npy(array: np.ndarray) -> bytes:
    """Returns an array as an `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
