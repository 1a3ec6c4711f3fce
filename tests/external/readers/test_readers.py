"""What a run stores is read by the programs that people ask with: the same numbers and nulls, in every type of map."""

from __future__ import annotations

import glob
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.stored_run import CHUNKS, PROVENANCE, SHAPE, make_rows, write_run
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.maps.importance import Importance

BLANK = 1
"""The image of the first chunk whose map is zero everywhere, so that its columns are null."""

Column = list[Any]


def read_datasets(files: str, name: str, folder: Path) -> Column:
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"))["train"]
    return list(found[name])


def read_datasets_streaming(files: str, name: str, folder: Path) -> Column:
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "cache"), streaming=True)
    return [row[name] for row in found["train"]]


def read_duckdb(files: str, name: str, folder: Path) -> Column:
    query = f"SELECT {name} FROM '{files}' ORDER BY filename, file_row_number"
    return [value for (value,) in duckdb.sql(query).fetchall()]


def read_pandas(files: str, name: str, folder: Path) -> Column:
    return pd.concat([pd.read_parquet(path) for path in sorted(glob.glob(files))])[name].tolist()


def read_polars(files: str, name: str, folder: Path) -> Column:
    return pl.scan_parquet(files).select(name).collect()[name].to_list()


def read_pyarrow(files: str, name: str, folder: Path) -> Column:
    return pq.read_table(str(Path(files).parent))[name].to_pylist()


READERS = [read_datasets, read_datasets_streaming, read_duckdb, read_pandas, read_polars, read_pyarrow]


@pytest.fixture(scope="module", params=["float16", "float32", "int8"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 11 images of which one failed and another has a map of zeros."""
    settings = Settings(dtype=request.param, gradient=True)
    folder = tmp_path_factory.mktemp("readers") / "run"
    write_run(str(folder), settings)
    with store.write_part(str(folder), CHUNKS[0], PROVENANCE, settings, SHAPE) as part:
        for position in range(CHUNKS[0].count):
            (row,) = make_rows(CHUNKS[0], position, settings)
            blank = vars(Importance()) | {"attribution": np.zeros(SHAPE, request.param)}
            part.add([row | blank if position == BLANK else row])
    return folder


def is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["attribution", "gradient", "grid", "signed_grid", "channel_share"])
def test_arrays_come_back(run: Path, tmp_path: Path, read: Callable[[str, str, Path], Column], name: str) -> None:
    found = read(f"{run}/attributions/*.parquet", name, tmp_path)
    raw = pq.read_table(run / "attributions")[name].to_pylist()
    assert len(found) == 10
    for position, (value, expected) in enumerate(zip(found, raw, strict=True)):
        assert is_null(value) == (position == BLANK and name not in ("attribution", "gradient"))
        if not is_null(value):
            np.testing.assert_array_equal(np.asarray(list(value), float), np.asarray(expected, float))


@pytest.mark.parametrize("read", READERS)
def test_numbers_and_fields_come_back(run: Path, tmp_path: Path, read: Callable[[str, str, Path], Column]) -> None:
    def column(name: str) -> Column:
        return read(f"{run}/attributions/*.parquet", name, tmp_path)

    gini = column("gini")
    assert [is_null(value) for value in gini] == [position == BLANK for position in range(10)]
    assert column("image_id")[3] == "a.tfrecord#3"
    assert [list(value) for value in column("fields")] == [[{"key": "camera", "value": "north"}]] * 10
    assert column("predictions")[0][0]["name"] == "class 0"
    assert column("path")[0][1]["alpha"] == 0.75
    assert bytes(column("thumbnail")[0]).startswith(b"\xff\xd8")


@pytest.mark.parametrize("read", READERS)
def test_statistics_come_back(run: Path, tmp_path: Path, read: Callable[[str, str, Path], Column]) -> None:
    files = f"{run}/statistics/*.parquet"
    kinds, counts, grids = (read(files, name, tmp_path) for name in ("kind", "count", "mean_grid"))
    assert kinds[0] == "all"
    assert counts[0] == 10
    assert sum(grids[0]) == pytest.approx(1, abs=1e-6)  # of 64 shares that were rounded to float32


@pytest.mark.parametrize("read", READERS)
def test_errors_come_back(run: Path, tmp_path: Path, read: Callable[[str, str, Path], Column]) -> None:
    assert read(f"{run}/errors/*.parquet", "message", tmp_path) == ["not an image: ☠\n"]


def test_a_map_has_its_shape_in_a_dataset(run: Path, tmp_path: Path) -> None:
    """As the README shows it."""
    (path, *_) = sorted(glob.glob(f"{run}/attributions/*.parquet"))
    shape = json.loads(pq.read_metadata(path).metadata[b"ig_audit.map_shape"])
    rows = datasets.load_dataset("parquet", data_files=path, cache_dir=str(tmp_path / "cache"))["train"]
    values = np.reshape(rows.with_format("numpy")[2]["attribution"], shape)
    table = pq.read_table(path, columns=["attribution"])
    np.testing.assert_array_equal(values, store.schema.arrays(table, "attribution")[2])


def test_duckdb_answers_the_question_of_the_readme(run: Path) -> None:
    query = f"SELECT count(*), count(border_share), avg(border_share) FROM '{run}/attributions/*.parquet'"
    rows, known, mean = duckdb.sql(query).fetchall()[0]
    assert (rows, known) == (10, 9)
    shares = [value for value in read_pyarrow(f"{run}/attributions/*", "border_share", run) if value is not None]
    assert mean == pytest.approx(np.mean(shares))
