"""Files by URI in real object stores: what `test_storage.py` says of Arrow's in-memory one, over HTTP."""

from __future__ import annotations

import re

import pytest

from tests import object_store
from transforms import storage

FILES = ["run/a.txt", "run/deep/b.txt", "run/deep/er/c.txt"]


@pytest.fixture(scope="module", params=object_store.KINDS)
def store(request):
    with object_store.serve(request.param) as store:
        for name in FILES:
            storage.write_bytes(f"{store.uri}/{name}", name.encode())
        yield store


def test_a_file_is_there_once_it_is_written(store):
    uri = f"{store.uri}/new/x y+?.bin"
    assert storage.size(uri) is None
    with storage.write_atomic(uri) as stream:
        stream.write(b"12345")
        assert storage.size(uri) is None and store.names("new") == []
    assert (storage.size(uri), storage.read_bytes(uri), storage.read_bytes(uri, limit=2)) == (5, b"12345", b"12")
    with storage.open_read(uri) as stream:
        assert [stream.read(5), stream.read(1), stream.seek(-2, 2), stream.read()] == [b"12345", b"", 3, b"45"]
        assert [stream.seek(9), stream.read(1)] == [9, b""]
    storage.write_bytes(uri, b"123")
    assert store.get("new/x y+?.bin") == b"123"
    storage.delete(uri)
    storage.delete(uri)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(uri)


def test_an_error_while_writing_leaves_what_was_there(store):
    before = store.names()
    with pytest.raises(RuntimeError), storage.write_atomic(f"{store.uri}/run/a.txt") as stream:
        stream.write(b"half")
        raise RuntimeError
    assert store.get("run/a.txt") == b"run/a.txt"
    assert store.names() == before


def test_a_large_file_appears_whole(store):
    content = bytes(range(256)) * (11 << 12)  # 11 MiB: two parts of a multipart upload
    storage.write_bytes(f"{store.uri}/large", content)
    assert store.get("large") == storage.read_bytes(f"{store.uri}/large") == content
    storage.delete(f"{store.uri}/large")


def test_listing(store):
    run = f"{store.uri}/run"
    assert storage.names(run) == ["a.txt"]
    assert storage.folders(run) == ["deep"]
    assert storage.walk(run) == [name.removeprefix("run/") for name in FILES]
    assert storage.glob(f"{store.uri}/**/?.txt") == [f"{store.uri}/{name}" for name in FILES]
    assert storage.glob(f"{run}/deep/*.txt") == [f"{run}/deep/b.txt"]
    assert (storage.is_folder(run), storage.is_folder(f"{run}/a.txt"), storage.is_folder(f"{run}/no")) == (1, 0, 0)
    assert storage.names(f"{store.uri}/nowhere") == []
    changed = storage.fingerprint(run)
    storage.write_bytes(f"{run}/deep/d.txt", b"")
    assert storage.names(f"{run}/deep") == ["b.txt", "d.txt"]
    assert storage.fingerprint(run) != changed
    storage.delete(f"{run}/deep/d.txt")


def test_a_missing_bucket_is_named(store):
    uri = re.sub("://.*", "://no-such-bucket/x", store.uri)
    with pytest.raises(OSError, match="no-such-bucket/x: cannot be written"):
        storage.write_bytes(uri, b"x")
    with pytest.raises(OSError):
        storage.read_bytes(uri)
