"""Sample pictures, shards and the samples folder; what is written is read back by other libraries than our own."""

from __future__ import annotations

import io
import itertools
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from PIL import Image as PillowImage

from pipeline.samples import cache, photographs
from pipeline.samples.photographs import PHOTOGRAPHS, Sample, crops, originals
from pipeline.samples.shards import make_shards
from transforms.core.vocabulary import INPUT_FORMATS


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(PillowImage.open(io.BytesIO(data)))


def test_originals_are_the_files_of_the_packages() -> None:
    samples = list(originals())
    assert [(sample.key, sample.label) for sample in samples] == [(each.key, each.label) for each in PHOTOGRAPHS]
    assert pixels(samples[0].data).shape == (300, 451, 3)


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package: pip install 'ig-audit\[samples\]'"):
        photographs.Photograph("key", "no_such_package", "data/key.png", 0).read()


def test_crops_are_large_colour_pictures_of_each_photograph_in_turn() -> None:
    samples = list(crops(20))
    assert len({sample.key for sample in samples}) == 20
    assert not any("." in sample.key for sample in samples)  # webdataset cuts a name at its first dot
    assert [sample.label for sample in samples] == [PHOTOGRAPHS[n % len(PHOTOGRAPHS)].label for n in range(20)]
    shapes = {pixels(sample.data).shape for sample in samples}
    assert len(shapes) > 10
    assert all(min(height, width) >= 224 and channels == 3 for height, width, channels in shapes)


def test_crops_depend_on_the_seed_and_their_number_alone() -> None:
    assert list(crops(12, seed=3))[:5] == list(crops(5, seed=3))
    assert all(one.data != other.data for one, other in zip(crops(8, seed=3), crops(8, seed=4), strict=True))


def test_a_crop_is_a_window_of_the_picture_or_its_mirror_image() -> None:
    place = np.arange(300 * 400).reshape(300, 400)
    mirrored = 0
    for seed in range(20):
        crop = photographs._crop(place, np.random.default_rng(seed))
        step = int(crop[0, 1] - crop[0, 0])
        mirrored += step == -1
        window = crop[:, ::step]
        assert (np.diff(window, axis=1) == 1).all()
        assert (np.diff(window, axis=0) == 400).all()
        assert window[0, 0] % 400 + window.shape[1] <= 400
    assert 0 < mirrored < 20


def from_tfrecord(path: str) -> list[Sample]:
    kind = "GZIP" if path.endswith(".gz") else ""
    found = []
    for record in tf.data.TFRecordDataset(path, compression_type=kind).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        key = feature["image/filename"].bytes_list.value[0].decode().partition(".")[0]
        data = feature["image/encoded"].bytes_list.value[0]
        found.append(Sample(key, data, feature["image/class/label"].int64_list.value[0]))
    return found


def from_webdataset(path: str) -> list[Sample]:
    with tarfile.open(path) as archive:
        members = [(member.name.split("."), archive.extractfile(member).read()) for member in archive]
    found = []
    for ((key, ending), data), ((label_key, label_ending), label) in zip(members[::2], members[1::2], strict=True):
        assert (label_key, label_ending) == (key, "cls") and ending in ("jpg", "png")
        found.append(Sample(key, data, int(label)))
    return found


def from_parquet(path: str) -> list[Sample]:
    rows = pq.read_table(path).to_pylist()
    return [Sample(row["image"]["path"].partition(".")[0], row["image"]["bytes"], row["label"]) for row in rows]


def from_files(path: str) -> list[Sample]:
    files = sorted(Path(path).rglob("*.*"))
    return [Sample(file.stem, file.read_bytes(), int(file.parent.name)) for file in files]


READERS = {"tfrecord": from_tfrecord, "webdataset": from_webdataset, "parquet": from_parquet, "files": from_files}
CASES = [(format, False) for format in INPUT_FORMATS] + [("tfrecord", True)]


@pytest.mark.parametrize(("format", "compress"), CASES)
@pytest.mark.parametrize(("count", "shards"), [(None, 3), (13, 2)])
def test_shards_hold_every_sample_once(tmp_path: Path, format: str, compress: bool, count: int, shards: int) -> None:
    paths = make_shards(str(tmp_path), format, count, shards, seed=5, compress=compress)
    expected = list(originals() if count is None else crops(count, seed=5))
    parts = [READERS[format](path) for path in paths]
    assert len(parts) == shards
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sorted(itertools.chain(*parts)) == sorted(expected)
    if format != "files":
        assert list(itertools.chain(*parts)) == expected


