"""Everything under templates/ names options that exist, and is what the tool that reads it expects."""

from __future__ import annotations

import argparse
import ast
import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import cli, config, template
from pipeline.exit_code import ExitCode
from support.distributed.cluster import OPENS

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "templates"
FILES = sorted(path for path in TEMPLATES.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
NAMES = [str(path.relative_to(TEMPLATES)) for path in FILES]
COMMANDS = next(action.choices for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
OURS = {flag for command in COMMANDS.values() for flag in command._option_string_actions}
BEAM = {f"--{name}" for name in PipelineOptions().get_all_options()}
OTHERS = {  # of docker, gcloud, kubectl, aws, curl, pip, java, and of Beam's worker pool
    "--bucket", "--from",
    "--add-opens", "--additional-experiments", "--args", "--command", "--constraint", "--data", "--fail", "--file",
    "--filename", "--headers", "--http-method", "--image", "--lifecycle-configuration", "--lifecycle-file",
    "--location", "--max-retries", "--memory", "--message-body", "--metadata-file", "--no-cache-dir",
    "--oauth-service-account-email", "--parameters", "--retry", "--schedule", "--sdk-language", "--service_port",
    "--set-env-vars", "--show-error", "--silent", "--staging-location", "--tag", "--temp-location",
    "--template-file-gcs-location", "--time-zone", "--uri", "--worker_pool",
}  # fmt: skip


def run_flags(argv: list[str]) -> config.AuditConfig:
    """Returns the options of `ig-audit run …`, checked as the command does; what is left must be Beam's."""
    known, rest = cli._parser().parse_known_args(argv)
    assert known.command is cli._run
    assert {flag.partition("=")[0] for flag in rest if flag.startswith("--")} <= BEAM
    flags = {name: value for name, value in vars(known).items() if name not in ("command", "config")}
    return config.load({"input": ["in_the_config_file"], "model": "in_the_config_file", **flags})


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((TEMPLATES / name).read_text()))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string((TEMPLATES / "schedule" / name).read_text().replace("\\\n", " "))
    return parser


@pytest.mark.parametrize("name", NAMES)
def test_every_option_that_is_named_exists(name):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", (TEMPLATES / name).read_text()))
    assert named <= OURS | BEAM | OTHERS
    assert not OURS & OTHERS, "or a renamed option of ours would pass for another tool's"


def test_every_template_is_looked_at():
    assert {path.suffix for path in FILES} == {
        ".conf", ".dockerignore", ".json", ".md", ".py", ".service", ".sh", ".timer", ".yaml", "",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".sh")])
def test_shell_scripts_are_whole_and_executable(name):
    subprocess.run(["bash", "-n", TEMPLATES / name], check=True)
    assert (TEMPLATES / name).stat().st_mode & 0o111
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", TEMPLATES / name], check=True)


def test_the_script_of_the_template_passes_what_it_is_given(tmp_path):
    for tool in ("docker", "gcloud"):
        (tmp_path / tool).write_text(f'#!/bin/sh\nfor word in {tool} "$@"; do printf "%s\\n" "$word"; done\n')
        (tmp_path / tool).chmod(0o755)
    environment = {name: name.lower() for name in ("PROJECT", "REGION", "REPOSITORY", "BUCKET", "TAG")}
    script = [TEMPLATES / "dataflow" / "template.sh"]
    environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    call = {"env": environment, "check": True, "capture_output": True, "text": True}
    built = subprocess.run([*script, "build"], **call).stdout
    assert (ROOT / "templates/dataflow/metadata.json").exists() and "templates/dataflow/metadata.json\n" in built
    ran = subprocess.run([*script, "run", "input=a b", "baseline=color:1,2,3"], **call).stdout.splitlines()
    assert ran[ran.index("--parameters") + 1] == (
        "^~^sdk_container_image=region-docker.pkg.dev/project/repository/ig-audit:tag~"
        "number_of_worker_harness_threads=1~input=a b~baseline=color:1,2,3"
    )
    assert subprocess.run(script, env=environment, capture_output=True, check=False).returncode == 2


def test_launched_parameters_are_the_templates():
    launch = json.loads((TEMPLATES / "schedule/launch.json").read_text())["launchParameter"]
    declared = {each["name"]: each for each in template.metadata()["parameters"]}
    for name, value in launch["parameters"].items():
        assert name in declared or f"--{name}" in BEAM
        assert re.match(declared[name]["regexes"][0] if name in declared else ".", value)
    assert {name for name, each in declared.items() if not each["isOptional"]} <= set(launch["parameters"])
    assert "{date}" in launch["parameters"]["output"]
    assert launch["parameters"]["effort"] == "audit"
    readme = (TEMPLATES / "dataflow/README.md").read_text()
    assert set(re.findall(r"(?<![-\w])([a-z_]+)='?[a-z]", readme)) <= set(declared)


