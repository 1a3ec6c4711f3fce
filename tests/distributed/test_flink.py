"""A real Flink cluster: that it comes up, spreads work, and leaves nothing; and the job on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from support.distributed import cluster, engines
from support.distributed.runners import job_server_flags
from tests.pipeline.job import pictures, png, run
from tests.saved_models import smooth
from tests.shards import write_shard

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).parents[2]
SPREAD = Path(__file__).with_name("Spread.java")
READS = """class Reads {
    public static void main(String[] names) throws java.io.IOException {
        for (String name : names)
            System.out.println(new String(ClassLoader.getSystemResourceAsStream(name).readAllBytes()));
    }
}"""
BOTH = {"taskmanager-1", "taskmanager-2"}


@pytest.fixture(scope="module")
def flink():
    try:
        with cluster.running() as up:
            yield up
    except engines.UnavailableError as error:
        pytest.skip(str(error))


def test_two_task_managers_of_one_slot_register(flink):
    found = flink.get("/taskmanagers")["taskmanagers"]
    assert {each["id"]: each["slotsNumber"] for each in found} == dict.fromkeys(BOTH, 1)
    assert flink.get("/config")["flink-version"] == engines.FLINK


def test_a_job_of_flinks_own_spreads_over_both(flink):
    host, port = flink.rest.split(":")
    classes = ["-cp", f"{engines.flink()}/lib/*", str(SPREAD), host, port, str(flink.slots)]
    done = subprocess.run([engines.java(), *cluster.OPENS, *classes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert flink.records()["Sink: Writer"] == dict.fromkeys(BOTH, 500)


def test_our_job_spreads_over_both_and_stores_what_one_process_does(flink, tmp_path):
    try:
        jar = engines.job_server()
    except engines.UnavailableError as error:
        pytest.skip(str(error))
    shard = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(16)])
    options = {"input": shard, "model": smooth(tmp_path / "model"), "rule": "midpoint", "steps": 20, "chunk_images": 1}
    assert run(tmp_path / "one", **options) == 0
    assert run(tmp_path / "two", *flink.flags(), *job_server_flags(jar), **options) == 0
    names = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").glob("*/*.parquet")}
    assert len(names) == 17
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    for number in (1, 2):
        assert "Starting worker" in flink.services.log(f"workers-{number}")
    read = [counts for vertex, counts in flink.records().items() if "AttributeChunks" in vertex]
    assert any(set(counts) == BOTH and all(counts.values()) for counts in read), read


def test_services_end_with_the_block_children_and_all(tmp_path):
    own = cluster.Services(tmp_path)
    own.start("parent", ["bash", "-c", "trap '' TERM; sleep 1000 & echo $!; wait; wait"])
    own.wait_for("child", lambda: own.log("parent").strip())
    child = int(own.log("parent"))
    os.kill(child, 0)
    own.kill("parent")
    assert own.groups == {}
    assert ended(child)


def test_services_end_with_a_killed_process(tmp_path):
    script = (
        "import pathlib, time; from support.distributed.cluster import Services; "
        f"own = Services(pathlib.Path({str(tmp_path)!r})); own.start('one', ['sleep', '1000']); "
        "print(own.groups['one'], flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    assert ended(child)


def test_what_does_not_come_up_says_why(tmp_path):
    own = cluster.Services(tmp_path)
    own.start("broken", ["bash", "-c", "echo no such luck; exit 3"])
    with pytest.raises(RuntimeError, match=r"no luck\n== broken\nno such luck"):
        own.wait_for("luck", lambda: False)


def test_a_client_that_fails_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setenv("IG_AUDIT_ENGINES", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "mvn").write_text("#!/bin/sh\necho '[ERROR] no such artifact'\nexit 1\n")
    (tmp_path / "mvn").chmod(0o755)
    (tmp_path / "java").symlink_to("/bin/true")
    both = r"mvn cannot fetch .*job-server.*no such artifact; mvn cannot fetch .*runners-flink.*no such artifact"
    with pytest.raises(engines.UnavailableError, match=both):
        engines.job_server()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(engines.UnavailableError, match="no java on PATH"):
        engines.job_server()


def test_what_is_fetched_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("IG_AUDIT_ENGINES", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "java").symlink_to("/bin/true")
    (tmp_path / "mvn").write_text(
        '#!/bin/bash\nfor word; do\ncase "$word" in -DoutputDirectory=*)\n'
        'mkdir "${word#*=}"; echo >"${word#*=}/a.jar";;\nesac\ndone\n'
    )
    (tmp_path / "mvn").chmod(0o755)
    jar = engines.job_server()
    assert jar.name == "a.jar" and tmp_path in jar.parents
    (tmp_path / "mvn").write_text("#!/bin/sh\nexit 1\n")
    assert engines.job_server() == jar


def test_a_job_server_is_put_together_where_the_published_one_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("IG_AUDIT_ENGINES", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "mvn").write_text(
        '#!/bin/bash\ncase "$*" in *-job-server*) exit 1;; esac\n'
        'for word; do\ncase "$word" in -DoutputDirectory=*) cp "$(dirname "$0")"/*.jar "${word#*=}";; esac\ndone\n'
    )
    (tmp_path / "mvn").chmod(0o755)
    names = [f"{'long-' * 12}{number}.jar" for number in range(3)]
    for name in names:
        with zipfile.ZipFile(tmp_path / name, "w") as jar:
            jar.writestr(f"of-{name}.txt", name)
    (tmp_path / "Reads.java").write_text(READS)
    server = engines.job_server()
    command = [engines.java(), "-cp", str(server), str(tmp_path / "Reads.java"), *(f"of-{name}.txt" for name in names)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == names
    with zipfile.ZipFile(server) as jar:
        assert b"Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver\n" in jar.read("META-INF/MANIFEST.MF")


def ended(process: int) -> bool:
    """Returns whether a process is gone, or about to be."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
