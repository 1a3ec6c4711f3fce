"""The Dataflow template: the job that the real DataflowRunner would submit, what it stages, and what it installs."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from pipeline import config, template
from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from tests.shards import write_shard

ROOT = Path(__file__).parents[2]
DATAFLOW = ROOT / "templates" / "dataflow"
ACCELERATOR = "type:nvidia-l4;count:1;install-nvidia-driver"

needs_gcp = pytest.mark.skipif(
    importlib.util.find_spec("apitools") is None, reason="needs Beam's Google Cloud parts: pip install -e '.[gcp]'"
)


def test_the_templates_parameters_are_the_options():
    stored = json.loads((DATAFLOW / "metadata.json").read_text())
    assert stored == template.metadata(), "run: python -m pipeline.template > templates/dataflow/metadata.json"
    names = [parameter["name"] for parameter in stored["parameters"]]
    assert sorted(names) == sorted([*config.options(), "config"])
    assert [each["name"] for each in stored["parameters"] if not each["isOptional"]] == ["input", "model", "output"]


def test_what_a_parameter_allows_is_what_the_option_takes():
    import re

    patterns = {each["name"]: each["regexes"][0] for each in template.metadata()["parameters"]}
    given = {"input": "gs://b/*.tar", "model": "m", "output": "gs://b/{date}"}
    for name, value, fits in [
        ("output", "gs://b/nights/{date}", True),
        ("output", "/tmp/x", False),
        ("resume", "true", True),
        ("resume", "yes", False),
        ("dtype", "int8", True),
        ("dtype", "float64", False),
        ("grid", "16", True),
        ("grid", "9", False),
        ("tolerance", "0.02", True),
        ("tolerance", "1e-3", True),
        ("tolerance", "small", False),
        ("chunk_images", "64", True),
        ("chunk_images", "6.4", False),
        ("fields", "camera", True),
        ("min_ram", "16GB", True),
    ]:
        assert bool(re.match(patterns[name], value)) == fits, (name, value)
        if fits:
            config.load({**given, name: value})


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """What the template's launcher hands to Google's API: the job, the staged files by name, and the run directory."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions
    from apache_beam.runners.dataflow.internal import apiclient

    folder = tmp_path_factory.mktemp("dataflow")
    shard = write_shard(folder, "tfrecord", [png(picture) for picture in pictures(2)])
    arguments = [
        *(f"--input={shard}", f"--model={smooth(folder / 'model')}", f"--output={folder}/run", "--resume=true"),
        *(f"--accelerator={ACCELERATOR}", "--min_ram=16GB", "--sdk_container_image=example/ig-audit:1"),
        *("--project=example", "--region=europe-west4", "--no_auth", "--number_of_worker_harness_threads=1"),
        *(
            "--experiments=no_use_multiple_sdk_containers",
            "--temp_location=gs://bucket/t",
            "--staging_location=gs://bucket/s",
        ),
    ]
    staged, jobs = {}, []

    def stage(self, where, name, stream, **_):
        staged[name] = stream if isinstance(stream, str) else stream.read()

    def submit(self, job):
        from google.cloud import dataflow

        jobs.append(job.proto)
        return dataflow.Job(id="1", name="job")

    client = apiclient.DataflowApplicationClient
    with (
        mock.patch.object(client, "stage_file_with_retry", stage),
        mock.patch.object(client, "submit_job_description", submit),
        mock.patch.object(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None),
        mock.patch.object(sys, "argv", ["main.py", *arguments]),
        pytest.raises(SystemExit) as stop,
    ):
        runpy.run_path(str(DATAFLOW / "main.py"), run_name="__main__")
    assert stop.value.code == 0  # and so it did not wait: the job of that id does not exist
    (job,) = jobs
    return job, staged, folder / "run"


@needs_gcp
@pytest.mark.filterwarnings("default")
def test_only_what_runs_the_model_asks_for_a_gpu(submitted):
    from apache_beam.portability.api import beam_runner_api_pb2

    _, staged, _ = submitted
    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
    environments = pipeline.components.environments
    asking, others = set(), set()
    for transform in pipeline.components.transforms.values():
        if transform.unique_name.startswith("ref_"):  # the pipeline itself
            continue
        hints = environments[transform.environment_id].resource_hints if transform.environment_id else {}
        stage = transform.unique_name.removeprefix("FinishRun/").partition("/")[0]
        if hints:
            assert sorted(hints.values()) == [b"16000000000", ACCELERATOR.encode()]
            asking.add(stage)
        elif transform.environment_id:
            others.add(stage)
    assert asking == {"AttributeChunks", "CheckModel"}
    assert others >= {"Shards", "PlanChunks", "SummarizeChunks", "Write"}
    assert not asking & others
    images = {b"example/ig-audit:1" in environment.payload for environment in environments.values()}
    assert images == {True}


@needs_gcp
@pytest.mark.filterwarnings("default")
def test_one_process_a_device_and_nothing_to_install(submitted):
    job, staged, _ = submitted
    options = job.environment.sdk_pipeline_options["options"]
    assert "no_use_multiple_sdk_containers" in options["experiments"]
    assert options["number_of_worker_harness_threads"] == 1
    assert not options.get("dataflow_service_options")  # worker_accelerator and hints exclude each other
    assert not [name for name in staged if name.endswith((".tar.gz", ".whl", "requirements.txt"))]


@needs_gcp
@pytest.mark.filterwarnings("default")
def test_the_submitted_job_holds_the_lock(submitted):
    _, _, folder = submitted
    assert json.loads((folder / ".lock").read_text())["submitted"] is True


@pytest.mark.slow
def test_what_setup_file_stages_installs_complete(tmp_path):
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.stager import Stager

    for name in ("setup.py", "README.md", "pipeline", "transforms"):
        os.symlink(ROOT / name, tmp_path / name)
    options = PipelineOptions([f"--setup_file={tmp_path}/setup.py"])
    os.makedirs(tmp_path / "staged")
    resources = Stager.create_job_resources(options, str(tmp_path / "staged"))
    paths = [Stager.extract_staging_tuple_iter([resource]) for resource in resources]
    (archive,) = [path for item in paths for path, name, _ in item if name == "workflow.tar.gz"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(tmp_path / "site"), archive], check=True, capture_output=True)
    code = "from pipeline import cli, report; print(cli.__file__); cli.main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path / "staged",
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(tmp_path / "site") in done.stdout
    for folder in ("pipeline", "transforms"):
        here = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
        there = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site" / folder).rglob("*")}
        assert {path for path in here if "__pycache__" not in path.parts} <= there
