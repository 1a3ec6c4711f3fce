"""The whole job on real object stores: input, model, class names, output and reference by URI, killed and resumed."""

from __future__ import annotations

import io
import json
import time

import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from support.fault_job import Bucket, Job, save_model
from tests import object_store
from transforms.store import lock

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def local(model, tmp_path_factory) -> Job:
    """The job on local disk, done."""
    folder = tmp_path_factory.mktemp("local")
    job = Job(Bucket(folder / "bucket"), model, folder)
    assert job.start("truth").wait().code == 0
    job.files = job.stored("truth")
    return job


@pytest.fixture(scope="module", params=object_store.KINDS)
def job(request, model, tmp_path_factory) -> Job:
    """The job on a store, done once."""
    with object_store.serve(request.param) as store:
        job = Job(store, model, tmp_path_factory.mktemp("logs"))
        ended = job.start("truth").wait()
        assert ended.code == 0, ended.errors
        job.files = job.stored("truth")
        yield job


def _maps(files: dict[str, bytes]) -> dict[tuple[str, int], bytes]:
    """Returns the stored maps by file name of the shard and index."""
    maps = {}
    for name, content in files.items():
        if name.startswith("attributions/"):
            for row in pq.read_table(io.BytesIO(content), columns=["shard", "index", "attribution"]).to_pylist():
                maps[row["shard"].rpartition("/")[2], row["index"]] = repr(row["attribution"]).encode()
    return maps


def test_rows_are_those_of_local_disk_and_nothing_else_is_there(job, local):
    assert len(_maps(job.files)) == 39
    assert _maps(job.files) == _maps(local.files)
    assert len(job.files) == len(local.files)
    statistics = [json.loads(files["manifest.json"])["images"] for files in (job.files, local.files)]
    assert statistics == [40, 40]
    stray = [name for name in job.bucket.names("truth/") if name.rpartition("/")[2].startswith(".")]
    assert stray == []  # no lock, no temporary name


def test_a_killed_run_shows_whole_parts_and_resumes_to_the_same_bytes(job, capfd):
    base = job.bucket.uri
    running = job.start("killed", f"--reference={base}/truth")
    while len(job.bucket.names("killed/attributions/")) < 2:
        assert running.at(0.02), running.wait().errors
    running.kill()
    left = job.stored("killed")
    assert "manifest.json" not in left and 2 <= len(left) < len(job.files)
    assert job.half_visible(left) == []
    assert job.bucket.names("killed/.lock")
    assert main(["verify", f"{base}/killed"]) == 2  # a run without manifest is no run
    start = time.monotonic()
    ended = job.start("killed", f"--reference={base}/truth").wait()
    assert ended.code == 0, ended.errors
    assert job.same(job.stored("killed"))
    assert json.loads(job.bucket.get("killed/audit.json"))["verdict"]["exit_code"] == 0
    assert not job.bucket.names("killed/.lock"), "a dead run's lock was taken over, and removed"
    assert "looking for up to" not in ended.errors, time.monotonic() - start


def test_a_second_run_is_refused_while_the_first_holds_the_lock(job):
    with lock.hold(f"{job.bucket.uri}/locked"):
        assert job.bucket.names("locked/") == ["locked/.lock"]
        ended = job.start("locked").wait()
    assert ended.code == 2
    assert "two runs cannot share a directory" in ended.errors
    assert job.bucket.names("locked/") == []


def test_the_other_commands_read_from_the_store(job, tmp_path, capsys):
    run = f"{job.bucket.uri}/truth"
    assert main(["verify", run]) == 0
    assert main(["compare", run, run, "--json", f"{job.bucket.uri}/audit/audit.json"]) == 0
    assert json.loads(job.bucket.get("audit/audit.json"))
    assert main(["report", run, "--reference", run, "-o", f"{job.bucket.uri}/audit/report.html"]) == 0
    assert job.bucket.get("audit/report.html").startswith(b"<!doctype html>")
    shard = f"{job.bucket.uri}/shards/0.tfrecord"
    image = next(
        row["image_id"]
        for name, content in job.files.items()
        if name.startswith("attributions/")
        for row in pq.read_table(io.BytesIO(content), columns=["image_id", "shard"]).to_pylist()
        if row["shard"] == shard
    )
    assert main(["show", run, image, "-o", str(tmp_path / "one.png")]) == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()


def test_a_changed_part_is_found(job, capsys):
    for name, content in job.files.items():
        job.bucket.put(f"changed/{name}", content)
    part = next(name for name in job.files if name.startswith("attributions/"))
    job.bucket.put(f"changed/{part}", job.files[part][:-1] + b"x")
    assert main(["verify", f"{job.bucket.uri}/changed"]) == 1
    assert part in capsys.readouterr().out
