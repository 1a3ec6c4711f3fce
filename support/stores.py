"""Object stores on loopback: moto's S3 server, which fails on demand, and fake-gcs-server; each is one bucket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transforms.core.cache_folder import cache_folder

_START_SECONDS = 60.0
_GOOGLE, _GOOGLE_VERSION = "fake-gcs-server", "v1.56.1"


class S3:
    """A bucket of an S3 server in a thread of this process.

    Attributes:
        uri: of the bucket.
        environment: variables by which a process finds the server.
        fault: called with (method, path) before each request; may sleep, or return a status to answer with instead.
        requests: methods and paths, in order of arrival.
    """

    fault: Callable[[str, str], int | None] | None = None

    def __init__(self) -> None:
        """Starts the server and makes the bucket."""
        import boto3
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                pass

        self._application = DomainDispatcherApplication(create_backend_app)
        self.requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._name = f"audits-{uuid.uuid4().hex[:8]}"  # moto's buckets belong to the process, not to the server
        self.uri = f"s3://{self._name}"
        self._client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="someone",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=self._name)

    def put(self, name: str, content: bytes) -> None:
        """Stores an object."""
        self._client.put_object(Bucket=self._name, Key=name, Body=content)

    def get(self, name: str) -> bytes:
        """Returns an object."""
        return self._client.get_object(Bucket=self._name, Key=name)["Body"].read()

    def delete(self, name: str) -> None:
        """Deletes an object."""
        self._client.delete_object(Bucket=self._name, Key=name)

    def names(self, prefix: str = "") -> list[str]:
        """Returns the sorted names of the objects below `prefix`, less the markers of folders."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        found = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sorted(name for name in found if not name.endswith("/"))

    def close(self) -> None:
        """Stops the server."""
        self._client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        status = self.fault(method, path) if self.fault else None
        if status is None:
            return self._application(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status} Failed on demand", [("Content-Type", "application/xml"), ("Content-Length", "0")])
        return [b""]


class GoogleStorage:
    """A bucket of a fake-gcs-server, a separate process; attributes as those of S3."""

    def __init__(self, program: str) -> None:
        """Starts `program` and makes the bucket."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self._base = f"http://{address}"
        flags = ("-scheme=http", "-host=127.0.0.1", f"-port={address.partition(':')[2]}", "-backend=memory")
        self._process = subprocess.Popen(
            [program, *flags, f"-public-host={address}", f"-external-url={self._base}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.uri, self.environment = "gs://audits", {"STORAGE_EMULATOR_HOST": self._base}
        self._wait()
        self._request("POST", "/storage/v1/b", json.dumps({"name": "audits"}).encode(), "application/json")

    def put(self, name: str, content: bytes) -> None:
        """Stores an object."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self._request("POST", f"/upload/storage/v1/b/audits/o?{query}", content, "application/octet-stream")

    def get(self, name: str) -> bytes:
        """Returns an object."""
        return self._request("GET", f"{self._object(name)}?alt=media")

    def delete(self, name: str) -> None:
        """Deletes an object."""
        self._request("DELETE", self._object(name))

    def names(self, prefix: str = "") -> list[str]:
        """Returns the sorted names of the objects below `prefix`, less the markers of folders."""
        query = urllib.parse.urlencode({"prefix": prefix})
        listed = json.loads(self._request("GET", f"/storage/v1/b/audits/o?{query}")).get("items", ())
        return sorted(item["name"] for item in listed if not item["name"].endswith("/"))

    def close(self) -> None:
        """Stops the server."""
        self._process.kill()
        self._process.wait()

    def _object(self, name: str) -> str:
        return f"/storage/v1/b/audits/o/{urllib.parse.quote(name, safe='')}"

    def _request(self, method: str, path: str, content: bytes | None = None, kind: str = "") -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(self._base + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def _wait(self) -> None:
        """Returns when the server answers."""
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._request("GET", "/storage/v1/b")
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.close()
                    raise
                time.sleep(0.05)


def google_storage_program() -> str:
    """Returns the path of fake-gcs-server: that on PATH, or one that Go builds once, into `~/.cache/ig-audit/engines`.

    Raises:
        FileNotFoundError: it is not installed, and Go cannot build it here.
    """
    if found := shutil.which(_GOOGLE):
        return found
    cache = Path(os.environ.get("IG_AUDIT_ENGINES") or cache_folder("engines"))
    program = cache / f"{_GOOGLE}-{_GOOGLE_VERSION}"
    module = f"github.com/fsouza/{_GOOGLE}@{_GOOGLE_VERSION}"
    if program.exists():
        return str(program)
    if shutil.which("go") is None:
        raise FileNotFoundError(f"no {_GOOGLE} on PATH, and no go to build {module}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        places = {**os.environ, "GOBIN": folder, "GOPATH": f"{folder}/go", "GOFLAGS": "-modcacherw"}
        built = subprocess.run(["go", "install", module], env=places, capture_output=True, text=True, check=False)
        if built.returncode:
            raise FileNotFoundError(f"go cannot build {module}: {built.stderr.strip()[-300:]}")
        os.replace(Path(folder, _GOOGLE), program)
    return str(program)
