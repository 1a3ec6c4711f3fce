"""The whole job on a smooth model: stored rows against a direct computation, whatever the format and the chunks."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run, table_of
from tests.saved_models import smooth
from tests.shards import write_shard

COUNT = 13
STEPS = 20
FAST = {"rule": "midpoint", "steps": STEPS, "dtype": "float32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return pictures(COUNT)


def direct(model: str, images: list[np.ndarray]) -> list[np.ndarray]:
    """Returns integrated gradients of the top class's probability, midpoint rule, black baseline, one at a time."""
    import tensorflow as tf

    call = tf.saved_model.load(model)
    maps = []
    for image in images:
        x = tf.image.resize_with_pad(image.astype(np.float32) / 255, 32, 32)
        target = int(tf.argmax(call(x[None])[0]))
        total = tf.zeros_like(x)
        for step in range(STEPS):
            with tf.GradientTape() as tape:
                z = (step + 0.5) / STEPS * x
                tape.watch(z)
                score = tf.nn.softmax(call(z[None]))[0, target]
            total += tape.gradient(score, z) / STEPS
        maps.append((total * x).numpy())
    return maps


def shards(folder, kind: str, images: list[np.ndarray]) -> list[str]:
    """Writes the images into two shards of unequal size."""
    uris = []
    for name, part in (("first", images[:5]), ("second", images[5:])):
        (folder / name).mkdir()
        labels = [len(part[0]) % 5] * len(part)
        uris.append(str(write_shard(folder / name, kind, [png(image) for image in part], labels)))
    return uris


