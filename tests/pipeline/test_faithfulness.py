"""Faithfulness end to end: chosen images in rows, statistics and report; the model's check, once a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import names
from pipeline.cli import main
from pipeline.report import faithfulness as in_report
from tests import stored_run
from tests.night_rows import draw, make_pool
from tests.pipeline.job import pictures, png, rows_of, run, table_of
from tests.report_run import write_night
from tests.saved_models import smooth
from tests.shards import write_shard
from tests.stored_nights import write_rows
from transforms import check_model, store, worker
from transforms.core.explain.faithfulness import is_chosen
from transforms.core.record import Randomization
from transforms.store.run import Run
from transforms.worker import AttributorSpec

COUNT = 12
SHARE = 0.4
FAST = {"rule": "midpoint", "steps": 6, "chunk_images": 5}


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("made")
    uri = write_shard(
        folder, "tfrecord", [png(picture) for picture in pictures(COUNT)], [number % 5 for number in range(COUNT)]
    )
    return {"input": uri, "model": smooth(folder / "smooth"), **FAST}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, options) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(folder, faithfulness=SHARE, **options) == 0
    return folder


def section(folder: Path) -> str:
    """Returns the report's text about faithfulness."""
    page = (folder / "report.html").read_text()
    return page[page.index('<section id="faithfulness"') : page.index('<section id="failures"')]


def test_chosen_images_alone_have_numbers_in_rows_and_statistics(finished):
    rows = rows_of(finished)
    chosen = [row for row in rows if row["insertion_auc"] is not None]
    assert [row["image_id"] for row in chosen] == [r["image_id"] for r in rows if is_chosen(r["image_id"], SHARE)]
    assert 0 < len(chosen) < COUNT
    assert all((row["insertion_auc"] is None) == (row["deletion_auc"] is None) for row in rows)
    (whole,) = (row for row in table_of(finished).to_pylist() if row["kind"] == "all")
    for name in ("insertion_auc", "deletion_auc"):
        found = [row[name] for row in chosen]
        assert whole[f"count_{name}"] == sum(bucket["count"] for bucket in whole[f"histogram_{name}"]) == len(found)
        assert whole[f"mean_{name}"] == pytest.approx(np.mean(found), rel=1e-6)
        assert (whole[f"min_{name}"], whole[f"max_{name}"]) == (min(found), max(found))
    assert main(["verify", str(finished)]) == 0


def test_the_choice_does_not_depend_on_chunks(finished, options, tmp_path):
    assert run(tmp_path / "run", faithfulness=SHARE, **{**options, "chunk_images": 3}) == 0
    for one, other in zip(rows_of(finished), rows_of(tmp_path / "run"), strict=True):
        assert (one["insertion_auc"] is None) == (other["insertion_auc"] is None)
        if one["insertion_auc"] is not None:  # the map's last bits, and so a pixel's rank, depend on its batch
            assert one["insertion_auc"] == pytest.approx(other["insertion_auc"], abs=1e-3)


def test_the_model_is_checked_once_and_a_complete_run_goes_on_without_it(finished, options, monkeypatch):
    manifest = Run.open(str(finished)).manifest
    check = manifest.randomisation
    assert json.loads((finished / "manifest.json").read_text())["randomisation"] == dataclasses.asdict(check)
    assert (check.images, check.passed, check.reason) == (2, True, "")
    monkeypatch.setattr(worker, "attributor", lambda spec: pytest.fail("the model was loaded"))
    assert run(finished, "--resume", faithfulness=SHARE, **options) == 0
    assert Run.open(str(finished)).manifest.randomisation == check


def test_the_report_shows_both(finished):
    text = section(finished)
    measured = sum(row["insertion_auc"] is not None for row in rows_of(finished))
    assert f"Measured on {measured} of {COUNT} rows: the images are among the 40%" in text
    assert "<b>Insertion AUC</b>" in text and "<b>Deletion AUC</b>" in text
    assert '<span class="state fine">passed</span>' in text


