"""What is gathered before a job begins: a damaged copy of its model is no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import config
from pipeline.launch import prepare
from tests import loopback
from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms import worker
from transforms.core.model import digest


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """The flags of a job whose model is served over HTTP; and the model."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    worker._load.cache_clear()
    model = Path(smooth(tmp_path / "net", size=8))
    (tmp_path / "served").mkdir()
    loopback.pack(str(model), tmp_path / "served" / "1")
    shard = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(1)])
    with loopback.serve(tmp_path / "served") as url:
        yield {"input": [str(shard)], "model": f"{url}/1", "output": str(tmp_path / "run")}, model


@pytest.mark.parametrize("damaged", [False, True])
def test_the_digest_of_a_job_is_that_of_the_copy_that_can_be_loaded(flags, damaged):
    options, model = flags
    wanted = prepare(config.load(options))
    if damaged:
        worker._load.cache_clear()
        (graph,) = Path(os.environ["TFHUB_CACHE_DIR"]).glob("*/saved_model.pb")
        graph.write_bytes(graph.read_bytes()[:500])
    job = prepare(config.load(options))
    assert job.spec == wanted.spec
    assert job.provenance == wanted.provenance
    assert job.spec.model_digest == job.provenance.model_digest == digest.digest(model)
