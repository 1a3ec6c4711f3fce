"""What is gathered before a job begins: a damaged copy of its model is no part of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.launch import prepare
from pipeline.run import run
from tests import loopback
from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms import storage, worker
from transforms.core.errors import UsageError
from transforms.core.model import digest
from transforms.core.model.known_step import MODEL_CACHE
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


class TestKnown:
    """A model that was loaded with the same options before is not loaded by a launcher."""

    @pytest.fixture
    def options(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        self.forget()
        shard = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(3)])
        model = smooth(tmp_path / "net", size=8)
        return {"input": [str(shard)], "model": model, "output": str(tmp_path / "run"), "rule": "midpoint", "steps": 2}

    def forget(self) -> None:
        worker._load.cache_clear()
        worker._make.cache_clear()

    def test_its_job_is_the_same(self, options, monkeypatch):
        first = prepare(config.load(options))
        self.forget()
        monkeypatch.setattr(worker, "classifier", None)
        second = prepare(config.load(options))
        assert (second.spec, second.provenance) == (first.spec, first.provenance)

    @pytest.mark.parametrize("place", ["", "here", "mock"])
    def test_its_rows_are_the_same_to_the_byte(self, options, tmp_path, place):
        where = {"here": str(tmp_path / "here"), "mock": f"mock://{tmp_path.name}/known"}.get(place, place)
        if place == "mock":
            filesystem, path = storage.resolve(where)
            filesystem.create_dir(path)
        facts, parts, checks = [], [], []
        for number, cache in enumerate([where, where, "none"]):
            output = str(tmp_path / f"run{number}")
            self.forget()
            assert run(prepare(config.load({**options, "output": output, "model_cache": cache})), []) == 0
            manifest = Run.open(output).manifest
            facts.append(dict(manifest.facts["passes"]))
            checks.append(manifest.randomisation)
            assert len(manifest.facts["graphs"]) == 1
            parts.append([path.read_bytes() for path in sorted(Path(output, "attributions").iterdir())])
        assert parts[0] == parts[1] == parts[2]
        assert checks[0] == checks[1] == checks[2]
        assert "nothing was kept of this model" in facts[0][MODEL_CACHE]
        assert [each.get(MODEL_CACHE) for each in facts[1:]] == ["", None]

    def test_settings_that_do_not_fit_it_are_refused_alike(self, options):
        wrong = {**options, "targets": "class:9"}
        with pytest.raises(ValueError, match="the model has 5 classes") as unknown:
            prepare(config.load(wrong))
        prepare(config.load(options))
        self.forget()
        with pytest.raises(ValueError, match="the model has 5 classes") as known:
            prepare(config.load(wrong))
        assert str(known.value) == str(unknown.value)

    @pytest.mark.parametrize("mode", [0o777, 0o720])
    def test_a_cache_that_others_can_write_ends_the_job_before_it_begins(self, options, tmp_path, mode):
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(mode)
        with pytest.raises(UsageError, match=r"model_cache: .*open: other users can write it"):
            prepare(config.load({**options, "model_cache": str(tmp_path / "open")}))
        assert not Path(options["output"]).exists()

    def launched(self, options: dict[str, Any]) -> set[str]:
        """Returns the packages that a fresh launcher has imported when its pipeline is ready to be submitted."""
        program = f"""
import json, sys
from pipeline import config
from pipeline.launch import prepare
job = prepare(config.load({options!r}))
import apache_beam as beam
import pipeline.run
from apache_beam.options.pipeline_options import PipelineOptions
from pipeline.graph import define_pipeline
from transforms.progress import Meter
root = beam.Pipeline(options=PipelineOptions(["--runner=PortableRunner", "--job_endpoint=localhost:1"]))
define_pipeline(root, job, Meter())
assert root.to_runner_api().components.transforms
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    def test_its_launcher_imports_no_tensorflow(self, options):
        assert "tensorflow" in self.launched(options)  # which looks at the model
        assert not {"tensorflow", "keras"} & self.launched(options)
