"""Copies that were damaged: made anew once, told plainly otherwise, and nothing else is ever touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests import loopback
from tests.saved_models import save
from transforms.core.model import classifier
from transforms.core.model.local_copy import UnreadableError, load_copy
from transforms.core.model.options import ModelOptions


class Source:
    """A cache, and what is fetched into it: contents, one after the other, or errors."""

    def __init__(self, cache: Path, *contents: str | Exception) -> None:
        self.cache = cache
        self.left = list(contents)
        self.copy = cache / "key" / "model.keras"

    def fetch(self) -> str:
        if not self.copy.exists():
            content = self.left.pop(0)
            if isinstance(content, Exception):
                raise content
            self.copy.parent.mkdir(parents=True)
            self.copy.write_text(content)
        return str(self.copy)

    def load(self) -> str:
        return load_copy(read, self.fetch, self.cache)


def read(path: str) -> str:
    text = Path(path).read_text()
    if text != "whole":
        raise UnreadableError(f"model={path!r}: {text}")
    return text


def test_a_whole_copy_is_fetched_once(tmp_path):
    source = Source(tmp_path, "whole")
    assert [source.load(), source.load()] == ["whole", "whole"]


def test_a_damaged_copy_is_made_anew(tmp_path):
    source = Source(tmp_path, "cut", "whole")
    assert source.load() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_fresh_copy_that_is_damaged_too_is_told_and_stays(tmp_path):
    source = Source(tmp_path, "cut", "cut again")
    message = rf"model='{source.copy}': cut again; .*copy '{tmp_path}/key' .*delete it.*, which has just been made anew"
    with pytest.raises(UnreadableError, match=message):
        source.load()
    assert source.copy.read_text() == "cut again"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("error", [OSError("no network"), ValueError("no network")])
def test_a_copy_that_has_no_other_stays(tmp_path, error):
    source = Source(tmp_path, "cut", error)
    message = rf"': cut; .*copy '{tmp_path}/key' .*delete it.*, which could not be made anew: no network"
    with pytest.raises(UnreadableError, match=message):
        source.load()
    assert source.copy.read_text() == "cut"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_copy_that_another_process_has_replaced_is_taken(tmp_path):
    source = Source(tmp_path, "cut")

    def load(path: str) -> str:
        try:
            return read(path)
        except UnreadableError:
            os.rename(source.copy.parent, tmp_path / "other")
            source.copy.parent.mkdir()
            source.copy.write_text("whole")
            raise

    assert load_copy(load, source.fetch, tmp_path) == "whole"


def test_other_errors_replace_nothing(tmp_path):
    source = Source(tmp_path, "whole")

    def refuse(path: str) -> str:
        raise ValueError("score: no")

    with pytest.raises(ValueError, match=r"^score: no$"):
        load_copy(refuse, source.fetch, tmp_path)
    assert source.copy.read_text() == "whole"


@pytest.mark.parametrize("where", ["outside", "linked entry", "linked file"])
def test_what_is_not_the_caches_own_is_left_alone(tmp_path, where):
    (tmp_path / "cache" / "key").mkdir(parents=True)
    own = tmp_path / "own" / "model.keras"
    own.parent.mkdir()
    own.write_text("the user's")
    paths = {
        "outside": own,
        "linked entry": tmp_path / "cache" / "link" / "model.keras",
        "linked file": tmp_path / "cache" / "key" / "model.keras",
    }
    (tmp_path / "cache" / "link").symlink_to(own.parent)
    paths["linked file"].symlink_to(own)
    with pytest.raises(UnreadableError, match=r"the user's$"):
        load_copy(read, lambda: str(paths[where]), tmp_path / "cache")
    assert own.read_text() == "the user's"
    assert paths[where].read_text() == "the user's"


class TestHub:
    """The same through TensorFlow Hub, with its own cache."""

    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
        self.cache = tmp_path / "cache"
        self.archive = tmp_path / "served" / "1"
        self.archive.parent.mkdir()
        self.good = save(tmp_path / "good", lambda images: tf.reduce_mean(images, [1, 2]) @ tf.ones([3, 2]), 4, 4)
        with loopback.serve(self.archive.parent) as url:
            yield f"{url}/1"

    def publish(self, damage: Any = None) -> None:
        """Serves the model; its folder as `damage` leaves it."""
        folder = self.archive.with_name("folder")
        shutil.copytree(self.good, folder)
        if damage:
            damage(folder)
        loopback.pack(str(folder), self.archive)
        shutil.rmtree(folder)

    def copies(self) -> list[Path]:
        return [path for path in self.cache.iterdir() if path.is_dir()]

    @pytest.mark.parametrize("damage", ["flipped", "cut graph", "cut weights", "no graph", "no weights"])
    def test_a_damaged_copy_is_downloaded_again(self, hub, damage):
        self.publish(DAMAGES[damage])
        with pytest.raises(UnreadableError, match=r"cannot load it|holds no saved_model.pb") as raised:
            classifier.load(hub)
        (copy,) = self.copies()
        assert "input_size" not in str(raised.value)
        assert f"the copy {str(copy)!r} (delete it, and the next start makes another)" in str(raised.value)
        self.publish()
        assert classifier.load(hub).classes == 2
        self.archive.unlink()
        assert classifier.load(hub).classes == 2  # from the cache
        assert self.copies() == [copy]

    def test_a_copy_that_can_be_loaded_but_not_called_is_downloaded_again(self, hub, tmp_path):
        wrong = save(tmp_path / "wrong", lambda images: tf.reshape(images, tf.constant([-1, 7])), 4, 4)
        loopback.pack(wrong, self.archive)
        with pytest.raises(UnreadableError, match=r"it can be loaded, but not called with images of 4x4, its own size"):
            classifier.load(hub)
        self.publish()
        assert classifier.load(hub).classes == 2

    def test_an_archive_that_is_cut_short_leaves_nothing(self, hub):
        self.publish()
        whole = self.archive.read_bytes()
        for size in (0, len(whole) // 3, len(whole) // 2):
            self.archive.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=r"could not resolve it|TensorFlow cannot load it|no saved_model.pb"):
                classifier.load(hub)
        self.archive.write_bytes(whole)
        assert classifier.load(hub).classes == 2

    def test_options_that_do_not_fit_download_nothing(self, hub):
        self.publish()
        classifier.load(hub)
        self.archive.unlink()
        for options in (
            {"input_size": "5x5"},
            {"output_name": "none"},
            {"signature": "none"},
            {"class_names": ["a"] * 9},
        ):
            with pytest.raises(ValueError, match=next(iter(options))):
                classifier.load(hub, ModelOptions(**options))
        assert classifier.load(hub).classes == 2


def _flip(folder: Path) -> None:
    """Changes one letter of an operation's name."""
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"MatMul", b"MatMuk"))


def _cut(name: str) -> Any:
    def cut(folder: Path) -> None:
        (file,) = folder.glob(name)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return cut


def _remove(name: str) -> Any:
    return lambda folder: next(folder.glob(name)).unlink()


DAMAGES = {
    "flipped": _flip,
    "cut graph": _cut("saved_model.pb"),
    "cut weights": _cut("variables/variables.index"),
    "no graph": _remove("saved_model.pb"),
    "no weights": _remove("variables/variables.data*"),
}