def test_that_no_image_was_chosen_is_said(tmp_path, options):
    assert run(tmp_path / "run", faithfulness=1e-9, **options) == 0
    assert f"none of the {COUNT} images is among the 1e-07%" in section(tmp_path / "run")
    (whole,) = (row for row in table_of(tmp_path / "run").to_pylist() if row["kind"] == "all")
    assert (whole["count_insertion_auc"], whole["mean_insertion_auc"]) == (0, None)
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_nought_switches_both_off(tmp_path, options):
    assert run(tmp_path / "run", faithfulness=0, **options) == 0
    assert {row["deletion_auc"] for row in rows_of(tmp_path / "run")} == {None}
    check = Run.open(str(tmp_path / "run")).manifest.randomisation
    assert check == Randomization(reason="switched off by --faithfulness 0")
    text = section(tmp_path / "run")
    assert "Not measured: switched off by --faithfulness 0." in text
    assert "Not checked: switched off by --faithfulness 0." in text


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_outside_0_to_1_is_refused(tmp_path, options, capsys, share):
    assert run(tmp_path / "run", f"--faithfulness={share}", **options) == 2
    assert f"faithfulness: {float(share)} is not a number from 0 to 1" in capsys.readouterr().err


def test_a_run_in_which_every_image_failed_says_why_there_is_no_check(tmp_path):
    spec = AttributorSpec("no model", settings=stored_run.SETTINGS)
    assert check_model.check_run(Run.open(str(tmp_path)), (), spec, "digest").reason == "no image was attributed"


def test_a_failed_check_is_marked(tmp_path):
    manifest = write_night(str(tmp_path / "run"), 40)
    failed = Randomization(images=2, similarity=0.97, passed=False)
    store.write_manifest(str(tmp_path / "run"), dataclasses.replace(manifest, randomisation=failed))
    assert main(["report", str(tmp_path / "run")]) == 0
    text = section(tmp_path / "run")
    assert '<span class="state drift">failed</span>' in text
    assert "0.970 over 2 pictures" in text and "hardly change" in text


def rewrite(path: Path, dropped: list[str]) -> None:
    """Drops columns of a Parquet file, and keeps its metadata."""
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
    table: pa.Table = pq.ParquetFile(path).read()
    pq.write_table(table.drop_columns(dropped).replace_schema_metadata(metadata), path)


@pytest.fixture
def nights(tmp_path) -> Path:
    pool = make_pool(300, classes=2)
    for day in (1, 2):
        write_rows(tmp_path / f"{day}", draw(pool, 200, seed=day), day)
    return tmp_path


def test_runs_of_a_version_without_faithfulness_are_compared_and_reported(nights):
    statistics = nights / "1" / "statistics" / "statistics.parquet"
    unknown = [name for name in pq.read_schema(statistics).names if name.endswith(("insertion_auc", "deletion_auc"))]
    rewrite(statistics, unknown)
    rewrite(nights / "1" / "attributions" / "part-night.parquet", ["insertion_auc", "deletion_auc"])
    assert main(["compare", f"{nights}/2", f"{nights}/1", "--json", f"{nights}/audit.json"]) == 0
    (trend,) = (one for one in json.loads((nights / "audit.json").read_text())["history"]["slices"] if not one["value"])
    assert trend["means"]["insertion_auc"] == [None, None]
    found = in_report.read_faithfulness(Run.open(f"{nights}/1"))
    assert found.sample.startswith("Not measured: the run was made before")
    assert found.check.startswith("Not checked: the run was made before")
    assert found.passed is None


@pytest.mark.parametrize("lacking", ["1", "2"])
def test_a_column_that_an_older_run_lacks_is_named_with_what_to_do(nights, capsys, lacking):
    rewrite(nights / lacking / "attributions" / "part-night.parquet", ["gini", "mask_share"])
    assert main(["compare", f"{nights}/2", f"{nights}/1"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"ig-audit: {nights}/{lacking}/attributions/part-night.parquet: has no column ")
    assert "gini" in message and "mask_share" in message and "make it again" in message


@pytest.mark.parametrize(
    ("command", "code", "file", "column"),
    [
        ("report", 2, "statistics/statistics.parquet", "mean_gini"),
        ("verify", 1, f"attributions/part-{stored_run.CHUNKS[0].id}.parquet", "insertion_auc"),
    ],
)
def test_report_and_verify_name_the_column_too(tmp_path, capsys, command, code, file, column):
    stored_run.write_run(str(tmp_path / "run"))
    rewrite(tmp_path / "run" / file, [column])
    assert main([command, f"{tmp_path}/run"]) == code
    out, err = capsys.readouterr()
    assert f"{tmp_path}/run/{file}: has no column {column}; another version of ig-audit wrote" in out + err


def test_every_kind_of_slice_has_a_name():
    assert names.slice_name("all", "", "") == "All images"
    assert names.slice_name("label", "281", "tabby") == "Labeled tabby"
    assert names.slice_name("predicted", "281", "") == "Predicted as 281"
    assert names.slice_name("field:camera_site", "north", "") == "Camera site north"
