"""What a run directory holds reads back as it was written: atomic, deterministic, open to other tools."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import random_rows
from tests import failing_storage, permissions, stored_run
from tests.stored_run import (
    CHUNKS,
    PROVENANCE,
    SHAPE,
    make_failure,
    make_rows,
    make_values,
    write_chunk,
    write_run,
)
from transforms import storage, store
from transforms.core.explain.settings import Settings
from transforms.core.maps.importance import Importance
from transforms.core.maps.quantize import reduce_channels, restore
from transforms.core.record import Chunk
from transforms.core.statistics.histogram import Histogram
from transforms.core.statistics.importance import summarize_rows
from transforms.core.statistics.slices import Slice
from transforms.store import parts, tables
from transforms.store.run import Run
from transforms.store.schema import arrays, matrix, pairs

CHUNK, LAST = CHUNKS[0], CHUNKS[-1]


@pytest.fixture
def run(tmp_path) -> str:
    return str(tmp_path / "run")


def files_below(folder: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(base, name), folder) for base, _, names in os.walk(folder) for name in names
    )


def part_path(run: str, chunk: Chunk = CHUNK, table: str = "attributions") -> str:
    return os.path.join(run, parts.part_name(table, chunk.id))


@pytest.mark.parametrize("channels", ["all", "sum"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 2.0**-11), ("int8", 0.02)])
def test_rows_come_back(run, dtype, tolerance, channels):
    settings = Settings(dtype=dtype, channels=channels)
    write_chunk(run, CHUNK, settings, targets=2)
    table = pq.read_table(part_path(run))
    maps = arrays(table, "attribution")
    assert maps.dtype == dtype
    assert len(table) == 8
    expected = [row for position in range(4) for row in make_rows(CHUNK, position, settings, targets=2)]
    for position, (stored, row) in enumerate(zip(table.drop_columns("attribution").to_pylist(), expected, strict=True)):
        original = reduce_channels(make_values(CHUNK, position // 2, position % 2), channels)
        np.testing.assert_allclose(
            restore(maps[position], stored["scale"]), original, atol=tolerance * np.abs(original).max()
        )
        for name in (
            "image_id",
            "index",
            "label",
            "label_name",
            "target",
            "target_rank",
            "steps",
            "thumbnail",
            "content",
        ):
            assert stored[name] == row[name], name
        assert pairs(stored["fields"]) == row["fields"]
        assert stored["gini"] == row["gini"]
        np.testing.assert_array_equal(np.reshape(stored["grid"], (8, 8)), row["grid"])
        assert stored["path"][0] == {"alpha": 0.25, "score": np.float32(0.1), "slope": 1.5}
        assert stored["predictions"][1]["probability"] == 0.25


def test_errors_come_back_and_there_is_no_file_where_none_failed(run):
    with_failure, without = write_chunk(run, LAST), write_chunk(run, CHUNK)
    assert pq.read_table(part_path(run, LAST, "errors")).to_pylist() == [vars(make_failure(LAST, 2))]
    assert (with_failure.images, with_failure.rows, with_failure.failures) == (3, 2, 1)
    assert without.errors is None
    assert not os.path.exists(part_path(run, CHUNK, "errors"))


def test_a_chunk_in_which_every_image_failed_has_a_part_without_rows(run):
    with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        part.fail(make_failure(CHUNK, 0))
    assert pq.read_metadata(part_path(run)).num_rows == 0
    assert store.finished_part(run, CHUNK, "c0ffee") == part.summary
    assert summarize_rows(stored_run.read_columns(run, part.summary)) == {}


def test_a_part_has_notes_of_its_making(run):
    with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        part.note("engine", {"batch": 8, "in_flight": 2})
    stored = pq.read_metadata(part_path(run)).metadata
    assert stored[b"ig_audit.engine"] == b'{"batch":8,"in_flight":2}'
    assert store.finished_part(run, CHUNK, "c0ffee") == part.summary


def test_the_same_rows_make_the_same_bytes(tmp_path):
    summaries = [write_chunk(str(tmp_path / name), LAST) for name in ("one", "two")]
    assert summaries[0] == summaries[1]
    for table in ("attributions", "errors"):
        one, two = (Path(part_path(str(tmp_path / name), LAST, table)) for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_nothing_appears_when_writing_fails(run):
    with pytest.raises(ZeroDivisionError), store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        part.add(make_rows(CHUNK, 0))
        part.fail(make_failure(CHUNK, 1))
        _ = 1 / 0
    assert files_below(run) == []


def test_the_part_appears_after_its_errors(run, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (seen.append(target), replace(source, target)))
    write_chunk(run, LAST)
    assert seen == [part_path(run, LAST, "errors"), part_path(run, LAST)]


def test_a_retry_leaves_no_errors_of_the_attempt_before(run):
    write_chunk(run, LAST)
    os.remove(part_path(run, LAST))
    with store.write_part(run, LAST, PROVENANCE, Settings(), SHAPE) as part:
        part.add(make_rows(LAST, 0))
    assert not os.path.exists(part_path(run, LAST, "errors"))


def test_rows_leave_memory_in_row_groups(run, monkeypatch):
    monkeypatch.setattr(parts, "_ROW_GROUP_BYTES", 3 * 2 * int(np.prod(SHAPE)))
    with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        for position in range(7):
            part.add(make_rows(CHUNK, position))
    metadata = pq.read_metadata(part_path(run))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 3, 1]


def test_a_map_of_another_shape_is_refused(run):
    rows = make_rows(CHUNK, 0)
    rows[0]["attribution"] = rows[0]["attribution"].transpose(1, 0, 2)
    with (
        pytest.raises(ValueError, match=r"\(16, 12, 3\), where \(12, 16, 3\)"),
        store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part,
    ):
        part.add(rows)


def test_text_that_is_not_utf8_is_escaped(run):
    rows = make_rows(CHUNK, 0)
    rows[0] |= {"image_id": "a#\udcff", "label_name": "\ud800", "fields": [("camera", "\udc80")]}
    failure = dataclasses.replace(make_failure(CHUNK, 1), message="no \udcff")
    with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        part.add(rows)
        part.fail(failure)
    (stored,) = pq.read_table(part_path(run), columns=["image_id", "label_name", "fields"]).to_pylist()
    assert stored == {
        "image_id": "a#\\udcff",
        "label_name": "\\ud800",
        "fields": [{"key": "camera", "value": "\\udc80"}],
    }
    assert pq.read_table(part_path(run, CHUNK, "errors")).column("message").to_pylist() == ["no \\udcff"]


def test_equal_numbers_are_stored_alike_and_nan_is_null(run):
    def zeros(value):
        if isinstance(value, np.ndarray) and value.dtype != np.int8:
            return np.full_like(value, -0.0)
        return -0.0 if isinstance(value, float) else value

    rows = [
        {name: zeros(value) for name, value in make_rows(CHUNK, 0)[0].items()} | {"score": np.float32(np.nan)},
    ]
    with store.write_part(run, CHUNK, PROVENANCE, Settings(dtype="float32"), SHAPE) as part:
        part.add(rows)
    (stored,) = pq.read_table(part_path(run)).to_pylist()
    assert stored["score"] is None
    assert "-0.0" not in repr({name: value for name, value in stored.items() if name != "thumbnail"})
    assert stored["entropy"] == 0
    assert not any(stored["attribution"])


def test_the_footer_tells_what_made_the_part(run):
    write_chunk(run, LAST)
    footer = parts.read_footer(part_path(run, LAST))
    assert footer.provenance == PROVENANCE
    assert footer.chunk == LAST
    assert (footer.images, footer.rows, footer.failures) == (3, 2, 1)
    with pytest.raises(ValueError, match="not a part of a run"):
        parts.read_footer(part_path(run, LAST, "errors"))


def test_a_finished_part_is_found_and_tells_the_same(run):
    assert store.finished_part(run, LAST, "c0ffee") is None
    summary = write_chunk(run, LAST)
    assert store.finished_part(run, LAST, "c0ffee") == summary


def test_a_part_of_another_config_or_chunk_is_not_finished(run):
    write_chunk(run, LAST)
    assert store.finished_part(run, LAST, "another") is None
    assert store.finished_part(run, dataclasses.replace(LAST, count=2), "c0ffee") is None
    os.rename(part_path(run, LAST), part_path(run, CHUNK))
    assert store.finished_part(run, CHUNK, "c0ffee") is None


@pytest.mark.parametrize("table", ["attributions", "errors"])
def test_a_damaged_part_is_not_finished(run, table):
    write_chunk(run, LAST)
    path = Path(part_path(run, LAST, table))
    content = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(0)
    last = column.dictionary_page_offset + column.total_compressed_size - 1  # the last byte of the column's last page
    damages = {
        "empty": b"",
        "cut": content[:-5],
        "a flipped bit": content[:last] + bytes([content[last] ^ 1]) + content[last + 1 :],
        "not Parquet": b"hello" * 100,
    }
    for damage, damaged in damages.items():
        path.write_bytes(damaged)
        assert store.finished_part(run, LAST, "c0ffee") is None, damage
    path.unlink()
    assert store.finished_part(run, LAST, "c0ffee") is None


@pytest.mark.parametrize("table", ["attributions", "errors"])
def test_a_part_that_cannot_be_read_is_neither_finished_nor_unfinished(run, table):
    write_chunk(run, LAST)
    path = Path(part_path(run, LAST, table))
    path.chmod(0)
    with permissions.obeyed(), pytest.raises(storage.RefusedError, match=path.name):
        store.finished_part(run, LAST, "c0ffee")
    path.chmod(0o644)
    assert store.finished_part(run, LAST, "c0ffee") is not None


@pytest.mark.parametrize("table", ["attributions", "errors"])
def test_a_storage_that_fails_for_good_or_a_while_says_nothing_of_a_part(run, table, monkeypatch):
    summary = write_chunk(run, LAST)
    for spare in range(9):
        with monkeypatch.context() as scene:
            failed = failing_storage.fail(scene, f"{table}/part", OSError(5, "busy"), spare)
            if failed or spare < 2:
                with pytest.raises(storage.UnavailableError, match="busy"):
                    store.finished_part(run, LAST, "c0ffee")
        with monkeypatch.context() as scene:
            failing_storage.fail(scene, f"{table}/part", OSError(5, "busy"), spare, times=1)
            assert store.finished_part(run, LAST, "c0ffee") == summary


def test_a_chunk_whose_shard_was_refused_is_done_again_and_one_with_other_failures_not(run):
    for error, finished in (("RefusedError", False), ("ShardError", True)):
        failure = dataclasses.replace(make_failure(CHUNK, 3), error=error)
        with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
            part.add(make_rows(CHUNK, 0))
            part.fail(failure)
        assert (store.finished_part(run, CHUNK, "c0ffee") is not None) == finished


def test_what_made_a_run_is_told_by_its_first_sound_part_else_by_its_manifest(run):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        _ = Run.open(run).provenance
    write_run(run)
    assert Run.open(run).provenance == PROVENANCE
    for chunk in CHUNKS[:2]:
        Path(part_path(run, chunk)).write_bytes(b"PAR1 no more")
    Path(run, "attributions", ".ig-audit-0.tmp").write_bytes(b"")
    os.remove(os.path.join(run, "manifest.json"))
    assert Run.open(run).provenance == PROVENANCE
    Path(part_path(run, LAST)).write_bytes(b"")
    with pytest.raises(ValueError, match="all its parts are damaged"):
        _ = Run.open(run).provenance
    for chunk in CHUNKS:
        os.remove(part_path(run, chunk))
    with pytest.raises(FileNotFoundError, match="the folder holds no run"):  # a killed process left a temporary file
        _ = Run.open(run).provenance
    write_run(run)
    for chunk in CHUNKS:
        Path(part_path(run, chunk)).write_bytes(b"")
    assert Run.open(run).provenance == PROVENANCE
    Path(run, "manifest.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="not a manifest"):
        _ = Run.open(run).provenance


def test_a_part_or_manifest_that_cannot_be_read_is_not_passed_over(run):
    write_run(run)
    first = Path(min(map(part_path, [run] * 3, CHUNKS)))
    first.chmod(0)
    with permissions.obeyed(), pytest.raises(storage.RefusedError, match=first.name):
        _ = Run.open(run).provenance
    manifest = Path(run, "manifest.json")
    manifest.chmod(0)
    with permissions.obeyed(), pytest.raises(storage.RefusedError, match=r"manifest\.json"):
        _ = Run.open(run).manifest
    Path(run).chmod(0)
    with permissions.obeyed(), pytest.raises(storage.RefusedError, match=r"manifest\.json"):
        _ = Run.open(run).has_begun
    Path(run).chmod(0o755)
    assert Run.open(run).has_begun


def rows_of(histogram: Histogram) -> list[dict]:
    return [{"low": low, "high": high, "count": count} for low, high, count in histogram.bars()]


def test_statistics_come_back_to_the_bit_and_finish_as_stored(run):
    manifest = write_run(run, targets=2)
    statistics = tables.statistics_of(Run.open(run).statistics())
    found_in = [summarize_rows(stored_run.read_columns(run, part)) for part in manifest.parts]
    direct = random_rows.merge_slices(reversed(found_in))
    assert statistics == direct
    rows = pq.read_table(os.path.join(run, manifest.statistics.name)).to_pylist()
    assert [(row["kind"], row["value"]) for row in rows] == sorted((key.kind, key.value) for key in direct)
    assert rows[0]["count"] == statistics[Slice("all")].count == 20
    for row in rows:
        key = Slice(row.pop("kind"), row.pop("value"), row.pop("name"))
        finished = statistics[key].finish()
        assert row == {
            name: rows_of(value) if isinstance(value, Histogram) else value for name, value in finished.items()
        }


def test_the_manifest_comes_back(run):
    assert not Run.open(run).has_begun
    manifest = write_run(run)
    assert Run.open(run).has_begun
    assert Run.open(run).manifest == manifest
    assert (manifest.images, manifest.rows, manifest.failures) == (11, 10, 1)
    content = json.loads(Path(run, "manifest.json").read_bytes())
    assert (content["images"], content["rows"], content["failures"]) == (11, 10, 1)
    assert content["config"] == {"baseline": "black", "grid": 8}
    assert [part["attributions"]["name"] for part in content["parts"]] == [
        parts.part_name("attributions", c.id) for c in CHUNKS
    ]


def test_an_unfinished_run_is_held_but_has_no_manifest(run):
    write_chunk(run, CHUNK)
    assert Run.open(run).has_begun
    with pytest.raises(FileNotFoundError):
        _ = Run.open(run).manifest


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 99}'])
def test_what_is_no_manifest_is_refused(run, content):
    os.makedirs(run)
    Path(run, "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest"):
        _ = Run.open(run).manifest


def test_many_slices_are_written_in_blocks_and_found_changed_in_any(tmp_path):
    of_rows = [
        summarize_rows(random_rows.make_rows(3, seed=seed), lambda *_: (Slice("all"),))[Slice("all")]
        for seed in range(4)
    ]
    statistics = {Slice("label", str(number)): of_rows[number % 4] for number in range(3 * tables.BLOCK_SLICES + 5)}
    file = store.write_statistics(str(tmp_path), statistics, PROVENANCE)
    with pq.ParquetFile(tmp_path / file.name) as parquet:
        assert parquet.metadata.num_row_groups == 4
        assert parquet.read().equals(tables.statistics_table(statistics))
    assert tables.statistics_of(Run.open(str(tmp_path)).statistics()) == statistics
    again = store.write_statistics(str(tmp_path), dict(reversed(statistics.items())), PROVENANCE)
    assert again == file


def test_pandas_reads_attributions_and_statistics(run):
    manifest = write_run(run)
    frame = pd.read_parquet(part_path(run))
    assert frame.attribution[0].shape == (int(np.prod(SHAPE)),)
    assert frame.grid[0].sum() == pytest.approx(1, abs=1e-6)  # 64 roundings to float32 of about 1/64
    frame = pd.read_parquet(os.path.join(run, manifest.statistics.name))
    assert frame["mean_steps"][0] == np.mean([40, 41, 42, 43] * 2 + [40, 41])


def types_within(kind: pa.DataType) -> list[pa.DataType]:
    return [kind, *(found for at in range(kind.num_fields) for found in types_within(kind.field(at).type))]


@pytest.mark.parametrize("channels", ["all", "sum"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_columns_are_of_types_that_every_reader_knows(run, dtype, channels):
    """Other readers: tests/external/readers."""
    write_run(run, Settings(dtype=dtype, channels=channels, gradient=True))
    for name in ("attributions", "errors", "statistics"):
        (path, *_) = sorted(Path(run, name).iterdir())
        for field in pq.read_schema(path):
            kinds = types_within(field.type)
            assert not [kind for kind in kinds if isinstance(kind, pa.BaseExtensionType) or pa.types.is_map(kind)]
            assert not [kind for kind in kinds if pa.types.is_fixed_size_list(kind)]  # which cannot be read with nulls


@pytest.mark.parametrize("channels", ["all", "sum"])
def test_the_shape_of_maps_stands_in_the_metadata_of_the_file_and_of_the_field(run, channels):
    write_run(run, Settings(channels=channels, gradient=True))
    shape = SHAPE if channels == "all" else SHAPE[:2]
    table = pq.read_table(os.path.join(run, "attributions"), columns=["attribution", "gradient", "grid"])
    assert json.loads(table.schema.metadata[b"ig_audit.map_shape"]) == list(shape)
    assert arrays(table, "attribution").shape == (10, *shape)
    assert arrays(table, "gradient").shape == (10, *SHAPE[:2])
    (row,) = Run.open(run).find("a.tfrecord#2", ["attribution", "gradient", "fields"])
    assert (row["attribution"].shape, row["gradient"].shape) == (shape, SHAPE[:2])
    assert row["fields"] == [("camera", "north")]


def blank(row: dict) -> dict:
    return row | vars(Importance()) | {"attribution": np.zeros(SHAPE, np.float16)}


def test_arrays_that_are_unknown_come_back_as_nan(run):
    with store.write_part(run, CHUNK, PROVENANCE, Settings(), SHAPE) as part:
        for position in range(4):
            (row,) = make_rows(CHUNK, position)
            part.add([blank(row) if position in (1, 3) else row])
    table = pq.read_table(part_path(run))
    cells = matrix(table, "grid")
    assert np.isnan(cells).all(axis=1).tolist() == [False, True, False, True]
    np.testing.assert_array_equal(cells[2], make_rows(CHUNK, 2)[0]["grid"].ravel())
    sliced = pa.concat_tables([table.slice(3, 1), table.slice(1, 2)])
    np.testing.assert_array_equal(matrix(sliced, "grid"), cells[[3, 1, 2]])
    assert matrix(table.slice(1, 1), "grid").shape == (1, 64)
    assert matrix(table.slice(0, 0), "grid").shape == (0, 64)
    with pytest.raises(ValueError, match="grid: the column does not say the shape of its arrays, or one is missing"):
        arrays(table, "grid")
    found = summarize_rows(stored_run.read_columns(run, part.summary))[Slice("all")]
    assert (found.count, found.values["grid"].count, found.values["gini"].count) == (4, 2, 2)


def test_arrays_of_another_length_are_refused(run):
    write_chunk(run, CHUNK)
    table = pq.read_table(part_path(run), columns=["grid"])
    lists = table.column("grid").to_pylist()
    lists[1] = lists[1][:-1]
    for field in (table.schema.field("grid"), pa.field("grid", pa.list_(pa.float32()))):
        damaged = pa.table([pa.array(lists, pa.list_(pa.float32()))], schema=pa.schema([field]))
        with pytest.raises(ValueError, match=r"grid: arrays of .*63.* numbers, where 64 are stored"):
            matrix(damaged, "grid")


def test_the_store_loads_neither_beam_nor_tensorflow():
    code = "import sys, transforms.store; print(sorted({'apache_beam', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