def test_the_nightly_service_runs_us_and_stops_at_what_stays_so():
    service, timer, alert = unit("ig-audit.service"), unit("ig-audit.timer"), unit("ig-audit-alert.service")
    program, *argv = shlex.split(service["Service"]["ExecStart"])
    audit = run_flags(argv)
    assert audit.effort == "audit"
    assert program.endswith("/ig-audit") and audit.resume and audit.reference and "{date}" in audit.output
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["RestartPreventExitStatus"].split() == ["2", "3", "4"]
    assert service["Unit"]["OnFailure"] == "ig-audit-alert.service"
    assert timer["Timer"]["OnCalendar"] and timer["Install"]["WantedBy"] == "timers.target"
    assert "MONITOR_EXIT_STATUS" in alert["Service"]["ExecStart"]
    kept = (TEMPLATES / "schedule/ig-audit.tmpfiles.conf").read_text().splitlines()[-1].split()[1]
    assert audit.output.startswith(kept + "/") and not audit.reference[0].startswith(kept)


@pytest.mark.parametrize("name", ["schedule/cronjob.yaml", "flink/run.yaml"])
def test_jobs_on_kubernetes_run_us_and_stop_at_what_stays_so(name):
    first = documents(name)[0]
    job = first["spec"]["jobTemplate"]["spec"] if first["kind"] == "CronJob" else first["spec"]
    (container,) = job["template"]["spec"]["containers"]
    audit = run_flags(container["args"])
    assert container["command"] == ["ig-audit"]
    assert audit.effort == "audit"
    assert audit.resume and audit.reference and "{date}" in audit.output
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert rule["onExitCodes"]["values"] == [ExitCode.UNUSABLE, ExitCode.DRIFT, ExitCode.TOO_MANY_ERRORS]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # which a failure policy needs


def test_the_schedule_on_kubernetes_allows_one_run_and_alerts():
    schedule, rule = documents("schedule/cronjob.yaml")
    assert (schedule["kind"], schedule["spec"]["concurrencyPolicy"]) == ("CronJob", "Forbid")
    assert rule["kind"] == "PrometheusRule"
    lifecycle = json.loads((TEMPLATES / "schedule/retention.json").read_text())
    (container,) = schedule["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    prefix = lifecycle["Rules"][0]["Filter"]["Prefix"]
    assert f"/{prefix}" in run_flags(container["args"]).output


def test_the_flink_cluster_has_workers_beside_each_task_manager():
    (cluster,) = documents("flink/deployment.yaml")
    assert (cluster["kind"], cluster["apiVersion"]) == ("FlinkDeployment", "flink.apache.org/v1beta1")
    containers = cluster["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    sidecar = {each["name"]: each for each in containers}["beam-workers"]
    assert sidecar["args"] == ["--worker_pool"]
    opened = cluster["spec"]["flinkConfiguration"]["env.java.opts.all"].split()
    assert opened == OPENS, "other packages are open than on the cluster that the tests start"
    (submission,) = documents("flink/run.yaml")
    flags = submission["spec"]["template"]["spec"]["containers"][0]["args"]
    port = sidecar["ports"][0]["containerPort"]
    assert f"--environment_config=localhost:{port}" in flags
    assert f"--parallelism={cluster['spec']['taskManager']['replicas']}" in flags
    version = cluster["spec"]["flinkVersion"].removeprefix("v").replace("_", ".")
    assert f"--flink_version={version}" in flags and cluster["spec"]["image"].startswith(f"flink:{version}-")
    assert f"--flink_master={cluster['metadata']['name']}-rest:8081" in flags


def test_versions_of_beam_are_the_pinned_one():
    pinned = re.search(r"^apache-beam==([0-9.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    for name in ("dataflow/Dockerfile", "flink/run.yaml"):
        found = re.findall(r"(?:BEAM=|job-server[-/])([0-9]+\.[0-9.]+[0-9])", (TEMPLATES / name).read_text())
        assert found and set(found) == {pinned[1]}


def test_what_the_image_copies_is_there_and_let_through():
    lines = (TEMPLATES / "dataflow/Dockerfile").read_text().splitlines()
    copied = [word for line in lines if re.match("COPY [^-]", line) for word in line.split()[1:-1]]
    allowed = (TEMPLATES / "dataflow/Dockerfile.dockerignore").read_text().splitlines()
    assert copied and all((ROOT / name).exists() and f"!{name}" in allowed for name in copied)


def test_the_dag_compiles_and_calls_us():
    path = TEMPLATES / "schedule/airflow_dag.py"
    tree = ast.parse(path.read_text())
    lists = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
    words = [
        ast.literal_eval(node) if not isinstance(node, ast.JoinedStr) else "x" for each in lists for node in each.elts
    ]
    assert words[:2] == ["ig-audit", "run"]
    audit = run_flags(words[1:])
    assert audit.resume and audit.reference == ("x",)
    assert audit.effort == "audit"
    assert f'{ExitCode.DRIFT:d}: "drift"' in path.read_text()
