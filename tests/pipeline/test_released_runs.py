"""Runs that released versions of ig-audit wrote, one below `tests/runs` for each, are read by this version."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from pipeline.cli import main
from tests import stored_run
from transforms.core.statistics.slices import Slice
from transforms.store.run import Run
from transforms.store.tables import statistics_of

RUNS = sorted(folder for folder in Path(__file__).parents[1].joinpath("runs").iterdir())
BLACK = "pictures-00001-of-00002.tar#5"
"""A black picture: against the black baseline its map is zero everywhere."""


@pytest.fixture(params=RUNS, ids=lambda folder: folder.name)
def released(request, tmp_path) -> str:
    shutil.copytree(request.param, tmp_path / "released")
    return str(tmp_path / "released")


@pytest.fixture
def today(released, tmp_path, monkeypatch) -> str:
    """A run as this version writes it, with the options of the released one."""
    monkeypatch.setattr(stored_run, "PROVENANCE", Run.open(released).manifest.provenance)
    stored_run.write_run(str(tmp_path / "today"), dataclasses.replace(stored_run.SETTINGS, gradient=True))
    return str(tmp_path / "today")


@pytest.fixture
def few(tmp_path) -> str:
    """Thresholds under which a handful of rows are compared."""
    (tmp_path / "few.yaml").write_text("min_rows: 4\nmin_class_rows: 2\n")
    return str(tmp_path / "few.yaml")


def test_there_are_released_runs():
    assert "0.1.0" in {folder.name for folder in RUNS}


def test_it_says_which_version_wrote_it(released, request):
    version = Run.open(released).manifest.provenance.versions["ig-audit"]
    assert request.node.callspec.id == version


def test_its_rows_give_its_statistics(released, capsys):
    assert main(["verify", released]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("kind", ["tutorial", "signed", "saturation", "gradient"])
def test_show_draws_its_maps(released, tmp_path, kind):
    for image_id in ("pictures-00000-of-00002.tar#2", BLACK):
        assert main(["show", released, image_id, "-o", str(tmp_path / "shown.png"), "--kind", kind]) == 0
        assert np.asarray(Image.open(tmp_path / "shown.png")).std() > 0


def test_its_map_is_what_was_stored(released):
    (row,) = Run.open(released).find("pictures-00001-of-00002.tar#3", ("attribution", "gradient", "score", "fields"))
    (black,) = Run.open(released).find(BLACK, ("attribution",))
    assert row["attribution"].shape == black["attribution"].shape == (16, 16, 3)
    assert row["gradient"].shape == (16, 16)
    assert row["attribution"].sum() == pytest.approx(row["score"] - 0.8417263, abs=0.05)
    assert not black["attribution"].any()
    assert dict(row["fields"]) == {"camera": "north"}


def test_its_maps_and_fields_come_from_the_layout_of_their_version(released):
    run = Run.open(released)
    assert isinstance(next(run.rows(["attribution"])).schema.field("attribution").type, pa.FixedShapeTensorType)
    rows = pa.concat_tables(run.rows(["image_id", "attribution", "scale", "gradient", "gradient_scale"]))
    maps, ids = run.maps(rows), rows.column("image_id").to_pylist()
    assert maps.shape == (run.manifest.rows, 16, 16, 3) and maps.dtype == np.float32
    assert run.maps(rows, "gradient").shape == (run.manifest.rows, 16, 16)
    np.testing.assert_array_equal(run.maps(ids[::-1]), maps[::-1])
    for position, image_id in enumerate(ids):
        (row,) = run.find(image_id, ("attribution", "fields"))
        np.testing.assert_array_equal(row["attribution"], maps[position])
        assert dict(row["fields"])["camera"] in ("north", "south")


def test_its_numbers_are_read(released):
    run = Run.open(released)
    assert run.provenance == run.manifest.provenance
    assert run.audit is None
    (errors,) = run.errors()
    assert errors.column("stage").to_pylist() == ["decode"]
    whole = run.statistics(["count", *(f"mean_{name}" for name in run.scalars)], kind="all").to_pylist()[0]
    rows = pa.concat_tables(run.rows(["gini", "steps"]))
    assert whole["count"] == len(rows) == 6
    assert whole["mean_gini"] == pytest.approx(pc.mean(rows.column("gini")).as_py(), rel=1e-6)
    statistics = statistics_of(run.statistics())
    assert statistics[Slice("all")].count == 6
    sample = run.sample(statistics, 3)
    assert len(sample.read([Slice("all")]).of(Slice("all"))) == 3
    os.remove(run.uri_of("manifest.json"))
    unfinished = Run.open(released)
    assert not unfinished.is_finished and unfinished.provenance == run.provenance


def test_it_is_reported(released, tmp_path):
    assert main(["report", released, "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Pictures worth a look" in page
    assert "Predicted as" in page
    assert "1 of 7 images could not be attributed" in page


def test_it_is_compared_with_one_of_its_own_version(released, few, tmp_path, capsys):
    shutil.copytree(released, tmp_path / "copy")
    assert main(["compare", released, str(tmp_path / "copy"), "--thresholds", few]) == 0
    assert "No change beyond" in capsys.readouterr().out


def test_it_is_compared_with_one_of_this_version(released, today, few, tmp_path):
    for candidate, reference in ((released, today), (today, released)):
        audit, page = tmp_path / "audit.json", tmp_path / "page.html"
        assert main(["compare", candidate, reference, "--thresholds", few, "--json", str(audit)]) in (0, 3)
        whole = next(one for one in json.loads(audit.read_text())["slices"] if one["kind"] == "all")
        assert whole["metrics"], whole["state"]
        assert main(["report", candidate, "--reference", reference, "--thresholds", few, "-o", str(page)]) == 0
        assert "Compared with" in page.read_text()
