"""A run that stores no maps, or estimates no errors: what reads it says so, and does the rest."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests import report_run
from tests.report_run import write_night
from tests.stored_run import drop_maps
from transforms.store.run import Run


@pytest.fixture
def bare(tmp_path) -> Path:
    """A run without maps."""
    write_night(str(tmp_path / "bare"), 60, chunk_images=25)
    drop_maps(str(tmp_path / "bare"))
    return tmp_path / "bare"


def test_the_report_shows_pictures_and_says_how_maps_are_had(bare):
    assert main(["report", str(bare)]) == 0
    page = (bare / "report.html").read_text()
    assert f"No maps are stored; ig-audit refine {bare} --report adds them</bdi>." in page
    assert page.count('alt="What the model saw"') == page.count("no map is stored") > 16
    assert 'alt="The attribution laid over it"' not in page


def test_show_says_how_a_map_is_had(bare, capsys):
    assert main(["show", str(bare), "shard-00001#3", "-o", str(bare / "x.png")]) == 2
    told = capsys.readouterr().err
    assert f"shard-00001#3: no maps are stored; ig-audit refine {bare} --images 'shard-00001#3' adds this one" in told
    assert main(["show", str(bare), "shard-00001#33", "-o", str(bare / "x.png")]) == 2
    assert "no such image" in capsys.readouterr().err


def test_verify_finds_nothing(bare):
    assert main(["verify", str(bare)]) == 0


def test_a_handle_reads_rows_but_no_maps(bare):
    run = Run.open(str(bare))
    assert not run.stores_maps
    assert sum(len(table) for table in run.rows()) == 60
    with pytest.raises(ValueError, match=r"no maps are stored; ig-audit refine .* --images 'shard-00000#1' adds"):
        run.maps(["shard-00000#1"])
    with pytest.raises(ValueError, match="no such image"):
        run.maps(["shard-00000#99"])
    with pytest.raises(ValueError, match="attribution and scale is not stored"):
        run.maps(next(iter(run.rows(["image_id"]))))


def test_without_estimates_of_errors_their_cards_are_left_out(tmp_path, monkeypatch):
    def make_row(*arguments, make=report_run.make_row):
        return make(*arguments) | {"error_estimate": None, "converged": None, "steps": 8}

    folder = tmp_path / "shifted"
    monkeypatch.setattr(report_run, "make_row", make_row)
    config = {**report_run.PROVENANCE.config, "rule": "shifted", "steps": 8}
    monkeypatch.setitem(vars(report_run.PROVENANCE), "config", config)
    write_night(str(folder), 60)
    assert pq.read_table(folder / "attributions", columns=["converged"]).column(0).null_count == 60
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    for text in ("Converged", "converged</dt>", "mean error of a map", "Least converged", "tolerance of a map"):
        assert text not in page
    assert page.count("map of 8 random steps, noisy on its own") > 16
    assert "mean gradient steps" in page
