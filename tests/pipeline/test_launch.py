"""What is gathered before a job begins: a damaged copy of its model is no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import config
from pipeline.launch import prepare
from pipeline.run import run
from tests import loopback
from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms import worker
from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.store.run import Run


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


class TestOutputs:
    """What a model's outputs are is found at launch, once."""

    @pytest.fixture
    def options(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        worker._load.cache_clear()
        shard = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(2)])
        model = smooth(tmp_path / "net", size=8)
        return {"input": [str(shard)], "model": model, "output": str(tmp_path / "run"), "rule": "midpoint", "steps": 2}

    def test_go_into_the_config_the_manifest_and_the_first_line(self, options, capsys):
        job = prepare(config.load(options))
        assert job.provenance.config["outputs"] == job.spec.facts.outputs == "logits"
        assert job.provenance.config_digest == prepare(config.load(options)).provenance.config_digest
        named = prepare(config.load({**options, "outputs": "logits"}))
        assert named.provenance.config_digest == job.provenance.config_digest
        assert run(job, []) == 0
        line = "model: 5 classes, logits (no softmax or sigmoid at its end, and outputs from "
        assert capsys.readouterr().err.startswith(line)
        facts = Run.open(options["output"]).manifest.facts["model"]
        assert (facts["outputs"], facts["task"], facts["classes"]) == ("logits", "classes", 5)
        assert facts["lines"][0].startswith(line)
        assert line in (Path(options["output"]) / "report.html").read_text()

    @pytest.mark.parametrize("cached", [True, False])
    def test_an_interrupted_run_resumes_without_the_model(self, options, cached, monkeypatch, tmp_path):
        job = prepare(config.load(options))
        assert run(job, []) == 0
        if not cached:
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        monkeypatch.setattr(worker, "classifier", None)
        resumed = prepare(config.load({**options, "resume": True}))
        assert resumed.provenance == job.provenance
        assert (resumed.spec.facts is not None) == cached

    def test_that_contradict_the_option_end_the_job_before_it_begins(self, options):
        with pytest.raises(UsageError, match="outputs='sigmoid'"):
            prepare(config.load({**options, "outputs": "sigmoid"}))
        assert not Path(options["output"]).exists()
