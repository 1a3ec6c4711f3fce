"""`verify` says nothing about a good run, and names what was done to a bad one."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.verify import check as verify_module
from pipeline.verify.check import verify
from support.random_rows import merge_slices
from tests import stored_run
from tests.stored_run import CHUNKS, PROVENANCE, SHAPE, make_failure, make_rows, write_chunk, write_run
from transforms import store
from transforms.core.explain.settings import Settings
from transforms.core.statistics.importance import summarize_rows
from transforms.store.run import Run

FIRST, MIDDLE, LAST = (f"attributions/part-{chunk.id}.parquet" for chunk in CHUNKS)
ERRORS = f"errors/part-{CHUNKS[-1].id}.parquet"
STATISTICS = "statistics/statistics.parquet"


@pytest.fixture
def run(tmp_path) -> Path:
    write_run(str(tmp_path / "run"), targets=2)
    return tmp_path / "run"


def found(run: Path) -> dict[str, str]:
    findings = verify(Run.open(str(run)))
    assert len({finding.file for finding in findings}) == len(findings)
    return {finding.file: finding.problem for finding in findings}


def relist(run: Path, **changes: store.PartSummary) -> None:
    """Makes the manifest list what is there, as one who covers traces would."""
    manifest = Run.open(str(run)).manifest
    parts = tuple(
        dataclasses.replace(part, attributions=store.files.describe_file(str(run), part.attributions.name))
        for part in manifest.parts
    )
    statistics = store.files.describe_file(str(run), manifest.statistics.name)
    store.write_manifest(str(run), dataclasses.replace(manifest, parts=parts, statistics=statistics))


def rewrite(path: Path, change) -> None:
    """Replaces the table in a Parquet file by `change(table)`, and keeps its metadata."""
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)


def replaced(table: pa.Table, name: str, values: list) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def test_a_good_run_has_no_findings_and_progress_is_told(run, monkeypatch):
    told = []
    assert verify(Run.open(str(run)), lambda done, total: told.append((done, total))) == []
    assert told == [(8, 20), (16, 20), (20, 20)]
    monkeypatch.setattr(verify_module, "_BLOCK_ROWS", 1)
    assert verify(Run.open(str(run))) == []


def test_a_directory_without_a_manifest_is_refused(run):
    (run / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.json: no manifest, so the run is unfinished"):
        verify(Run.open(str(run)))


def test_a_missing_part_is_found(run):
    (run / MIDDLE).unlink()
    problems = found(run)
    assert problems.pop(MIDDLE) == "is missing"
    expected = r"differs from the statistics of the stored rows in all, .* and \d+ more slices"
    assert re.fullmatch(expected, problems.pop(STATISTICS))
    assert problems == {}


def test_missing_errors_are_found(run):
    (run / ERRORS).unlink()
    assert found(run)[ERRORS] == "is missing"


@pytest.mark.parametrize("name", [FIRST, ERRORS, STATISTICS])
def test_a_changed_file_is_found(run, name):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[:-1] + b"!")
    problems = [finding.problem for finding in verify(Run.open(str(run))) if finding.file == name]
    assert problems[0].startswith("was changed: its sha256 is ")


def test_a_changed_score_is_found_even_where_the_manifest_was_made_to_agree(run):
    def nudge(table: pa.Table) -> pa.Table:
        scores = table.column("score").to_numpy().copy()
        scores[3] += 1e-6
        position = table.schema.get_field_index("score")
        return table.set_column(position, table.schema.field("score"), pa.array(scores))

    rewrite(run / FIRST, nudge)
    relist(run)
    assert found(run) == {
        STATISTICS: "differs from the statistics of the stored rows in all, label 1, shard a.tfrecord and 1 more slices"
    }


def test_a_changed_mean_is_found_even_where_the_manifest_was_made_to_agree(run):
    def nudge(table: pa.Table) -> pa.Table:
        means = table.column("mean_score").to_numpy().copy()
        means[2] *= 1 + 2.0**-52
        position = table.schema.get_field_index("mean_score")
        return table.set_column(position, table.schema.field("mean_score"), pa.array(means))

    rewrite(run / STATISTICS, nudge)
    relist(run)
    assert found(run) == {STATISTICS: "differs from the statistics of the stored rows in confusion 1>3"}


@pytest.mark.parametrize("backwards", [False, True])
def test_minus_zero_is_zero_in_whatever_order_parts_were_merged(run, backwards):
    """As version 0.1.0 stored it: the entropy of a single pixel was −0, that of a black picture 0."""
    for part, entropy in ((FIRST, -0.0), (MIDDLE, 0.0), (LAST, 0.5)):
        rewrite(run / part, lambda table, entropy=entropy: replaced(table, "entropy", [entropy] * len(table)))
    summaries = Run.open(str(run)).manifest.parts
    found_in = [summarize_rows(stored_run.read_columns(str(run), part)) for part in summaries]
    store.write_statistics(str(run), merge_slices(reversed(found_in) if backwards else found_in), PROVENANCE)
    relist(run)
    assert verify(Run.open(str(run))) == []


def test_statistics_of_version_0_1_0_may_hold_minus_zero(run):
    def minus_zero(table: pa.Table) -> pa.Table:
        for name in ("min_entropy", "max_entropy", "p05_entropy", "p25_entropy"):
            table = replaced(table, name, [-0.0] * len(table))
        states = [text.replace('"low":0.0,', '"low":-0.0,') for text in table.column("state").to_pylist()]
        return replaced(table, "state", states)

    for part in (FIRST, MIDDLE, LAST):
        rewrite(run / part, lambda table: replaced(table, "entropy", [0.0] * len(table)))
    statistics = merge_slices(
        summarize_rows(stored_run.read_columns(str(run), part)) for part in Run.open(str(run)).manifest.parts
    )
    store.write_statistics(str(run), statistics, PROVENANCE)
    rewrite(run / STATISTICS, minus_zero)
    relist(run)
    assert verify(Run.open(str(run))) == []
    rewrite(run / STATISTICS, lambda table: replaced(table, "state", ["{}"] * len(table)))
    relist(run)
    assert "differs from the statistics" in found(run)[STATISTICS]


def test_slices_in_another_order_are_found(run):
    rewrite(run / STATISTICS, lambda table: table.take(list(reversed(range(len(table))))))
    relist(run)
    assert found(run) == {STATISTICS: "differs from the statistics of the stored rows in the order of slices"}


def test_a_doubled_part_is_found(run):
    shutil.copy(run / FIRST, run / "attributions" / "part-copy.parquet")
    assert found(run) == {"attributions/part-copy.parquet": "is not in the manifest"}


def test_a_part_that_the_manifest_lists_twice_is_found(run):
    manifest = Run.open(str(run)).manifest
    copy = dataclasses.replace(
        manifest.parts[0],
        attributions=dataclasses.replace(manifest.parts[0].attributions, name="attributions/x.parquet"),
    )
    shutil.copy(run / FIRST, run / "attributions" / "x.parquet")
    store.write_manifest(str(run), dataclasses.replace(manifest, parts=(*manifest.parts, copy)))
    problems = found(run)
    assert problems[FIRST] == problems["attributions/x.parquet"] == "has 4 images that another part has too"


def test_a_stray_errors_part_is_found_and_temporary_files_are_not(run):
    shutil.copy(run / ERRORS, run / "errors" / "part-x.parquet")
    (run / "attributions" / ".1234.tmp").write_bytes(b"")
    assert found(run) == {"errors/part-x.parquet": "is not in the manifest"}


def rewritten(run: Path, rows: list, failures: list = ()) -> dict[str, str]:
    """Returns what is found after the first chunk's part was written anew, and listed with the counts it had."""
    with store.write_part(str(run), CHUNKS[0], PROVENANCE, Settings(), SHAPE) as part:
        for row in rows:
            part.add([row])
        for failure in failures:
            part.fail(failure)
    manifest = Run.open(str(run)).manifest
    listed = dataclasses.replace(part.summary, images=len({row["image_id"] for row in rows}) + len(failures))
    store.write_manifest(str(run), dataclasses.replace(manifest, parts=(listed, *manifest.parts[1:])))
    return {finding.problem for finding in verify(Run.open(str(run))) if finding.file == FIRST}


