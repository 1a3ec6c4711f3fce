"""Files by URI: the same on local disk and on Arrow's in-memory file system, which stands for the remote ones."""

from __future__ import annotations

import os

import pytest

from transforms import storage

FILES = ["a.txt", "b.txt", "b[1].txt", "deep/c.txt", "deep/er/d.txt", ".hidden.txt", ".git/e.txt", "deep/.f.txt"]


@pytest.fixture(params=["local", "remote"])
def root(request, tmp_path):
    if request.param == "local":
        base = str(tmp_path)
    else:
        base = f"mock://{tmp_path.name}/base"
        filesystem, path = storage.resolve(base)
        for folder in ("deep/er", ".git", "empty"):
            filesystem.create_dir(f"{path}/{folder}")
    for name in FILES:
        storage.write_bytes(storage.join(base, name), name.encode())
    return base


def test_write_read_delete(root):
    uri = storage.join(root, "deep", "new.bin")
    assert storage.size(uri) is None
    storage.write_bytes(uri, b"12345")
    storage.write_bytes(uri, b"1234")
    assert (storage.size(uri), storage.read_bytes(uri), storage.read_bytes(uri, limit=2)) == (4, b"1234", b"12")
    with storage.open_read(uri) as stream:
        stream.seek(2)
        assert stream.read() == b"34"
    storage.delete(uri)
    storage.delete(uri)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(uri)


def test_an_error_while_writing_leaves_what_was_there(root):
    uri = storage.join(root, "a.txt")
    before = storage.walk(root)
    with pytest.raises(RuntimeError), storage.write_atomic(uri) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert storage.read_bytes(uri) == b"a.txt"
    assert storage.walk(root) == before


def test_nothing_is_seen_before_the_end(root):
    uri = storage.join(root, "new.txt")
    with storage.write_atomic(uri) as stream:
        stream.write(b"whole")
        assert storage.size(uri) is None
        assert all(name.startswith(".") or name in FILES for name in storage.names(root))
    assert storage.read_bytes(uri) == b"whole"


def test_local_writing_makes_folders_and_leaves_no_temporary_file(tmp_path):
    storage.write_bytes(str(tmp_path / "x" / "y" / "z"), b"1")
    assert os.listdir(tmp_path / "x" / "y") == ["z"]


def test_listing(root):
    assert storage.names(root) == sorted(name for name in FILES if "/" not in name)
    assert storage.walk(root) == sorted(FILES)
    assert storage.names(storage.join(root, "nowhere")) == storage.walk(storage.join(root, "nowhere")) == []
    assert storage.is_folder(root) and storage.is_folder(root + "/")
    assert not storage.is_folder(storage.join(root, "a.txt")) and storage.size(root) is None


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt", "b.txt", "b[1].txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[!a].txt", ["b.txt"]),
        ("b[1].txt", ["b[1].txt"]),
        ("a.txt", ["a.txt"]),
        ("z.txt", []),
        ("z*.txt", []),
        ("nowhere/*", []),
        ("*/*.txt", ["deep/c.txt"]),
        ("de*/er/?.txt", ["deep/er/d.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "b[1].txt", "deep/c.txt", "deep/er/d.txt"]),
        ("**", ["a.txt", "b.txt", "b[1].txt", "deep/c.txt", "deep/er/d.txt"]),
        ("deep/**/d.txt", ["deep/er/d.txt"]),
        (".*.txt", [".hidden.txt"]),
        (".git/*", [".git/e.txt"]),
        ("deep?er/d.txt", []),
    ],
)
def test_glob_is_a_shells(root, pattern, found):
    assert storage.glob(storage.join(root, pattern)) == [storage.join(root, name) for name in found]


def test_glob_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert storage.glob("*.txt") == ["./a.txt"]


@pytest.mark.parametrize(
    ("base", "names", "joined"),
    [
        ("/", ["a"], "/a"),
        ("x/", ["a", "b"], "x/a/b"),
        ("s3://bucket", ["a"], "s3://bucket/a"),
        ("gs://bucket/x/", ["a?b=c"], "gs://bucket/x/a?b=c"),
    ],
)
def test_join(base, names, joined):
    assert storage.join(base, *names) == joined


def test_a_question_mark_or_space_is_part_of_the_path():
    filesystem, path = storage.resolve("mock://host/a?b=c d%20#e")
    assert path.endswith("/a?b=c d%20#e")
    assert storage.resolve("mock://host/other")[0] is filesystem


def test_local_uris(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    assert storage.read_bytes(f"file://{tmp_path}/a") == b"1"
    assert not storage.is_remote(f"file://{tmp_path}/a") and storage.is_remote("s3://bucket/a")
    assert storage.resolve("~/x")[1] == os.path.expanduser("~/x")


def test_an_unknown_scheme_is_named():
    with pytest.raises(ValueError, match="ftp://host: not a location that this job can open"):
        storage.size("ftp://host/a")


def test_a_fingerprint_tells_changes_apart(root):
    before = storage.fingerprint(root)
    assert before == storage.fingerprint(root) != storage.fingerprint(storage.join(root, "a.txt"))
    storage.write_bytes(storage.join(root, "a.txt"), b"of another size")
    assert storage.fingerprint(root) != before
    with pytest.raises(FileNotFoundError):
        storage.fingerprint(storage.join(root, "nowhere"))