def test_tfrecords_are_byte_for_byte_what_tensorflow_writes(tmp_path: Path) -> None:
    (path,) = make_shards(str(tmp_path), "tfrecord", 3)
    with tf.io.TFRecordWriter(str(tmp_path / "oracle")) as writer:
        for sample in crops(3):
            example = tf.train.Example()
            example.features.feature["image/encoded"].bytes_list.value.append(sample.data)
            example.features.feature["image/filename"].bytes_list.value.append(f"{sample.key}.jpg".encode())
            example.features.feature["image/class/label"].int64_list.value.append(sample.label)
            writer.write(example.SerializeToString(deterministic=True))
    assert Path(path).read_bytes() == (tmp_path / "oracle").read_bytes()


@pytest.mark.parametrize(("format", "compress"), CASES)
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, format: str, compress: bool) -> None:
    first, second = (
        make_shards(str(tmp_path / name), format, 5, seed=1, compress=compress) for name in ("first", "second")
    )

    def content(path: str) -> list[bytes]:
        return [file.read_bytes() for file in sorted([Path(path), *Path(path).rglob("*")]) if file.is_file()]

    assert [content(path) for path in first] == [content(path) for path in second]
    assert content(first[0])


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({"format": "zip"}, "format"),
        ({"count": 0}, "count"),
        ({"shards": 0}, "shards"),
        ({"shards": 9}, "shards"),
        ({"seed": -1}, "seed"),
        ({"format": "parquet", "compress": True}, "compress"),
    ],
)
def test_arguments_outside_what_is_allowed_are_named(tmp_path: Path, arguments: dict, option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option}: "):
        make_shards(str(tmp_path), **({"format": "tfrecord"} | arguments))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def light_model(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the building of the model; returns the paths it was asked for."""
    built: list[str] = []

    def save(path: str) -> str:
        Path(path).mkdir()
        built.append(path)
        return path

    monkeypatch.setattr("pipeline.samples.lite0.save_lite0", save)
    return built


def test_samples_are_made_once(tmp_path: Path, light_model: list[str]) -> None:
    first = cache.make_samples(str(tmp_path / "samples"))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("samples-*")}
    assert cache.make_samples(str(tmp_path / "samples")) == first
    assert len(light_model) == 1
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("samples-*")}
    assert len(times) == len(first.input) == 2
    assert not list(tmp_path.rglob(".building-*"))


def test_shards_of_other_arguments_lie_side_by_side(tmp_path: Path, light_model: list[str]) -> None:
    arguments = [{}, {"count": 8}, {"count": 8, "seed": 1}, {"shards": 1}, {"compress": True}, {"format": "files"}]
    inputs = [cache.make_samples(str(tmp_path), **each).input for each in arguments]
    assert len({path for each in inputs for path in each}) == sum(map(len, inputs))
    assert len(light_model) == 1


def test_the_config_names_what_was_made(tmp_path: Path, light_model: list[str]) -> None:
    samples = cache.make_samples(str(tmp_path), "webdataset", count=4, shards=1)
    config = yaml.safe_load(Path(samples.config).read_text())
    assert config["input"] == list(samples.input)
    assert (config["model"], config["class_names"], config["pixels"]) == (samples.model, samples.class_names, "unit")
    assert all(Path(path).is_absolute() and Path(path).exists() for path in [*samples.input, samples.model])


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: str) -> None:
        Path(path).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.samples.lite0.save_lite0", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.build_model(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_slower_of_two_builders_takes_what_the_faster_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(path: str) -> None:
        Path(path).mkdir()
        faster = tmp_path / "efficientnet-lite0"
        faster.mkdir()
        (faster / "saved_model.pb").write_text("faster")

    monkeypatch.setattr("pipeline.samples.lite0.save_lite0", overtaken)
    model = cache.build_model(str(tmp_path))
    assert (Path(model) / "saved_model.pb").read_text() == "faster"
    assert [path.name for path in tmp_path.iterdir()] == ["efficientnet-lite0"]


def test_class_names_are_a_thousand_and_tell_classes_apart(class_names_path: str) -> None:
    names = Path(class_names_path).read_text().splitlines()
    assert len(set(names)) == len(names) == 1000
    picked = {photograph.key: names[photograph.label] for photograph in PHOTOGRAPHS}
    assert picked["chelsea"] == "Egyptian cat"
    assert picked["coffee"] == "espresso"
    assert picked["camera"] == "tripod"
    assert {names[134], names[517]} == {"crane bird", "construction crane"}
