"""Permission denied, for a shard or for a run that would be gone on with, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import main
from tests import permissions
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms.store.run import Run

FAST = {"rule": "midpoint", "steps": 4, "chunk_images": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    return [write_shard(folder, "tfrecord", [png(picture) for picture in pictures(3)]) for folder in folders]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_a_refused_shard_is_an_error_row_until_a_resumed_run_may_read_it(tmp_path, model, shards):
    options = {"input": shards, "model": model, **FAST}
    assert run(tmp_path / "truth", **options) == 0
    shards[1].chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", **options) == 4
    manifest = Run.open(str(tmp_path / "run")).manifest
    assert (manifest.images, manifest.rows, manifest.failures) == (4, 3, 1)
    (error,) = rows_of(tmp_path / "run", "errors")
    assert (error["shard"], error["index"], error["stage"]) == (str(shards[1]), 0, "read")
    assert str(shards[1]) in error["message"] and "unknown" in error["message"]
    assert main(["verify", str(tmp_path / "run")]) == 0
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "attributions").iterdir()}
    shards[1].chmod(0o644)
    assert run(tmp_path / "run", "--resume", **options) == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "truth")
    same = [path for path, time in done.items() if path.stat().st_mtime_ns == time]
    assert len(same) == 2, "the other shard's parts are not made again"


def test_if_all_shards_are_refused_the_run_has_errors_only(tmp_path, model, shards, capsys):
    for shard in shards:
        shard.chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", input=shards, model=model, **FAST) == 4
    assert "100.0% of the images failed" in capsys.readouterr().err
    assert [error["shard"] for error in rows_of(tmp_path / "run", "errors")] == sorted(map(str, shards))
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_a_run_that_cannot_be_read_is_not_gone_on_with(tmp_path, model, shards, capsys):
    options = {"input": shards[0], "model": model, **FAST}
    assert run(tmp_path / "run", **options) == 0
    before, parts = contents(tmp_path), sorted((tmp_path / "run" / "attributions").iterdir())
    other = {**options, "steps": 8}
    for part in parts:
        part.chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", "--resume", **other) == 2
    assert f"output: {parts[0]}: cannot be read" in capsys.readouterr().err
    (tmp_path / "run").chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", "--resume", **other) == 2
    assert "manifest.json: cannot be read" in capsys.readouterr().err
    (tmp_path / "run").chmod(0o755)
    assert contents(tmp_path) == before
    (tmp_path / "run" / "manifest.json").unlink()
    for part in parts:
        part.chmod(0o644)
        part.write_bytes(b"")
    assert run(tmp_path / "run", "--resume", **other) == 2
    assert "all its parts are damaged" in capsys.readouterr().err


def test_input_and_model_that_cannot_be_read_are_named(tmp_path, model, shards, capsys):
    shards[0].parent.chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", input=shards[0], model=model, **FAST) == 2
    assert f"input: {shards[0]}: cannot be read" in capsys.readouterr().err
    shards[0].parent.chmod(0o755)
    graph = Path(model, "saved_model.pb")
    graph.chmod(0)
    with permissions.obeyed():
        assert run(tmp_path / "run", input=shards[0], model=model, **FAST) == 2
    graph.chmod(0o644)
    message = capsys.readouterr().err
    assert f"model: {model}: " in message and "Permission denied" in message