@pytest.mark.parametrize(
    ("kind", "chunk_images"), [("tfrecord", 256), ("tfrecord.gz", 2), ("webdataset", 3), ("parquet", 4), ("files", 1)]
)
def test_rows_equal_a_direct_computation(tmp_path, model, images, kind, chunk_images):
    code = run(tmp_path / "run", input=shards(tmp_path, kind, images), model=model, chunk_images=chunk_images, **FAST)
    assert code == 0
    rows = rows_of(tmp_path / "run")
    parts = list((tmp_path / "run" / "attributions").iterdir())
    assert len(parts) == -(-5 // chunk_images) + -(-8 // chunk_images)
    assert [(row["shard"], row["index"]) for row in rows] == sorted((row["shard"], row["index"]) for row in rows)
    for row, wanted in zip(rows, direct(model, images), strict=True):
        # rounding of float32 sums over 20 steps, in another order
        assert np.abs(row["attribution"] - wanted).sum() <= 1e-5 * np.abs(wanted).sum()
        assert row["steps"] == STEPS


def test_the_same_rows_give_the_same_statistics_whatever_the_chunks_and_workers(tmp_path, model, images):
    inputs = shards(tmp_path, "tfrecord", images)
    first = run(tmp_path / "a", input=inputs, model=model, **FAST)
    second = run(tmp_path / "b", input=inputs[::-1], model=model, **FAST)
    assert (first, second) == (0, 0)
    assert table_of(tmp_path / "a").equals(table_of(tmp_path / "b"))
    for part in (tmp_path / "a" / "attributions").iterdir():
        other = tmp_path / "b" / "attributions" / part.name
        assert pq.read_table(part).equals(pq.read_table(other))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_two_workers_give_the_same_bytes(tmp_path, model, images, mode):
    inputs = shards(tmp_path, "tfrecord", images)
    options = {"input": inputs, "model": model, "chunk_images": 3, **FAST}
    assert run(tmp_path / "one", **options) == 0
    assert run(tmp_path / "two", "--direct_num_workers=2", f"--direct_running_mode={mode}", **options) == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one" / "attributions").iterdir())
    assert len(files) == 5
    for file in [*files, "statistics/statistics.parquet"]:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_resume_attributes_only_what_is_missing(tmp_path, model, images):
    options = {"input": shards(tmp_path, "tfrecord", images), "model": model, "chunk_images": 3, **FAST}
    assert run(tmp_path / "run", **options) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run" / "attributions").iterdir()}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    lost, damaged, *kept = sorted(before)
    folder = tmp_path / "run" / "attributions"
    (folder / lost).unlink()
    (folder / damaged).write_bytes(before[damaged][:-100])
    (tmp_path / "run" / "manifest.json").unlink()
    times = {name: (folder / name).stat().st_mtime_ns for name in kept}
    assert run(tmp_path / "run", "--resume", **options) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == times
    again = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert again["parts"] == manifest["parts"]
    assert again["statistics"] == manifest["statistics"]


def test_a_directory_that_holds_a_run_is_refused_and_left_alone(tmp_path, model, images, capsys):
    options = {"input": shards(tmp_path, "tfrecord", images[:6]), "model": model, **FAST}
    assert run(tmp_path / "run", **options) == 0
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    assert run(tmp_path / "run", **options) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(tmp_path / "run", "--resume", **{**options, "dtype": "int8"}) == 2
    assert "other options (dtype)" in capsys.readouterr().err
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_resuming_with_fewer_shards_leaves_no_stray_parts(tmp_path, model, images):
    inputs = shards(tmp_path, "tfrecord", images)
    options = {"model": model, "chunk_images": 3, **FAST}
    common = str(tmp_path / "*" / "*.tfrecord")
    assert run(tmp_path / "run", input=common, **options) == 0
    (tmp_path / "second" / "a.tfrecord").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.tfrecord").write_bytes((tmp_path / "first" / "a.tfrecord").read_bytes())
    killed = [tmp_path / "run" / folder / ".ig-audit-0123.tmp" for folder in (".", "attributions", "statistics")]
    for path in killed:
        path.write_bytes(b"half")
    assert run(tmp_path / "run", "--resume", input=common, **options) == 0
    assert {row["shard"] for row in rows_of(tmp_path / "run")} == {inputs[0], str(tmp_path / "other" / "a.tfrecord")}
    assert not any(path.exists() for path in killed)


def test_labels_by_name_and_their_slices(tmp_path, model, images):
    names = ["ant", "bee", "cat", "dog", "eel"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    (tmp_path / "shards").mkdir()
    labels = [names[number % 5] for number in range(COUNT)]
    uri = write_shard(tmp_path / "shards", "webdataset", [png(image) for image in images], labels)
    code = run(tmp_path / "run", input=uri, model=model, class_names=tmp_path / "names.txt", targets="label", **FAST)
    assert code == 0
    rows = rows_of(tmp_path / "run")
    assert [row["label_name"] for row in rows] == labels == [row["target_name"] for row in rows]
    assert rows[0]["image_id"] == "a.tar#0000"
    slices = {(row["kind"], row["name"]): row["count"] for row in table_of(tmp_path / "run").to_pylist()}
    assert slices["all", ""] == COUNT
    assert {name: slices["label", name] for name in names} == {name: labels.count(name) for name in names}
    wrong = sum(row["predictions"][0]["target"] != row["target"] for row in rows)
    assert 0 < wrong < COUNT
    assert slices["wrong", ""] == wrong


@pytest.mark.parametrize(
    ("channels", "dtype", "loss"),
    # relative L1: float16 keeps 11 bits; companded int8 was measured at 1.9 % on photographs
    [("all", "float16", 1e-3), ("all", "int8", 0.03), ("sum", "float32", 1e-6), ("abs_sum", "int8", 0.03)],
)
def test_what_is_stored_of_a_map(tmp_path, model, images, channels, dtype, loss):
    from transforms.core.maps.quantize import reduce_channels, restore

    inputs = shards(tmp_path, "parquet", images[:6])
    assert run(tmp_path / "run", input=inputs, model=model, **{**FAST, "dtype": dtype}, channels=channels) == 0
    for row, wanted in zip(rows_of(tmp_path / "run"), direct(model, images[:6]), strict=True):
        wanted = reduce_channels(wanted, channels)
        assert row["attribution"].dtype == dtype
        restored = restore(row["attribution"], row["scale"])
        assert restored.shape == wanted.shape
        assert np.abs(restored - wanted).sum() <= (loss + 1e-5) * np.abs(wanted).sum()


def test_rows_carry_all_columns_and_provenance(tmp_path, model, images):
    inputs = shards(tmp_path, "tfrecord", images[:6])
    assert run(tmp_path / "run", input=inputs, model=model, targets="top2", **FAST) == 0
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 12
    for row in rows:
        height, width = images[[r["image_id"] for r in rows].index(row["image_id"]) // 2].shape[:2]
        assert (row["height"], row["width"]) == (height, width)
        assert row["predictions"][row["target_rank"]]["target"] == row["target"]
        assert row["score"] == pytest.approx(row["predictions"][row["target_rank"]]["probability"], abs=1e-6)
        assert sum(row["grid"]) == pytest.approx(1, abs=1e-6) == sum(row["channel_share"])
        assert len(row["grid"]) == 64
        assert len(row["path"]) == STEPS
        assert row["thumbnail"][:2] == b"\xff\xd8"
    (part, *_) = (tmp_path / "run" / "attributions").iterdir()
    metadata = {key.decode(): value.decode() for key, value in pq.ParquetFile(part).metadata.metadata.items()}
    config = json.loads(metadata["ig_audit.config"])
    assert (config["targets"], config["steps"]) == ("top2", STEPS)
    assert len(metadata["ig_audit.config_digest"]) == len(metadata["ig_audit.model_digest"]) == 64
    assert "tensorflow" in json.loads(metadata["ig_audit.versions"])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["facts"]["passes"]
    assert (manifest["images"], manifest["rows"], manifest["failures"]) == (6, 12, 0)


def test_a_run_ends_with_its_report(tmp_path, model, images, capsys):
    assert run(tmp_path / "run", input=shards(tmp_path, "parquet", images), model=model, **FAST) == 0
    *_, report, findings = capsys.readouterr().out.splitlines()
    assert report == f"  report        {tmp_path}/run/report.html"
    assert findings.startswith("no findings without a reference")
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["verdict"] is None
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Not compared" in page and page.count('<img src="data:image/jpeg') > 8


def test_a_limit_takes_a_sample_that_manifest_and_report_name_and_verify_confirms(tmp_path, model, images, capsys):
    inputs = shards(tmp_path, "tfrecord", images)
    assert run(tmp_path / "all", input=inputs, model=model, **FAST) == 0
    assert run(tmp_path / "run", input=inputs, model=model, limit=5, **FAST) == 0
    assert f"5 images (a sample of {COUNT}): 5 rows" in capsys.readouterr().out
    whole = {row["image_id"]: row for row in rows_of(tmp_path / "all")}
    for row in rows_of(tmp_path / "run"):
        wanted = whole[row["image_id"]]["attribution"]
        assert np.abs(row["attribution"] - wanted).sum() <= 1e-5 * np.abs(wanted).sum()  # batches of other images
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("run", "all")]
    assert [each["facts"].get("sample_of") for each in manifests] == [COUNT, None]
    assert manifests[0]["config_digest"] != manifests[1]["config_digest"]
    assert f"5, a sample of {COUNT}" in (tmp_path / "run" / "report.html").read_text()
    assert main(["verify", str(tmp_path / "run")]) == 0
    assert run(tmp_path / "run", "--resume", input=inputs, model=model, limit=5, **FAST) == 0
    assert run(tmp_path / "run", "--resume", input=inputs, model=model, limit=6, **FAST) == 2
