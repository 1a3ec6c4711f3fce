"""Bad input gets a clear error, and nothing is lost: rows and errors together are the images read."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cli import main
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import save, smooth
from tests.shards import write_shard
from transforms.store.run import Run

FAST = {"rule": "midpoint", "steps": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


def test_bad_images_become_error_rows_and_the_rest_goes_on(tmp_path, model):
    good = [png(picture) for picture in pictures(4)]
    large = png(np.zeros([300, 300, 3], np.uint8))
    data = [good[0], b"", b"not an image", good[1], good[2][:-40], large, good[3]]
    uri = write_shard(tmp_path, "tfrecord", data)
    code = run(tmp_path / "run", input=uri, model=model, max_pixels=200 * 200, **FAST)
    assert code == 4
    rows, errors = rows_of(tmp_path / "run"), rows_of(tmp_path / "run", "errors")
    assert [row["index"] for row in rows] == [0, 3, 6]
    assert [(error["index"], error["stage"]) for error in errors] == [(index, "decode") for index in (1, 2, 4, 5)]
    assert "300 x 300" in errors[3]["message"] and "40000 pixels" in errors[3]["message"]
    assert all(error["image_id"] == f"a.tfrecord#{error['index']}" and error["error"] for error in errors)


def test_what_a_folder_does_not_take_is_said_and_stays_in_the_manifest(tmp_path, model, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, picture in enumerate(pictures(2)):
        (folder / f"{index}").write_bytes(png(picture))
        (folder / f"{index}.json").write_text("{}")
    (folder / "notes.txt").write_text("nothing")
    assert run(tmp_path / "run", input=folder, model=model, **FAST) == 0
    assert capsys.readouterr().err.splitlines()[0] == "passed over 3 files: 2 .json, 1 .txt"
    manifest = Run.open(str(tmp_path / "run")).manifest
    assert manifest.facts["passed_over"] == {".json": 2, ".txt": 1} and manifest.rows == 2
    (folder / "notes.txt").unlink()
    for index in range(2):
        (folder / f"{index}.json").unlink()
    assert run(tmp_path / "other", input=folder, model=model, **FAST) == 0
    assert "passed over" not in capsys.readouterr().err


def test_few_errors_are_no_failure(tmp_path, model):
    data = [png(picture) for picture in pictures(3)] + [b"x"]
    uri = write_shard(tmp_path, "tfrecord", data)
    assert run(tmp_path / "run", input=uri, model=model, max_error_rate=0.25, **FAST) == 0


def test_a_missing_label_is_an_error_only_where_labels_are_the_targets(tmp_path, model):
    data = [png(picture) for picture in pictures(3)]
    uri = write_shard(tmp_path, "webdataset", data, ["2", "zebra", "4"])
    assert run(tmp_path / "by_label", input=uri, model=model, targets="label", **FAST) == 4
    (error,) = rows_of(tmp_path / "by_label", "errors")
    assert (error["index"], error["stage"]) == (1, "label")
    assert "zebra" in error["message"]
    assert run(tmp_path / "by_top", input=uri, model=model, **FAST) == 0
    assert [row["label"] for row in rows_of(tmp_path / "by_top")] == [2, None, 4]


def test_a_cut_shard_yields_the_images_before_the_damage(tmp_path, model):
    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(6)])
    uri.write_bytes(uri.read_bytes()[:-200])
    assert run(tmp_path / "run", input=uri, model=model, chunk_images=2, **FAST) == 4
    assert [row["index"] for row in rows_of(tmp_path / "run")] == [0, 1, 2, 3, 4]
    (error,) = rows_of(tmp_path / "run", "errors")
    assert (error["index"], error["stage"]) == (5, "read")


def test_an_attribution_that_is_not_finite_is_an_error(tmp_path):
    import tensorflow as tf

    def outputs(images):
        total = tf.reduce_sum(images, [1, 2, 3])
        bad = tf.where(total > 2500.0, np.nan, 1.0)  # brighter than a picture in black and white
        return tf.stack([total * bad, -total], axis=1)

    dark, bright = np.full([32, 32, 3], 9, np.uint8), np.full([32, 32, 3], 250, np.uint8)
    uri = write_shard(tmp_path, "tfrecord", [png(dark), png(bright), png(dark)])
    model = save(tmp_path / "model", outputs, 32, 32)
    assert run(tmp_path / "run", input=uri, model=model, score="logit", targets="class:0", **FAST) == 4
    assert [row["index"] for row in rows_of(tmp_path / "run")] == [0, 2]
    (error,) = rows_of(tmp_path / "run", "errors")
    assert (error["index"], error["stage"]) == (1, "attribute")
    assert "not finite" in error["message"]


def test_what_would_fail_every_image_fails_before_anything_is_written(tmp_path, model, capsys):
    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(2)])
    (tmp_path / "names.txt").write_text("a\nb\nc\n")

    def message(**options) -> str:
        assert run(tmp_path / "run", **{"input": uri, "model": model, **FAST, **options}) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    assert "input" in (text := message(input=tmp_path / "none-*.tfrecord")) and "none-*.tfrecord" in text
    assert "model" in (text := message(model=tmp_path / "nothing")) and "nothing" in text
    assert "class_names" in (text := message(class_names=tmp_path / "no.txt")) and "no.txt" in text
    assert "3 class names" in message(class_names=tmp_path / "names.txt")
    assert "targets" in (text := message(targets="class:5")) and "0 to 4" in text
    assert "input_size" in message(input_size="64x64")
    assert "baseline" in message(baseline=f"image:{tmp_path}/none.png")
    (tmp_path / "large.png").write_bytes(png(np.zeros([3, 3, 3], np.uint8)))
    assert "3 x 3 is more than the 8 pixels" in message(baseline=f"image:{tmp_path}/large.png", max_pixels=8)
    assert "max_pixels: 10000000000000000000000" in message(max_pixels=10**22)
    assert "no_such_module" in message(score="no_such_module:f")


def test_the_logit_of_averaged_softmaxes_is_refused_with_the_way_out(tmp_path, capsys):
    import tensorflow as tf

    def outputs(images):
        means = tf.reduce_mean(images, [1, 2])
        return (tf.nn.softmax(means) + tf.nn.softmax(-means)) / 2

    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(2)])
    model = save(tmp_path / "model", outputs, 32, 32)
    assert run(tmp_path / "run", input=uri, model=model, score="logit", **FAST) == 2
    assert "log_odds" in capsys.readouterr().err
    assert run(tmp_path / "run", input=uri, model=model, score="log_odds", **FAST) == 0


def test_the_users_own_operator(tmp_path, model, monkeypatch):
    (tmp_path / "my_operator.py").write_text(
        "import tensorflow as tf\n"
        "def margin(scores, targets):\n"
        "    best = tf.gather(scores, targets, axis=1, batch_dims=1)\n"
        "    return best - tf.reduce_mean(scores, axis=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(2)])
    assert run(tmp_path / "run", input=uri, model=model, score="my_operator:margin", **FAST) == 0
    for row in rows_of(tmp_path / "run"):
        assert row["score"] > 0
        assert abs(row["convergence_delta"]) < 0.1 * abs(row["score"] - row["baseline_score"])


def test_a_failing_job_is_one_line_and_no_manifest(tmp_path, model, capsys, monkeypatch):
    from transforms.core.explain.attributor import Attributor

    def full(*_, **__):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(Attributor, "attribute", full)
    uri = write_shard(tmp_path, "tfrecord", [png(picture) for picture in pictures(2)])
    assert run(tmp_path / "run", input=uri, model=model, **FAST) == 1
    message = capsys.readouterr().err
    assert "No space left on device" in message and "Traceback" not in message
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_a_flag_that_nobody_knows_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path), "--fast"])
    assert stop.value.code == 2
