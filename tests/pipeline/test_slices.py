"""The whole job with fields to slice by, a cap on slices, and masks; and a run that is compared when it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run, table_of
from tests.saved_models import smooth
from tests.shards import write_tar
from transforms.core.statistics.slices import OTHER
from transforms.store.schema import pairs

COUNT = 12
FAST = {"rule": "midpoint", "steps": 4, "channels": "sum"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("shard") / "a.tar")


def write_pictures(path: Path, seed: int = 0) -> Path:
    members: dict[str, Any] = {}
    for number, image in enumerate(pictures(COUNT, seed=seed)):
        members |= {f"{number}.jpg": png(image), f"{number}.json": {"label": number % 3, "camera": f"c{number // 3}"}}
        if number % 2:
            left = np.zeros_like(image)
            left[:, : image.shape[1] // 2] = 255
            members[f"{number}.mask.png"] = png(left)
    write_tar(path, members)
    return path


def slices(folder: Path) -> dict[tuple[str, str, str], int]:
    return {(row["kind"], row["value"], row["name"]): row["count"] for row in table_of(folder).to_pylist()}


def test_fields_make_slices_and_are_carried(tmp_path, model, shard):
    assert run(tmp_path / "run", input=shard, model=model, slice_by=["camera", "site"], **FAST) == 0
    assert [dict(pairs(row["fields"]))["camera"] for row in rows_of(tmp_path / "run")].count("c1") == 3
    found = slices(tmp_path / "run")
    assert {key[1]: count for key, count in found.items() if key[0] == "field:camera"} == {f"c{i}": 3 for i in range(4)}
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("chunk_images", [5, 256])
def test_only_the_largest_slices_are_kept_and_the_others_counted(tmp_path, model, shard, chunk_images):
    options = {"slice_by": "camera", "max_slices": 2, "chunk_images": chunk_images}
    assert run(tmp_path / "run", input=shard, model=model, **options, **FAST) == 0
    found = slices(tmp_path / "run")
    cameras = {key[1:]: count for key, count in found.items() if key[0] == "field:camera"}
    assert cameras == {("c0", "c0"): 3, ("c1", "c1"): 3, ("", OTHER): 6}
    assert main(["verify", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("max_slices", [1, 2])
def test_a_run_that_keeps_few_slices_is_compared_reported_and_resumed(tmp_path, model, max_slices):
    shard = write_pictures(tmp_path / "a.tar", seed=4)  # the model predicts three classes: of 9, 2 and 1
    (tmp_path / "few.yaml").write_text("min_rows: 4\nmin_class_rows: 2\n")
    options = {"input": shard, "model": model, "slice_by": "camera", "max_slices": max_slices, **FAST}
    assert run(tmp_path / "approved", **options) == 0
    options |= {"reference": tmp_path / "approved", "thresholds": tmp_path / "few.yaml"}
    assert run(tmp_path / "run", **options) == 0
    assert run(tmp_path / "run", resume=True, **options) == 0
    assert main(["verify", str(tmp_path / "run")]) == 0
    found = slices(tmp_path / "run")
    assert found["predicted", "", OTHER] == {1: 3, 2: 1}[max_slices]
    assert found["field:camera", "", OTHER] == 12 - 3 * max_slices
    audit = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert "predicted" in {one["kind"] for one in audit["slices"]}
    assert ("", OTHER) not in {(one["value"], one["name"]) for one in audit["slices"]}
    for page in ("report.html", "alone.html"):
        text = (tmp_path / "run" / page).read_text()
        for kind in ("Predicted as", "Camera"):
            assert f'{kind} <bdi dir="auto">all others</bdi>' in text
        (tmp_path / "run" / "audit.json").unlink(missing_ok=True)
        assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "run" / "alone.html")]) == 0


def test_masks_are_measured_where_there_are_any(tmp_path, model, shard):
    assert run(tmp_path / "run", input=shard, model=model, dtype="float32", **FAST) == 0
    for number, row in enumerate(sorted(rows_of(tmp_path / "run"), key=lambda row: row["index"])):
        if number % 2:
            assert 0 < row["mask_share"] < 1
            assert row["pointing_hit"] in (0, 1)
        else:
            assert row["mask_share"] is row["pointing_hit"] is None
    (everything,) = (row for row in table_of(tmp_path / "run").to_pylist() if row["kind"] == "all")
    assert (everything["count"], everything["count_mask_share"]) == (COUNT, COUNT // 2)


def test_a_run_is_compared_with_its_reference_when_it_ends(tmp_path, model, shard, capsys):
    (tmp_path / "few.yaml").write_text("min_rows: 4")
    assert run(tmp_path / "approved", input=shard, model=model, **FAST) == 0
    options = {"input": shard, "model": model, "thresholds": tmp_path / "few.yaml", **FAST}
    assert run(tmp_path / "same", reference=tmp_path / "approved", **options) == 0
    audit = json.loads((tmp_path / "same" / "audit.json").read_text())
    assert audit["verdict"]["outcome"] == "fine"
    assert "No change beyond what the reference shows by itself" in capsys.readouterr().out
    assert "No change beyond" in (tmp_path / "same" / "report.html").read_text()

    audit = tmp_path / "approved" / "manifest.json"
    audit.write_text(audit.read_text().replace('"model_digest": "', '"model_digest": "0'))
    assert run(tmp_path / "replaced", reference=tmp_path / "approved", **options) == 3
    assert "ANOTHER MODEL behind the same path" in capsys.readouterr().out


def test_a_reference_that_cannot_be_compared_is_refused_before_the_work(tmp_path, model, shard, capsys):
    assert run(tmp_path / "approved", input=shard, model=model, **FAST) == 0
    options = {"input": shard, "model": model, **FAST}
    assert run(tmp_path / "run", reference=tmp_path / "approved", grid=16, **options) == 2
    assert "grid: 8 in" in capsys.readouterr().err
    assert run(tmp_path / "run", reference=tmp_path / "nowhere", **options) == 2
    assert run(tmp_path / "run", reference=tmp_path / "approved", thresholds=tmp_path / "nowhere", **options) == 2
    assert not (tmp_path / "run").exists()
