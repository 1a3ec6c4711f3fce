"""The programs of the engines, fetched once, by ordinary package clients, into a folder outside the repository.

`IG_AUDIT_ENGINES` names that folder; by default it is `~/.cache/ig-audit/engines` (0.7 GB).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import apache_beam

from transforms.core.cache_folder import cache_folder

BEAM = apache_beam.__version__
AIRFLOW = "3.3.2"
FLINK = "1.19.3"
FLINK_LINE = FLINK.rpartition(".")[0]
JOB_SERVER = f"org.apache.beam:beam-runners-flink-{FLINK_LINE}-job-server:{BEAM}"
RUNNER = f"org.apache.beam:beam-runners-flink-{FLINK_LINE}:2.62.0"  # the last that the mirrors we tried hold whole

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_MAVEN = ["mvn", "--batch-mode", "--quiet", "--update-snapshots"]  # else it caches for a day what was missing
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>job-server</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
  </dependency></dependencies>
</project>
"""
_DRIVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_SECONDS = 900


class UnavailableError(Exception):
    """An engine is not available here; the text contains the error of its package client."""


def flink() -> Path:
    """Returns the folder of Flink's published distribution, with `bin` and `lib`.

    Raises:
        UnavailableError: there is no Java, or the distribution is not available.
    """
    java()

    def install(folder: Path) -> None:
        package = f"apache-flink-libraries=={FLINK}"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir"]
        _fetch(package, [*pip, f"--target={folder}", package])

    return _once(f"flink-{FLINK}", install) / "pyflink"


def job_server() -> Path:
    """Returns Beam's job server for Flink, a jar: the published one, or one assembled if that is not available.

    Raises:
        UnavailableError: there is no Java or Maven, or neither jar is available.
    """
    java()
    try:
        return _published_job_server()
    except UnavailableError as published:
        try:
            return _assembled_job_server()
        except UnavailableError as assembled:
            raise UnavailableError(f"{published}; {assembled}") from None


def _published_job_server() -> Path:
    def copy(folder: Path) -> None:
        options = [f"-Dartifact={JOB_SERVER}", f"-DoutputDirectory={folder}", "-Dmdep.stripVersion=true"]
        _fetch(JOB_SERVER, [*_MAVEN, f"{_PLUGIN}:copy", *options])

    (jar,) = _once(JOB_SERVER.replace(":", "-"), copy).glob("*.jar")
    return jar


def _assembled_job_server() -> Path:
    """Returns a jar that starts the runner's server from the jars beside it: the runner and its dependencies."""

    def assemble(folder: Path) -> None:
        folder.mkdir()
        (folder / "pom.xml").write_text(_POM.format(*RUNNER.split(":")))
        options = [f"--file={folder}/pom.xml", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        _fetch(RUNNER, [*_MAVEN, f"{_PLUGIN}:copy-dependencies", *options])
        classes = "Class-Path: " + " ".join(sorted(jar.name for jar in folder.glob("*.jar")))
        lines = textwrap.wrap(classes, 70, subsequent_indent=" ", break_on_hyphens=False, drop_whitespace=False)
        with zipfile.ZipFile(folder / "job-server.jar", "w") as jar:
            manifest = ["Manifest-Version: 1.0", f"Main-Class: {_DRIVER}", *lines, ""]
            jar.writestr("META-INF/MANIFEST.MF", "\n".join(manifest))

    return _once(f"job-server-of-{RUNNER.replace(':', '-')}", assemble) / "job-server.jar"


def prism() -> Path:
    """Returns Beam's Prism, built from the Go module of this Beam's version.

    Raises:
        UnavailableError: there is no Go, or the module is not available.
    """
    module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as modules:
            places = {"GOBIN": str(folder), "GOPATH": modules, "GOFLAGS": "-modcacherw"}
            _fetch(module, ["go", "install", module], places)

    return _once(f"prism-{BEAM}", build) / "prism"


def airflow() -> Path:
    """Returns the Python of an environment with Airflow, whose dependencies conflict with those of ig-audit.

    Raises:
        UnavailableError: Airflow is not available.
    """
    package = f"apache-airflow=={AIRFLOW}"

    def install(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        _fetch(package, [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", package])

    return _once(f"airflow-{AIRFLOW}-{sys.version_info[0]}.{sys.version_info[1]}", install) / "bin/python"


def java() -> str:
    """Returns the path of Java.

    Raises:
        UnavailableError: there is none.
    """
    if found := shutil.which("java"):
        return found
    raise UnavailableError("no java on PATH")


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder `name` of the cache; `make` fills it if it is missing, in one process at a time."""
    cache = Path(os.environ.get("IG_AUDIT_ENGINES") or cache_folder("engines"))
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / name).exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                make(Path(folder, "made"))
                os.rename(Path(folder, "made"), cache / name)
    return cache / name


def _fetch(what: str, command: Sequence[str], variables: dict[str, str] | None = None) -> None:
    """Runs a package client.

    Raises:
        UnavailableError: the client is not installed, or it failed.
    """
    if shutil.which(command[0]) is None:
        raise UnavailableError(f"no {command[0]} on PATH to fetch {what}")
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} did not fetch {what} within {_SECONDS} s") from None
    if done.returncode:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        words = [line for line in plain.splitlines() if "ERROR" in line or "error" in line] or [plain]
        raise UnavailableError(f"{command[0]} cannot fetch {what}: {words[0].strip()[:600]}")
