"""A run as a value: what it reads, when it reads it, and how often."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import stored_run
from tests.stored_run import CHUNKS, PROVENANCE, SHAPE, make_values, write_chunk, write_run
from transforms import storage, store
from transforms.core.explain.settings import Settings
from transforms.core.maps.quantize import reduce_channels
from transforms.core.statistics.slices import Slice
from transforms.store.parts import read_footer
from transforms.store.run import Run
from transforms.store.schema import KEY

IDS = [f"{chunk.name}#{chunk.start + position}" for chunk in CHUNKS for position in range(chunk.count)][:-1]
FAILED = "b.tfrecord#2"
LOOKS = ("_info", "_listing", "open_read")


@pytest.fixture
def run(tmp_path) -> Run:
    write_run(str(tmp_path / "run"), targets=2)
    return Run.open(str(tmp_path / "run"))


@pytest.fixture
def asked(monkeypatch) -> Counter[str]:
    """Counts what the storage is asked, by file name."""
    counts: Counter[str] = Counter()
    for function in LOOKS:
        original = getattr(storage, function)

        def counting(uri, *arguments, original=original):
            counts[uri.rpartition("/")[2]] += 1
            return original(uri, *arguments)

        monkeypatch.setattr(storage, function, counting)
    return counts


def test_opening_asks_nothing_and_a_run_is_a_value(tmp_path, asked):
    nowhere = Run.open(str(tmp_path / "nothing"))
    assert not asked
    assert nowhere == Run(nowhere.uri) != Run.open(str(tmp_path / "other"))
    assert len({nowhere, Run(nowhere.uri)}) == 1
    assert nowhere.name == "nothing"
    with pytest.raises(dataclasses.FrozenInstanceError):
        nowhere.uri = "elsewhere"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(nowhere)) == nowhere


def test_what_is_kept_is_read_once(run, asked):
    Path(run.uri, "audit.json").write_text('{"slices": []}')
    for _ in range(3):
        assert run.manifest.images == 11
        assert run.audit == {"slices": []}
        assert "gini" in run.scalars
        assert run.is_finished
    assert asked == {"manifest.json": 1, "audit.json": 1, "statistics.parquet": 1}


def test_a_run_that_is_not_there(tmp_path):
    run = Run.open(str(tmp_path / "nothing"))
    assert not run.has_begun and not run.is_finished and run.audit is None
    for read in (
        lambda: run.manifest,
        lambda: run.provenance,
        lambda: run.statistics(),
        lambda: next(run.rows()),
        lambda: next(run.errors()),
        lambda: run.find("a", []),
        lambda: run.maps(["a"]),
        lambda: run.files,
    ):
        with pytest.raises(FileNotFoundError):
            read()


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(storage.RefusedError, match=r"file/manifest\.json"):
        _ = Run.open(str(tmp_path / "file")).is_finished


def test_an_unfinished_run_has_a_provenance_and_rows_to_find(tmp_path):
    run = Run.open(str(tmp_path))
    part = write_chunk(run.uri, CHUNKS[0])
    assert run.has_begun and not run.is_finished
    assert run.provenance == PROVENANCE
    assert run.find(IDS[1], ["steps"])[0]["steps"] == 41
    assert run.first_rows(2, ["image_id"], [part]) == [{"image_id": name} for name in IDS[:2]]
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: no manifest, so the run is unfinished"):
        _ = run.manifest
    write_run(run.uri)
    assert run.is_finished, "that a run was unfinished is not kept"


def test_files_that_cannot_be_read_are_named(run):
    Path(run.uri, "audit.json").write_text("{")
    with pytest.raises(ValueError, match=r"audit\.json: not JSON"):
        _ = run.audit
    Path(run.uri, "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
        _ = run.is_finished
    for name in ("statistics/statistics.parquet", "attributions/gone.parquet"):
        Path(run.uri, name).unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError, match=f"{run.uri}/{name} is missing"), run.parquet(name):
            pass


DEEP = "[" * 200_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (DEEP, "not JSON: nested too deeply"),
        ("null", "not a JSON object, but null"),
        ("[1]", "not a JSON object, but a list"),
        ("\udcff", "not JSON: not UTF-8 text"),
        ("3", "not a JSON object, but a number"),
    ],
)
def test_what_is_no_json_object_is_neither_an_audit_nor_a_manifest(run, content, said):
    for name in ("audit.json", "manifest.json"):
        Path(run.uri, name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"audit\.json: {said}"):
        _ = run.audit
    with pytest.raises(ValueError, match=rf"manifest\.json: not a manifest: {said}"):
        _ = run.is_finished


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 2}, "version 2, where 1 is known"),
        ({"version": None}, "it has no version"),
        ({"config": []}, "config: not of the kind"),
        ({"created": 3, "facts": None}, "created, facts: not of the kind"),
        ({"parts": [[1]]}, "an entry is not of the kind"),
        ({"statistics": {}}, "an entry is not of the kind"),
        ({"parts": [{}]}, "it has no entry 'attributions'"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(run, changed, said):
    path = Path(run.uri, "manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(ValueError, match=rf"manifest\.json: not a manifest: {said}"):
        _ = run.manifest


def test_where_there_is_no_run_that_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="empty: the folder holds no run"):
        (tmp_path / "empty").mkdir()
        _ = Run.open(f"{tmp_path}/empty").manifest
    for read in (lambda run: run.manifest, lambda run: run.provenance, lambda run: run.find("a", [])):
        with pytest.raises(FileNotFoundError, match="gone: does not exist"):
            read(Run.open(f"{tmp_path}/gone"))


def test_deep_metadata_of_a_part_are_damage(tmp_path):
    for key in ("chunk", "config"):
        metadata = PROVENANCE.to_metadata() | {f"{KEY}chunk": '{"members": []}', f"{KEY}{key}": DEEP}
        counts = {KEY + name: "0" for name in ("images", "rows", "failures")}
        table = pa.table({"a": [1]}).replace_schema_metadata(metadata | counts)
        pq.write_table(table, tmp_path / "part.parquet")
        with pytest.raises(ValueError, match=r"not a part|does not say what made it"):
            read_footer(str(tmp_path / "part.parquet"))


def test_rows_come_a_few_at_a_time_and_with_the_columns_asked_for(run):
    tables = list(run.rows(["steps", "image_id"], most=3))
    assert [len(table) for table in tables] == [3, 3, 2, 3, 3, 2, 3, 1]
    assert all(table.column_names == ["steps", "image_id"] for table in tables)
    assert pa.concat_tables(tables).column("image_id").to_pylist() == [name for name in IDS for _ in range(2)]
    assert set(next(run.rows()).column_names) >= {"attribution", "thumbnail", "fields"}
    last = run.manifest.parts[-1]
    assert run.part_rows(last, ["image_id"]).column(0).to_pylist() == ["b.tfrecord#0"] * 2 + ["b.tfrecord#1"] * 2
    with pytest.raises(ValueError, match="no column nothing"):
        next(run.rows(["nothing"]))


def test_a_part_without_rows_is_an_empty_table(tmp_path):
    run = Run.open(str(tmp_path))
    with store.write_part(run.uri, CHUNKS[0], PROVENANCE, Settings(), SHAPE) as part:
        part.fail(stored_run.make_failure(CHUNKS[0], 0))
    (table,) = run.rows(["image_id", "steps"], [part.summary])
    assert len(table) == 0 and table.column_names == ["image_id", "steps"]
    assert run.first_rows(3, ["image_id"], [part.summary]) == []


def test_first_rows_stop_when_there_are_enough(run):
    rows = run.first_rows(11, ("image_id", "steps"))
    assert [row["image_id"] for row in rows] == [name for name in IDS for _ in range(2)][:11]
    assert rows[10] == {"image_id": "a.tfrecord#5", "steps": 41}
    assert len(run.first_rows(99, ("image_id",))) == 20


def test_errors_are_those_of_all_parts(run):
    (table,) = run.errors(["image_id", "stage"])
    assert table.to_pylist() == [{"image_id": FAILED, "stage": "decode"}]
    assert list(run.errors(parts=run.manifest.parts[:1])) == []


def test_statistics_of_some_columns_and_kinds(run):
    whole = run.statistics(["count", "mean_steps"], kind="all")
    assert whole.column_names == ["count", "mean_steps"]
    assert whole.column("count").to_pylist() == [20]
    assert run.statistics(["value", "kind"]).column_names == ["value", "kind"]
    assert len(run.statistics()) > 1 and "state" in run.statistics().column_names
    with pytest.raises(ValueError, match="no column mean_nothing"):
        run.statistics(["mean_nothing"])


def test_files_are_all_that_the_manifest_describes(run):
    assert len(run.files) == len(run.manifest.parts) + 2
    assert {name for table in ("attributions", "errors", "statistics") for name in run.names_of(table)} == {
        file.name for file in run.files
    }
    for file in run.files:
        assert storage.size(run.uri_of(file.name)) == file.bytes


def tolerance(dtype: str) -> float:
    """Relative to a map's peak: half a step of what float16 keeps of a number, and of int8 near its peak."""
    return {"float32": 0.0, "float16": 2**-11, "int8": 2.5 / 127 / 2}[dtype] + 1e-7