def test_a_doubled_row_is_found(run):
    rows = [make_rows(CHUNKS[0], 0)[0], make_rows(CHUNKS[0], 1)[0], make_rows(CHUNKS[0], 0)[0]]
    assert "holds ('a.tfrecord#0', 0) twice" in rewritten(run, rows)


def test_an_image_that_is_attributed_and_failed_is_found(run):
    rows = [make_rows(CHUNKS[0], 0)[0], make_rows(CHUNKS[0], 1)[0]]
    assert "holds a.tfrecord#1 twice" in rewritten(run, rows, [make_failure(CHUNKS[0], 1)])


def test_counts_that_do_not_add_up_are_found(run):
    content = json.loads((run / "manifest.json").read_text())
    content["parts"][0] |= {"rows": 7, "images": 5, "failures": 2}
    (run / "manifest.json").write_text(json.dumps(content))
    problems = {finding.problem for finding in verify(Run.open(str(run))) if finding.file == FIRST}
    assert problems == {
        "its rows is 8, the manifest says 7",
        "its images is 4, the manifest says 5",
        "its failures is 0, the manifest says 2",
        "holds 8 rows, the manifest says 7",
        "holds 0 failures, the manifest says 2",
        "holds 4 images, attributed or failed, the manifest says 5",
    }


def test_a_part_of_another_config_or_chunk_is_found(run):
    shutil.copy(run / MIDDLE, run / FIRST)
    manifest = Run.open(str(run)).manifest
    other = dataclasses.replace(manifest.provenance, config_digest="another")
    store.write_manifest(str(run), dataclasses.replace(manifest, provenance=other))
    relist(run)
    problems = "\n".join(str(finding) for finding in verify(Run.open(str(run))))
    assert re.search(r"its chunk is a\.tfrecord-4, the manifest says a\.tfrecord-0", problems)
    assert re.search(r"its config_digest is c0ffee, the manifest says another", problems)


def test_a_file_that_is_not_a_part_is_found(run):
    (run / FIRST).write_bytes(b"hello")
    relist(run)
    problems = found(run)
    assert problems[FIRST].startswith("cannot be read (")


def test_verify_loads_neither_beam_nor_tensorflow():
    code = "import sys, pipeline.verify.check; print(sorted({'apache_beam', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_chunk_written_again_is_the_same_part(run):
    write_chunk(str(run), CHUNKS[0], targets=2)
    assert verify(Run.open(str(run))) == []
