"""A cache of what was learned of models: whole entries or none, of its owner alone, of limited size."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from transforms.core.errors import UsageError
from transforms.core.model import model_cache
from transforms.core.model.entry_file import DamagedError, pack, unpack
from transforms.core.model.model_cache import FolderCache
from transforms.core.model.options import ModelOptions

needs_other_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

MEMBERS = {"facts": b"{}", "graph": b"\n" * 5, "nothing": b""}
OTHERS = {"facts": b"other"}


@pytest.fixture
def cache(tmp_path) -> FolderCache:
    return FolderCache.at(str(tmp_path / "cache"))


def test_an_entry_comes_back_as_it_was_written(cache):
    assert cache.read("a").members == {}
    assert cache.write("a", MEMBERS) == ""
    assert cache.read("a").members == MEMBERS
    cache.discard("a")
    assert cache.read("a") == model_cache.Entry({})


@hypothesis.given(strategies.data())
def test_a_damaged_entry_is_refused_wherever_it_is_damaged(data):
    whole = pack(MEMBERS)
    place = data.draw(strategies.integers(0, len(whole) - 1))
    byte = data.draw(strategies.integers(0, 255).filter(lambda byte: byte != whole[place]))
    damaged = whole[:place] + bytes([byte]) + whole[place + 1 :]
    try:
        found = unpack(damaged)
    except DamagedError:
        return
    assert found == MEMBERS  # JSON has several ways to write the same


@pytest.mark.parametrize(
    "content", [b"", b"x", b"{}\n", b"[]\n", b'{"sizes": 1}\n', pack(MEMBERS)[:-1], pack(MEMBERS) + b"x", b"[" * 9999]
)
def test_what_is_no_entry_is_not_used(cache, tmp_path, content):
    (tmp_path / "cache" / "a").write_bytes(content)
    found = cache.read("a")
    assert (found.members, bool(found.problem)) == ({}, True)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_is_not_used(cache, tmp_path, mode):
    cache.write("a", MEMBERS)
    (tmp_path / "cache" / "a").chmod(mode)
    assert "other users can write it" in cache.read("a").problem


def test_a_link_is_not_followed(cache, tmp_path):
    cache.write("a", MEMBERS)
    os.rename(tmp_path / "cache" / "a", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "cache" / "a")
    found = cache.read("a")
    assert (found.members, bool(found.problem)) == ({}, True)


@needs_other_users
def test_an_entry_of_another_user_is_not_used(cache, tmp_path):
    cache.write("a", MEMBERS)
    os.chown(tmp_path / "cache" / "a", 12345, -1)
    assert "belongs to user 12345" in cache.read("a").problem


@needs_other_users
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, -1)
    with pytest.raises(UsageError, match=r"model_cache: .*belongs to user 12345.*allowed is"):
        FolderCache.at(str(tmp_path / "theirs"))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_refused(tmp_path, mode):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(UsageError, match=r"model_cache: .*other users can write it.*allowed is"):
        FolderCache.at(str(tmp_path / "open"))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="model_cache: "):
        FolderCache.at(str(tmp_path / "file"))


def test_a_new_folder_and_its_entries_are_of_this_user_alone(cache, tmp_path):
    cache.write("a", MEMBERS)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "cache", tmp_path / "cache" / "a")]
    assert modes == [0o700, 0o600]


def test_what_cannot_be_written_is_said(cache, tmp_path):
    cache.write("a", MEMBERS)
    (tmp_path / "cache" / "a").unlink()
    (tmp_path / "cache").rmdir()
    assert "No such file" in cache.write("a", MEMBERS)
    assert cache.read("a").members == {}


def test_the_entries_that_were_used_least_lately_go_first(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(model_cache, "MOST_ENTRIES", 3)
    for age, name in enumerate("abc"):
        cache.write(name, MEMBERS)
        os.utime(tmp_path / "cache" / name, (age, age))
    assert cache.read("a").members  # which uses it
    cache.write("d", MEMBERS)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a", "c", "d"]


def test_entries_take_no_more_bytes_than_allowed(cache, tmp_path, monkeypatch):
    size = len(pack(MEMBERS))
    monkeypatch.setattr(model_cache, "MOST_BYTES", 2 * size)
    for name in "abc":
        assert cache.write(name, MEMBERS) == ""
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert "it would take" in cache.write("d", {"graph": bytes(2 * size)})


def test_what_killed_processes_left_goes_once_it_is_old(cache, tmp_path):
    for name, age in (("old", 1e9), ("new", 0)):
        path = tmp_path / "cache" / f"{name}.unfinished"
        path.touch()
        if age:
            os.utime(path, (age, age))
    cache.write("a", MEMBERS)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a", "new.unfinished"]


def test_processes_that_write_the_same_at_once_leave_one_whole_entry(cache, tmp_path):
    large = [{"graph": bytes([each]) * 1_000_000} for each in range(4)]
    threads = [threading.Thread(target=cache.write, args=("a", members)) for members in large for _ in range(5)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not cache.read("a").problem
    assert cache.read("a").members in large
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a"]


class TestKeys:
    """A name for all that decides what a model's graph computes."""

    @pytest.fixture
    def keyed(self, tmp_path, monkeypatch):
        from transforms.core.model import cache_key

        monkeypatch.syspath_prepend(str(tmp_path))

        def key(digest: str = "digest", **options: object) -> str:
            return cache_key.key_of(digest, ModelOptions(**options))

        return key

    def test_depends_on_the_model_and_its_options(self, keyed):
        keys = {keyed(), keyed("other"), keyed(pixels="signed"), keyed(score="logit"), keyed(layer="conv")}
        assert len(keys) == 5 and "" not in keys

    def test_does_not_depend_on_names(self, keyed):
        assert keyed() == keyed(class_names=("cat", "dog")) == keyed(label_offset=1)

    def test_depends_on_versions_processor_and_settings(self, keyed, monkeypatch):
        from transforms.core.model import cache_key

        keys = [keyed()]
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        keys.append(keyed())
        monkeypatch.setattr(cache_key, "processor_features", lambda: "another")
        keys.append(keyed())
        monkeypatch.setattr(cache_key, "_version", lambda name: "99")
        keys.append(keyed())
        assert len(set(keys)) == 4

    def test_is_empty_without_a_known_tensorflow(self, keyed, monkeypatch):
        from transforms.core.model import cache_key

        monkeypatch.setattr(cache_key, "_version", lambda name: "")
        assert keyed() == ""

    def test_depends_on_own_code_and_on_what_that_imports(self, keyed, tmp_path):
        package = tmp_path / "own_package"
        package.mkdir()
        files = {
            package / "__init__.py": "",
            package / "layers.py": "from . import deep\nimport json, own_module\n",
            package / "deep.py": "import os\n",
            tmp_path / "own_module.py": "import tensorflow\n",
            tmp_path / "unrelated.py": "",
        }
        for path, content in files.items():
            path.write_text(content)
        found = [keyed(custom_objects=("own_package.layers",))]
        for path in list(files)[:4]:
            path.write_text(files[path] + "# changed\n")
            found.append(keyed(custom_objects=("own_package.layers",)))
        assert len(set(found)) == 5 and "" not in found
        (tmp_path / "unrelated.py").write_text("# changed\n")
        assert keyed(custom_objects=("own_package.layers",)) == found[-1]

    @pytest.mark.parametrize("content", ["def", None])
    def test_is_empty_for_code_that_cannot_be_read(self, keyed, tmp_path, content):
        if content:
            (tmp_path / "own_broken.py").write_text(content)
        assert keyed(score="own_broken:score") == ""

    def test_is_empty_for_code_without_a_text(self, keyed):
        assert keyed(score="math:sqrt") == ""
        assert keyed(score="json:loads") != ""


def test_own_cache_is_of_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    FolderCache.own().write("a", MEMBERS)
    path = Path(tmp_path, "ig-audit", "known", "a")
    assert path.exists() and path.parent.stat().st_mode & 0o777 == 0o700
