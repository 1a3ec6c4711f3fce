"""Pictures that equal their baseline have maps that are zero everywhere: nothing is known of these, or counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run, table_of
from tests.saved_models import smooth
from tests.shards import write_tar
from transforms.core.maps.importance import Importance
from transforms.core.record import Row
from transforms.core.vocabulary import CELLS

UNKNOWN = tuple(name for name in vars(Importance()) if name != CELLS)
FAST = {"rule": "midpoint", "steps": 4, "dtype": "float32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


def shard(folder: Path, black: int, others: int) -> Path:
    images = [*pictures(others), *(np.zeros((32, 32, 3), np.uint8) for _ in range(black))]
    write_tar(folder / "a.tar", {f"{number}.png": png(image) for number, image in enumerate(images)})
    return folder / "a.tar"


def whole(folder: Path) -> Row:
    return next(row for row in table_of(folder).to_pylist() if row["kind"] == "all")


def test_black_pictures_change_no_mean_of_the_others(tmp_path, model):
    shapes = {}
    for name, black in (("some", 3), ("none", 0)):
        (tmp_path / name).mkdir()
        pictures_of = shard(tmp_path / name, black, 3)
        assert run(tmp_path / name / "run", input=pictures_of, model=model, chunk_images=2, **FAST) == 0
        assert main(["verify", str(tmp_path / name / "run")]) == 0
        shapes[name] = whole(tmp_path / name / "run")
    rows = rows_of(tmp_path / "some" / "run")
    for row in rows:
        blank = int(row["image_id"].rpartition("#")[2]) >= 3
        assert bool(np.any(row["attribution"])) is not blank
        assert {row[name] is None for name in UNKNOWN} == {blank}
        assert row["insertion_auc"] is row["mask_share"] is None
        assert row["score"] is not None and row["error_estimate"] is not None
    some, none = shapes["some"], shapes["none"]
    assert (some["count"], some["count_gini"], some["count_score"]) == (6, 3, 6)
    for name in UNKNOWN:
        assert some[f"mean_{name}"] == none[f"mean_{name}"] is not None
        assert some[f"std_{name}"] == none[f"std_{name}"]
    assert "3 maps that are zero everywhere are left out" in (tmp_path / "some" / "run" / "report.html").read_text()
    assert "left out" not in (tmp_path / "none" / "run" / "report.html").read_text()


def test_a_run_of_black_pictures_only_is_read_by_everything(tmp_path, model, capsys):
    (tmp_path / "few.yaml").write_text("min_rows: 4\nmin_class_rows: 2\n")
    black, mixed = tmp_path / "black", tmp_path / "mixed"
    for folder, counts in ((black, (4, 0)), (mixed, (4, 4))):
        folder.mkdir()
        assert run(folder / "run", input=shard(folder, *counts), model=model, **FAST) == 0
    assert main(["verify", str(black / "run")]) == 0
    found = whole(black / "run")
    assert found["mean_grid"] is found["mean_gini"] is found["p50_center_row"] is None
    page = (black / "run" / "report.html").read_text()
    assert "No map: all are zero everywhere" in page
    for candidate, reference in ((black, mixed), (mixed, black)):
        arguments = [str(candidate / "run"), "--reference", str(reference / "run")]
        arguments += ["--thresholds", str(tmp_path / "few.yaml"), "-o", str(tmp_path / "page.html")]
        assert main(["report", *arguments]) == 0, capsys.readouterr().err
        assert "Compared with" in (tmp_path / "page.html").read_text()
    assert main(["show", str(black / "run"), "a.tar#0", "-o", str(tmp_path / "shown.png")]) == 0


def test_unknown_is_null_for_every_reader(tmp_path, model):
    assert run(tmp_path / "run", input=shard(tmp_path, 1, 1), model=model, **FAST) == 0
    table = pq.read_table(tmp_path / "run" / "attributions", columns=list(UNKNOWN))
    assert {table.column(name).null_count for name in UNKNOWN} == {1}
