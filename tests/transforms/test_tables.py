"""Statistics are stored as they were, to the byte; and whoever adds one names it, and changes nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from support.random_rows import make_rows, merge_slices
from tests.stored_run import PROVENANCE, read_columns, write_run
from transforms import store
from transforms.core.statistics import importance
from transforms.core.statistics.importance import ImportanceStatistics, summarize_rows
from transforms.core.statistics.moments import Groups
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.statistics.statistic import INTERVAL, Columns, ColumnType, Statistic, VectorMoments
from transforms.store.tables import statistics_schema

WRITTEN_BEFORE = "7d92ec48a5917e03e6d42ff67dd032a6c3081a640375d04cdeb3c7f0cfde86bc"
"""Of all values but intervals as Python prints them, before statistics were classes of their own."""

FILE_BEFORE = {"25.0.1": "81254aa015af40860d8313adeda8f324de46dadaf5f404309ac03786f6cf15b2"}
"""Of the file, by the version of pyarrow that wrote it."""

OF_ROWS = store.Provenance({"grid": 4}, "0" * 64, "model", "1" * 64, {"ig-audit": "0"})


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_same_rows_give_the_same_bytes_as_before(tmp_path):
    stored = store.write_statistics(str(tmp_path), summarize_rows(make_rows(97), Slicer(("camera",))), OF_ROWS)
    table = pq.read_table(tmp_path / stored.name)
    intervals = [name for name in table.column_names if name.partition("_")[0] in INTERVAL]
    assert len(intervals) == 3 * sum(name.startswith("mean_") for name in table.column_names)
    assert digest_of(repr(table.drop_columns(intervals).to_pylist()).encode()) == WRITTEN_BEFORE
    assert table.schema.remove_metadata() == statistics_schema()
    assert stored.sha256 == FILE_BEFORE.get(pa.__version__, stored.sha256)


class ConfidentMoments(VectorMoments):
    """A vector's moments over the rows whose score is high."""

    def __init__(self, vector: str, least: float) -> None:
        super().__init__(f"confident_{vector}", vector, "score")
        self.least = least

    def vectors(self, rows: Columns) -> np.ndarray:
        vector, score = (rows[name] for name in self.takes)
        return np.where(score[:, None] >= self.least, vector, np.nan)


class Largest(Statistic[float]):
    """The largest border share, in a column of its own kind."""

    columns: Mapping[str, ColumnType] = {"largest_border": "number"}

    def zero(self) -> float:
        return -np.inf

    def grouped(self, rows: Columns, groups: Groups, kinds: Sequence[str]) -> list[float]:
        return [float(one) for one in np.maximum.reduceat(rows["border_share"][groups.members], groups.starts)]

    def merge(self, one: float, other: float) -> float:
        return max(one, other)

    def finish(self, value: float) -> dict[str, Any]:
        return {"largest_border": value if np.isfinite(value) else None}

    def state(self, value: float) -> float:
        return value

    restore = float


@pytest.fixture
def with_more(monkeypatch) -> None:
    """Two statistics more."""
    more = (ConfidentMoments("grid", 0.0), Largest("largest_border", "border_share"))
    monkeypatch.setattr(importance, "STATISTICS", (*importance.STATISTICS, *more))


@pytest.mark.usefixtures("with_more")
def test_a_statistic_more_is_merged_finished_and_restored():
    rows = make_rows(97)
    whole = ImportanceStatistics.of(rows)
    parts = [ImportanceStatistics.of({name: values[start::3] for name, values in rows.items()}) for start in range(3)]
    assert functools.reduce(ImportanceStatistics.merge, parts, ImportanceStatistics.zero()) == whole
    assert ImportanceStatistics.from_state(whole.state()) == whole
    confident = rows["score"] >= 0
    assert 0 < confident.sum() < 97
    row = whole.finish()
    np.testing.assert_allclose(row["mean_confident_grid"], rows["grid"][confident].mean(0, np.float64), atol=1e-12)
    assert row["largest_border"] == rows["border_share"].max()
    nothing = ImportanceStatistics.zero().finish()
    assert nothing["mean_confident_grid"] is nothing["largest_border"] is None


@pytest.mark.usefixtures("with_more")
def test_a_statistic_more_is_stored_and_verified(tmp_path, capsys):
    manifest = write_run(str(tmp_path))
    (whole, *_) = pq.read_table(tmp_path / manifest.statistics.name).to_pylist()
    names = list(whole)
    assert names == statistics_schema({"cells"}).names
    moments = [f"{word}_confident_grid" for word in ("mean", "std", "se", "low95", "high95")]
    assert names[-7:] == [*moments, "largest_border", "state"]
    assert whole["largest_border"] == whole["max_border_share"]
    assert json.loads(whole["state"])["vectors"]["confident_grid"]["count"] > 0
    assert main(["verify", str(tmp_path)]) == 0, capsys.readouterr().out


@pytest.mark.usefixtures("with_more")
def test_a_changed_value_of_a_statistic_more_is_found(tmp_path, capsys):
    manifest = write_run(str(tmp_path))
    statistics = merge_slices(summarize_rows(read_columns(str(tmp_path), part)) for part in manifest.parts)
    whole = Slice("all")
    statistics[whole] = ImportanceStatistics({**statistics[whole].values, "largest_border": 0.99})
    store.write_statistics(str(tmp_path), statistics, PROVENANCE)
    assert main(["verify", str(tmp_path)]) == 1
    assert "all" in capsys.readouterr().out


def test_names_and_columns_of_statistics_are_their_own():
    names = [one.name for one in importance.STATISTICS]
    columns = [column for one in importance.STATISTICS for column in one.columns]
    assert len(set(names)) == len(names)
    assert len({*columns, "kind", "value", "name", "state"}) == len(columns) + 4
    assert not {"version", *(one.section for one in importance.STATISTICS)} & {
        one.name for one in importance.STATISTICS if not one.section
    }
