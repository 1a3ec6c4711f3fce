"""What lasts is told from what passes: in real answers of the stores, of the system, and in what is asked again."""

from __future__ import annotations

import errno
import http.server
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest
from pyarrow import fs as pafs

from tests import object_store, permissions
from transforms import storage, storage_errors
from transforms.storage import RefusedError, StorageError, UnavailableError, is_passing

LASTING, PASSING = (401, 403, 404, 405, 410), (400, 409, 412, 429, 500, 501, 503)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(storage_errors, "_WAITS", (0.0, 0.0))


def error_of(question, *arguments) -> Exception:
    try:
        answer = question(*arguments)
    except Exception as error:
        return error
    pytest.fail(f"an answer: {answer!r}")


@pytest.mark.parametrize(
    ("number", "passing"),
    [
        *[(number, False) for number in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)],
        *[(number, True) for number in (errno.EIO, errno.ECONNRESET, errno.ETIMEDOUT, errno.ESTALE, errno.EMFILE)],
    ],
)
def test_errors_of_the_system(number, passing):
    assert is_passing(OSError(number, os.strerror(number))) == passing


def test_what_nobody_knows_passes():
    assert is_passing(OSError("something new")) and is_passing(pa.ArrowInvalid("something new"))
    assert is_passing(UnavailableError("as told before")) and not is_passing(RefusedError("as told before"))
    expired = "AWS Error UNKNOWN (HTTP status 400) during GetObject operation: ... ExpiredToken"
    assert is_passing(OSError(expired))


def test_real_answers_of_s3(monkeypatch):
    monkeypatch.setattr(storage_errors, "_WAITS", ())  # Arrow's client asks again for six seconds by itself
    with object_store.serve("s3") as store:
        names = {f"{where}-{status}": status for status in (*LASTING, *PASSING) for where in ("head", "get")}
        for name in names:
            store.put(name, b"x")
        streams = {name: storage.open_read(f"{store.uri}/{name}") for name in names if name.startswith("get")}
        store.fault = lambda method, path: names.get(path.rpartition("/")[2])
        with ThreadPoolExecutor(len(names)) as pool:
            errors = dict(
                zip(
                    names,
                    pool.map(
                        lambda name: error_of(
                            streams[name].read if name in streams else lambda: storage.read_bytes(f"{store.uri}/{name}")
                        ),
                        names,
                    ),
                    strict=True,
                )
            )
        store.fault = None
        assert isinstance(errors.pop("head-404"), FileNotFoundError)
        for name, error in errors.items():
            assert isinstance(error, RefusedError if names[name] in LASTING else UnavailableError), (name, error)
            assert f"{store.uri}/{name}: cannot be read" in str(error)
        store.fault = lambda method, path: 403
        for question in (storage.size, storage.names, storage.walk, storage.folders, storage.is_folder):
            assert isinstance(error_of(question, f"{store.uri}/folder"), RefusedError), question
        store.fault = None
        missing = error_of(storage.read_bytes, re.sub("://.*", "://no-such-bucket/x", store.uri))
        assert isinstance(missing, FileNotFoundError)


def test_a_store_that_is_away(monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(storage_errors, "_WAITS", ())
    storage._connect.cache_clear()
    error = error_of(storage.names, "s3://bucket/folder")
    storage._connect.cache_clear()
    assert isinstance(error, UnavailableError) and "s3://bucket/folder: cannot be read" in str(error)


def test_real_answers_of_googles_client(monkeypatch):
    statuses = {"401": 401, "403": 403, "404": 404, "410": 410, "503": 503}

    class Answers(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(statuses[self.path.partition("?")[0].rpartition("-")[2]])
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    client = pafs.GcsFileSystem(
        anonymous=True,
        scheme="http",
        endpoint_override=f"127.0.0.1:{server.server_port}",
        retry_time_limit=timedelta(seconds=0.1),
    )
    monkeypatch.setattr(storage, "_connect", lambda authority: (client, authority.partition("://")[2]))
    found = {name: type(error_of(storage.read_bytes, f"gs://b/answer-{name}")) for name in statuses}
    server.shutdown()
    server.server_close()
    assert found == {
        "401": UnavailableError,  # credentials, not the file
        "403": RefusedError,
        "404": FileNotFoundError,
        "410": FileNotFoundError,
        "503": UnavailableError,
    }


def test_what_modes_forbid_is_no_empty_folder(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "file").write_bytes(b"x")
    closed.chmod(0)
    with permissions.obeyed():
        for question in (storage.names, storage.walk, storage.folders):
            assert isinstance(error_of(question, str(closed)), RefusedError)
        for question in (storage.size, storage.is_folder, storage.read_bytes, storage.fingerprint):
            error = error_of(question, str(closed / "file"))
            assert isinstance(error, RefusedError) and str(closed / "file") in str(error)
    closed.chmod(0o755)
    assert storage.names(str(closed)) == ["file"]
    assert storage.names(str(tmp_path / "missing")) == []


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    assert isinstance(error_of(storage.read_bytes, str(tmp_path)), RefusedError)
    script = "from transforms import storage; storage.read_bytes('/dev/stdin')"
    done = subprocess.run([sys.executable, "-c", script], input=b"x", stderr=subprocess.PIPE)
    assert b"RefusedError: /dev/stdin: cannot be read (it is a pipe" in done.stderr


def asked(errors: list[Exception]) -> tuple[object, int]:
    """Returns what came of a question that meets `errors`, one each time, and how many of them were met."""
    left = list(errors)

    def question() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    try:
        return storage_errors.ask("some://uri", question), len(errors) - len(left)
    except (OSError, ValueError) as error:
        return error, len(errors) - len(left)


def test_only_what_may_pass_is_asked_again_and_only_a_few_times(monkeypatch):
    busy, denied = OSError(errno.EIO, "busy"), PermissionError(errno.EACCES, "denied")
    assert asked([busy, busy]) == ("answer", 2)
    error, count = asked([busy] * 9)
    assert (type(error), count) == (UnavailableError, 3)
    assert "some://uri" in str(error) and "busy" in str(error)
    for lasting in (denied, FileNotFoundError(errno.ENOENT, "gone"), RefusedError("said already"), ValueError("ours")):
        error, count = asked([lasting] * 9)
        assert count == 1 and isinstance(error, RefusedError if lasting is denied else type(lasting))
    assert issubclass(RefusedError, StorageError) and issubclass(StorageError, OSError)
    monkeypatch.setattr(storage_errors, "_PATIENCE_SECONDS", -1.0)
    assert asked([busy] * 9)[1] == 1, "a client that took that long has asked again by itself"


def test_what_was_read_before_a_failure_is_neither_lost_nor_doubled(tmp_path, monkeypatch):
    content = bytes(range(256)) * 256
    (tmp_path / "file").write_bytes(content)
    real, calls = os.preadv, []

    def failing(descriptor, buffers, position):
        calls.append(position)
        if len(calls) % 2:
            raise OSError(errno.EIO, "for a moment")
        return real(descriptor, buffers, position)

    monkeypatch.setattr(os, "preadv", failing)
    with storage.open_read(str(tmp_path / "file")) as stream:
        assert b"".join(iter(lambda: stream.read(1000), b"")) == content
    assert len(calls) > 4
