"""A whole run of few steps: what it stores, that it is verified and compared, and does not depend on its chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_tar
from transforms.core.record import Row

FEW = {"rule": "shifted", "steps": 2, "second_share": 0.5, "reference_share": 0.4, "dtype": "float32"}
COUNT = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shard") / "a.tar"
    images = [*pictures(COUNT - 1), np.zeros((32, 32, 3), np.uint8)]
    write_tar(path, {f"{number}.png": png(image) for number, image in enumerate(images)})
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, model: str, shard: Path) -> tuple[Path, list[Row]]:
    folder = tmp_path_factory.mktemp("few") / "run"
    assert run(folder, input=shard, model=model, chunk_images=5, **FEW) == 0
    return folder, rows_of(folder)


def test_cells_sum_to_the_score_less_the_baselines_and_the_delta(stored):
    for row in stored[1]:
        difference = row["score"] - row["baseline_score"] + row["convergence_delta"]
        assert np.sum(row["cells"]) == pytest.approx(difference, abs=1e-5)
        assert np.sum(row["attribution"]) == pytest.approx(difference, abs=1e-5)
        assert row["error_estimate"] is row["converged"] is None
        assert row["steps"] == 2


def test_chosen_pictures_have_further_maps(stored, tmp_path, model, shard):
    rows = stored[1]
    assert run(tmp_path / "accurate", input=shard, model=model, rule="adaptive") == 0
    chosen = [row["reference_steps"] is not None for row in rows]
    assert 0 < sum(chosen) < COUNT
    assert 0 < sum(row["second_cells"] is not None for row in rows) < COUNT
    for row, accurate, has in zip(rows, rows_of(tmp_path / "accurate"), chosen, strict=True):
        assert row["reference_extra"] is False
        if has:
            assert row["reference_steps"] == accurate["steps"]
            np.testing.assert_allclose(row["reference_cells"], accurate["cells"], atol=1e-5)
            assert (row["reference_grid"] is None) == (accurate["grid"] is None)


def test_other_chunks_give_the_same_rows(stored, tmp_path, model, shard):
    assert run(tmp_path / "run", input=shard, model=model, chunk_images=12, batch_size=7, **FEW) == 0
    for one, other in zip(stored[1], rows_of(tmp_path / "run"), strict=True):
        for name in ("cells", "second_cells", "reference_cells", "reference_gini"):
            assert (one[name] is None) == (other[name] is None)
            if one[name] is not None:
                np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_it_is_verified(stored):
    assert main(["verify", str(stored[0])]) == 0
