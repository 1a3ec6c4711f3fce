"""A real Flink cluster on loopback: one JobManager, TaskManagers, each with a pool of Beam's workers; without Docker.

`python -m support.distributed.cluster start` prints the flags that run a job on it, `stop` ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.distributed import engines

OPENS = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in ("lang", "net", "nio", "util")]
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"
_POOL = "pool-of-this-machine"
_POOL_SERVER = Path(__file__).with_name("pool.py")
_FRUGAL = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""Options that leave the cores to the workers: three idle JVMs would otherwise use a seventh of two cores."""
_SECONDS = 180.0  # a few on an idle machine
_LOG = """rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} %m%n
"""


@dataclass
class Services:
    """Processes that belong together: each leads a process group, which ends as a whole.

    Attributes:
        folder: the folder of their logs.
        tied: whether they end with this process, even if it is killed.
        groups: process groups of the running ones, by name.
    """

    folder: Path
    tied: bool = True
    groups: dict[str, int] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _commands: dict[str, tuple[Sequence[str], Mapping[str, str] | None]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        """Starts a command in the background."""
        self._commands[name] = command, variables
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **(variables or {})}
        with open(self.folder / f"{name}.log", "wb") as log:
            self._processes[name] = subprocess.Popen(
                [*self._tie(), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.groups[name] = self._processes[name].pid

    def restart(self, name: str) -> None:
        """Starts a killed process again, with the same command."""
        self.start(name, *self._commands[name])

    def wait_for(self, what: str, ready: Any, seconds: float = _SECONDS) -> None:
        """Waits until `ready()` is true; an OSError counts as false.

        Raises:
            RuntimeError: it was not true in time, or a process ended; the text contains the ends of the logs.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and all(process.poll() is None for process in self._processes.values()):
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.1)
        logs = [f"== {name}\n{self.log(name)[-2000:]}" for name in self.groups]
        raise RuntimeError("\n".join([f"no {what}", *logs]))

    def log(self, name: str) -> str:
        """Returns the output of a process so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """Kills a process and its children simultaneously, as a crash would."""
        self._signal(name, signal.SIGKILL)
        self._processes.pop(name).wait()
        del self.groups[name]

    def stop(self) -> None:
        """Ends every process; those that do not within ten seconds are killed."""
        for name in self.groups:
            self._signal(name, signal.SIGTERM)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(map(self._lives, self.groups)):
            time.sleep(0.05)
        for name in self.groups:
            self._signal(name, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()

    def _tie(self) -> list[str]:
        """Returns the prefix of a command that ends with this process; gRPC's fork hooks rule out a `preexec_fn`."""
        return ["setpriv", "--pdeathsig", "KILL"] if self.tied and shutil.which("setpriv") else []

    def _lives(self, name: str) -> bool:
        if name in self._processes:
            self._processes[name].poll()  # otherwise it would remain as a zombie, and its group with it
        return self._signal(name, 0)

    def _signal(self, name: str, number: int) -> bool:
        try:
            os.killpg(self.groups[name], number)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        services: its processes: `jobmanager`, `taskmanager-1` …, and for each of the latter a pool, `workers-1` ….
        rest: address of the JobManager's REST interface.
        workers: address of the worker pool; each TaskManager has its own.
        task_managers: number of TaskManagers.
        slots: number of slots of all TaskManagers.
    """

    services: Services
    rest: str
    workers: str
    task_managers: int
    slots: int

    def wait(self) -> None:
        """Waits until every TaskManager has registered with the JobManager.

        Raises:
            RuntimeError: they did not register in time.
        """
        wanted = {"taskmanagers": self.task_managers, "slots-total": self.slots}
        self.services.wait_for("cluster", lambda: wanted.items() <= self.get("/overview").items())

    def get(self, path: str) -> Any:
        """Returns the JobManager's answer, decoded from JSON."""
        with urllib.request.urlopen(f"http://{self.rest}{path}", timeout=10) as answer:
            return json.load(answer)

    def flags(self) -> list[str]:
        """Returns the flags with which `ig-audit run` uses this cluster, except those of the job server's jar."""
        return [
            "--runner=FlinkRunner",
            f"--flink_version={engines.FLINK_LINE}",
            f"--flink_master={self.rest}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.workers}",
            f"--parallelism={self.slots}",
            "--environment_cache_millis=60000",
        ]

    def records(self) -> dict[str, dict[str, int]]:
        """Returns the number of records that each TaskManager has read in all jobs, by name of the vertex."""
        found: dict[str, dict[str, int]] = {}
        for job in self.get("/jobs")["jobs"]:
            for vertex in self.get(f"/jobs/{job['id']}")["vertices"]:
                counts = found.setdefault(vertex["name"], {})
                for each in self.get(f"/jobs/{job['id']}/vertices/{vertex['id']}/taskmanagers")["taskmanagers"]:
                    name = each["taskmanager-id"]
                    counts[name] = counts.get(name, 0) + each["metrics"]["read-records"]
        return found


@contextlib.contextmanager
def running(
    task_managers: int = 2, slots: int = 1, variables: Mapping[str, str] | None = None, tied: bool = True
) -> Iterator[Cluster]:
    """Yields a cluster whose TaskManagers have registered, and always ends it.

    Args:
        task_managers: number of TaskManagers.
        slots: number of slots of each.
        variables: environment of Beam's workers, such as the number of threads of TensorFlow.
        tied: whether it ends even if this process is killed.

    Raises:
        UnavailableError: Flink is not available here.
        RuntimeError: the cluster did not start.
    """
    engines.flink()
    folder = Path(tempfile.mkdtemp(prefix="ig-audit-flink-"))
    services = Services(folder, tied)
    try:
        yield _start(services, task_managers, slots, variables or {})
    finally:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Returns a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_workers(services: Services, variables: Mapping[str, str] | None = None) -> str:
    """Starts Beam's worker pool, which starts a process for each worker that a runner requests; returns its address."""
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    services.start("workers", [sys.executable, "-m", module, f"--service_port={port}"], variables)
    wait_for_port(services, "workers", port)
    return f"localhost:{port}"


def wait_for_port(services: Services, name: str, port: int, host: str = "localhost") -> None:
    """Waits until a service accepts connections."""

    def listens() -> bool:
        with socket.create_connection((host, port), timeout=1):
            return True

    services.wait_for(f"{name} at {host}:{port}", listens)


def _start(services: Services, task_managers: int, slots: int, variables: Mapping[str, str]) -> Cluster:
    home, rest = engines.flink(), free_port()
    _configure(services.folder, rest, slots)
    jvm = [engines.java(), *OPENS, *_FRUGAL, f"-Dlog4j.configurationFile={services.folder}/log4j.properties"]
    classes = ["-cp", ":".join(f"{folder}/*" for folder in [home / "lib", *_beam()])]
    session = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    services.start("jobmanager", [*jvm, "-Xmx512m", *classes, session, "--configDir", str(services.folder)])
    memory, resources = _task_manager_figures(home, services.folder)
    runner = ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner", "--configDir", str(services.folder)]
    pool = free_port()
    for number in range(1, task_managers + 1):
        _start_pool(services, number, pool, variables)
        name, hosts = f"taskmanager-{number}", f"-Djdk.net.hosts.file={_hosts(services.folder, number)}"
        own = ["-D", f"taskmanager.resource-id={name}"]
        services.start(name, [*jvm, hosts, *memory, *classes, *runner, *resources, *own])
    cluster = Cluster(services, f"localhost:{rest}", f"{_POOL}:{pool}", task_managers, task_managers * slots)
    cluster.wait()
    return cluster


def _beam() -> list[Path]:
    """Returns the folders of Beam's own jars: in the cluster's class path they let a worker outlive a stage."""
    with contextlib.suppress(engines.UnavailableError):
        return [engines.job_server().parent]
    return []


def _start_pool(services: Services, number: int, port: int, variables: Mapping[str, str]) -> None:
    """Starts the pool of one TaskManager, at an address of loopback that no other has."""
    name, address = f"workers-{number}", _address(number)
    services.start(name, [sys.executable, str(_POOL_SERVER), f"{address}:{port}"], variables)
    wait_for_port(services, name, port, address)


def _hosts(folder: Path, number: int) -> Path:
    """Returns a file that resolves one name to a different pool for each TaskManager: a job has one name for all."""
    path = folder / f"hosts-{number}"
    path.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{_address(number)} {_POOL}\n")
    return path


def _address(number: int) -> str:
    return f"127.0.0.{1 + number}"


def _configure(folder: Path, rest: int, slots: int) -> None:
    """Writes the configuration of JobManager and TaskManagers."""
    values: dict[str, object] = {
        "blob.server.port": 0,
        "classloader.resolve-order": "parent-first",
        "heartbeat.interval": 4000,
        "heartbeat.timeout": 20000,  # milliseconds, less than half the default: tests wait until a loss is detected
        "io.tmp.dirs": folder / "tmp",
        "jobmanager.bind-host": "localhost",
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": free_port(),
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest,
        "taskmanager.bind-host": "localhost",
        "taskmanager.host": "localhost",
        "taskmanager.memory.network.max": "192m",
        "taskmanager.memory.network.min": "192m",  # a shuffle requests 512 buffers of 32 KiB simultaneously
        "taskmanager.memory.process.size": "1280m",
        "taskmanager.numberOfTaskSlots": slots,
    }
    (folder / "tmp").mkdir()
    (folder / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    (folder / "log4j.properties").write_text(_LOG)


def _task_manager_figures(home: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Returns the options of a TaskManager's JVM and its own options, as Flink's scripts would compute them."""
    classes = f"{home}/bin/bash-java-utils.jar:{home}/lib/*"
    utility = ["org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS"]
    places = ["--configDir", str(folder), "--bin", f"{home}/bin", "--lib", f"{home}/lib"]
    command = [engines.java(), "-cp", classes, *utility, *places]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    memory, resources = (line.partition(_RESULT)[2] for line in output.splitlines() if _RESULT in line)
    return memory.split(), resources.split()


def main() -> None:
    """Starts or stops a cluster that outlives this command."""
    parser = argparse.ArgumentParser("python -m support.distributed.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["start", "stop"])
    parser.add_argument("--task_managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1, help="number of slots of each TaskManager")
    options = parser.parse_args()
    state = Path(tempfile.gettempdir(), f"ig-audit-cluster-{os.getuid()}")
    if options.command == "stop":
        known = json.loads((state / "cluster.json").read_text())
        Services(state, groups=known).stop()
        shutil.rmtree(state)
        return
    try:
        state.mkdir()
    except FileExistsError:
        sys.exit(f"{state} exists: a cluster is running, or `stop` was not called")
    services = Services(state, tied=False)
    try:
        cluster = _start(services, options.task_managers, options.slots, {})
        (state / "cluster.json").write_text(json.dumps(services.groups))
    except BaseException:
        services.stop()
        shutil.rmtree(state)
        raise
    print(" ".join(cluster.flags()))


if __name__ == "__main__":
    main()