@pytest.mark.parametrize("channels", ["all", "sum"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_maps_are_in_units_of_the_score_whatever_stored_them(tmp_path, dtype, channels):
    write_run(str(tmp_path), Settings(dtype=dtype, channels=channels, gradient=True), targets=2)
    run = Run.open(str(tmp_path))
    expected = [
        reduce_channels(make_values(chunk, position, rank), channels)
        for chunk in CHUNKS[:1]
        for position in range(chunk.count)
        for rank in range(2)
    ]
    table = next(run.rows(["scale", "attribution"], run.manifest.parts[:1]))
    found = run.maps(table)
    assert found.dtype == np.float32 and found.shape == (8, *expected[0].shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(dtype) * np.abs(expected).max())
    assert np.abs(found).max() > 0.01
    by_id = run.maps([IDS[2], IDS[0], IDS[2]])
    np.testing.assert_array_equal(by_id, found[[4, 0, 4]])
    assert run.maps([IDS[0]], "gradient").shape == (1, *SHAPE[:2])
    np.testing.assert_array_equal(run.maps([IDS[3]])[0], run.find(IDS[3], ["attribution"])[0]["attribution"])
    assert run.maps(table.slice(0, 0)).shape == (0, *expected[0].shape)


def test_maps_that_are_not_there_are_refused(run):
    with pytest.raises(ValueError, match=f"{FAILED}: could not be attributed"):
        run.maps([IDS[0], FAILED])
    with pytest.raises(ValueError, match="z: no such image"):
        run.maps(["z"])
    with pytest.raises(ValueError, match="gradient and gradient_scale is not stored"):
        run.maps([IDS[0]], "gradient")
    with pytest.raises(ValueError, match="scale is not stored, or was not read"):
        run.maps(next(run.rows(["attribution"])))
    with pytest.raises(ValueError, match="'grid' is not one of attribution, gradient"):
        run.maps([IDS[0]], "grid")
    assert len(run.maps([])) == 0


def test_a_sample_is_read_without_maps(run, monkeypatch):
    read = []
    rows = Run.rows
    monkeypatch.setattr(Run, "rows", lambda self, columns, **more: read.append(columns) or rows(self, columns, **more))
    sample = run.sample([Slice("all")], 4)
    assert sample.images == {Slice("all"): 10}
    assert len(sample.read([Slice("all")]).of(Slice("all"))) == 4
    assert len(read) == 2
    assert not {"attribution", "thumbnail", "path"} & {name for columns in read for name in columns}
