"""What a worker loads: models of object stores from copies that are whole, and the pictures of baselines."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.pipeline.job import pictures, png
from tests.saved_models import smooth
from transforms import storage, worker
from transforms.core.errors import UsageError
from transforms.core.explain.settings import Settings
from transforms.core.model.local_copy import UnreadableError
from transforms.core.model.options import ModelOptions
from transforms.worker import AttributorSpec

SETTINGS = Settings(rule="midpoint", steps=4)


@pytest.fixture
def remote(tmp_path, monkeypatch) -> str:
    """A model in an object store, of which this process has no copy yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = Path(smooth(tmp_path / "net", size=8))
    uri = f"mock://{tmp_path.name}/models/net"
    filesystem, path = storage.resolve(uri)
    filesystem.create_dir(f"{path}/variables")
    for file in folder.rglob("*"):
        if file.is_file():
            storage.write_bytes(storage.join(uri, file.relative_to(folder).as_posix()), file.read_bytes())
    worker._load.cache_clear()
    return uri


def load(uri: str) -> int:
    worker._load.cache_clear()
    return worker.classifier(AttributorSpec(uri, settings=SETTINGS)).classes


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"MatMul", b"MatMuk"))


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "fingerprint.pb"])
@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_copy_that_was_cut_is_made_anew_before_it_is_used(remote, name, damage):
    copy = Path(worker.local_model(remote))
    digest = worker.model_digest_of(remote)
    damage(copy / name)
    assert worker.model_digest_of(remote) == digest
    assert load(remote) == 5
    assert Path(worker.local_model(remote)) == copy
    assert len(list(copy.parents[1].iterdir())) == 1


def test_a_whole_copy_is_not_made_again(remote):
    copy = Path(worker.local_model(remote))
    before = copy.stat().st_ino
    assert load(remote) == load(remote) == 5
    assert copy.stat().st_ino == before


def test_a_copy_that_was_damaged_otherwise_is_made_anew_where_it_cannot_be_loaded(remote):
    copy = Path(worker.local_model(remote))
    digest = worker.model_digest_of(remote)
    flip(copy / "saved_model.pb")
    assert worker.model_digest_of(remote) != digest
    assert load(remote) == 5
    assert worker.model_digest_of(remote) == digest


def test_a_model_that_is_damaged_in_its_store_is_told(remote):
    graph = storage.join(remote, "saved_model.pb")
    storage.write_bytes(graph, storage.read_bytes(graph)[:100])
    with pytest.raises(UnreadableError, match=r"cannot load it.*copy '.*' \(delete it.*just been made anew"):
        load(remote)


def test_a_single_file_is_checked_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = f"mock://{tmp_path.name}/net.keras"
    storage.write_bytes(uri, b"x" * 100)
    copy = Path(worker.local_model(uri))
    cut(copy)
    assert Path(worker.local_model(uri)).read_bytes() == b"x" * 100


def test_a_local_model_is_never_replaced(tmp_path):
    path = Path(smooth(tmp_path / "net", size=8))
    cut(path / "saved_model.pb")
    size = (path / "saved_model.pb").stat().st_size
    with pytest.raises(UnreadableError, match=r"cannot load it") as raised:
        load(str(path))
    assert "copy" not in str(raised.value)
    assert (path / "saved_model.pb").stat().st_size == size


def test_pictures_come_in_the_order_of_their_baselines(tmp_path):
    data = [png(picture) for picture in pictures(2)]
    for index, content in enumerate(data):
        (tmp_path / f"{index}.png").write_bytes(content)
    text = f"image:{tmp_path}/1.png black image:file://{tmp_path}/0.png"
    assert worker.baseline_images(text) == (data[1], data[0])
    assert worker.baseline_images("black blur:3") == ()


@pytest.mark.parametrize(("content", "reason"), [(None, "none.png"), (b"no image", "not an image")])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content, reason):
    path = tmp_path / "none.png"
    if content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"baseline: {path}: .*{reason}"):
        worker.baseline_images(f"image:{path}")


def names_in(tmp_path, content: bytes) -> tuple[str, ...] | str:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    return worker.with_names(ModelOptions(class_names=str(path))).class_names


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_names_come_with_or_without_a_mark(tmp_path, mark, end):
    assert names_in(tmp_path, mark + end.join(["Löwe".encode(), b"  dog ", b"", b"cat"])) == ("Löwe", "dog", "cat")


def test_names_are_in_composed_form(tmp_path):
    split = unicodedata.normalize("NFD", "Löwe")
    assert names_in(tmp_path, split.encode()) == ("Löwe",) != (split,)


@pytest.mark.parametrize("between", [" ", ": ", ":", ",", ", ", "\t", " : "])
def test_numbers_from_0_on_are_left_out_of_names(tmp_path, between):
    lines = [f"{number}{between}{name}" for number, name in enumerate(["cat", "great dane, dog", "3 toed sloth"])]
    assert names_in(tmp_path, "\n".join(lines).encode()) == ("cat", "great dane, dog", "3 toed sloth")


@pytest.mark.parametrize(
    "lines",
    [
        ("1 cat", "2 dog"),
        ("0 cat", "dog"),
        ("0 cat", "2 dog"),
        ("0 cat", "0 dog"),
        ("0", "1"),
        ("0 stars", "1 star", "2 stars", "3 stars"),
        ("7", "0", "10"),
        ("0cat", "1dog"),
    ],
)
def test_other_numbers_belong_to_names(tmp_path, lines):
    assert names_in(tmp_path, "\n".join(lines).encode()) == lines


def test_doubled_names_are_kept_since_labels_may_be_numbers(tmp_path):
    assert names_in(tmp_path, b"0 crane\n1 cat\n2 crane\n") == ("crane", "cat", "crane")


def test_other_encodings_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"class_names: .*names.txt: 'utf-8' codec"):
        names_in(tmp_path, "Löwe".encode("utf-16"))


def test_a_worker_goes_by_what_the_model_showed_at_launch(remote, tmp_path, monkeypatch):
    digest = worker.model_digest_of(remote)
    seen = worker.classifier(AttributorSpec(remote, settings=SETTINGS)).evidence
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of_another_machine"))
    monkeypatch.setattr("transforms.core.model.classifier.examine", None)
    worker._load.cache_clear()
    spec = AttributorSpec(remote, settings=SETTINGS, batch_size=2, model_digest=digest, evidence=seen)
    assert worker.attributor(spec).attributor.classifier.evidence == seen
