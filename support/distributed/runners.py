"""Ways to run the job: each yields flags for `ig-audit run`, and keeps the services running that these need."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from support.distributed import cluster, engines
from support.distributed.cluster import Services

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
Runner = Callable[[Mapping[str, str]], AbstractContextManager[list[str]]]


def _local(*flags: str) -> Runner:
    @contextlib.contextmanager
    def up(variables: Mapping[str, str]) -> Iterator[list[str]]:
        yield ["--runner=FnApiRunner", *flags]

    return up


@contextlib.contextmanager
def prism(variables: Mapping[str, str]) -> Iterator[list[str]]:
    """Yields the flags for Prism, whose workers are threads of the launching process.

    Raises:
        UnavailableError: Prism is not available here.
    """
    yield ["--runner=PrismRunner", f"--prism_location={engines.prism()}", "--prism_log_level=warn"]


@contextlib.contextmanager
def worker_pool(variables: Mapping[str, str]) -> Iterator[list[str]]:
    """Yields the flags for Beam's own job server with its worker pool."""
    with services() as own:
        yield start_portable(own, variables)


@contextlib.contextmanager
def flink(variables: Mapping[str, str], task_managers: int = 2) -> Iterator[list[str]]:
    """Yields the flags for a Flink cluster with TaskManagers of one slot.

    Raises:
        UnavailableError: Flink, or Beam's job server for it, is not available here.
    """
    jar = engines.job_server()
    with cluster.running(task_managers, variables=variables) as up:
        yield [*up.flags(), *job_server_flags(jar)]


RUNNERS: dict[str, Runner] = {
    "FnApiRunner, one process": _local(),
    "FnApiRunner, 2 threads": _local("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
    "FnApiRunner, 2 processes": _local("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    "Prism": prism,
    "PortableRunner, worker pool": worker_pool,
    f"Flink {engines.FLINK}, 2 TaskManagers": flink,
}


def job_server_flags(jar: Path) -> list[str]:
    """Returns the flags that make FlinkRunner start `jar`, with the packages opened that Flink accesses."""
    return [f"--flink_job_server_jar={jar}", *(f"--job_server_jvm_properties={opened}" for opened in cluster.OPENS)]


def start_portable(services: Services, variables: Mapping[str, str]) -> list[str]:
    """Starts Beam's own job server and worker pool; returns the flags for them."""
    port = cluster.free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    services.start("jobs", [sys.executable, "-m", module, f"--port={port}"], variables)
    workers = cluster.start_workers(services, variables)
    cluster.wait_for_port(services, "jobs", port)
    endpoint = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
    return [*endpoint, "--environment_type=EXTERNAL", f"--environment_config={workers}"]


@contextlib.contextmanager
def services() -> Iterator[Services]:
    """Yields services that end with the block."""
    folder = Path(tempfile.mkdtemp(prefix="ig-audit-services-", dir=os.environ.get("TMPDIR")))
    own = Services(folder)
    try:
        yield own
    finally:
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)
