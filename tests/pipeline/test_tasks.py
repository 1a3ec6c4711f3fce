"""Each kind of task from the shards to the report: two classes by one output, labels, values, dense outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipeline.cli import main
from tests.pipeline.job import png, rows_of, run, table_of
from tests.saved_models import save

SIZE = 8
OPTIONS = {"rule": "midpoint", "steps": 8, "faithfulness": 0, "dtype": "float32", "batch_size": 4}
WEIGHTS = tf.constant(np.random.default_rng(4).normal(0, 0.4, [SIZE * SIZE * 3, 3]), tf.float32)
PICTURES = list(np.random.default_rng(5).integers(0, 256, [8, SIZE, SIZE, 3], np.uint8))


def logits(images: tf.Tensor, count: int = 3) -> tf.Tensor:
    return tf.tanh((tf.reshape(images, [-1, SIZE * SIZE * 3]) - 0.5) @ WEIGHTS[:, :count]) * 3.0


def segmented(images: tf.Tensor) -> tf.Tensor:
    """Returns logits of two classes for each pixel."""
    return tf.tanh(tf.stack([images[..., 0] - images[..., 1], 2.0 * images[..., 2] * images[..., 0]], axis=3))


def detected(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns two fixed boxes, whose scores are how bright the image is inside, and hidden outputs."""
    halves = tf.reduce_mean(tf.reshape(images**2, [-1, 2, SIZE // 2 * SIZE * 3]), axis=2)
    boxes = tf.constant([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    return {"boxes": tf.zeros_like(halves[:, :, None]) + boxes, "scores": halves[:, :, None], "more": halves}


def model(folder: Path, outputs: Callable[[Any], Any]) -> str:
    return save(folder / "model", outputs, SIZE, SIZE)


def shard(folder: Path, labels: pa.Array) -> str:
    images = pa.array([png(picture) for picture in PICTURES], pa.binary())
    pq.write_table(pa.table({"image": images, "label": labels}), folder / "a.parquet")
    return str(folder / "a.parquet")


def names(folder: Path, *names: str) -> str:
    (folder / "names.txt").write_text("\n".join(names))
    return str(folder / "names.txt")


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def slices_of(folder: Path, *kinds: str) -> dict[tuple[str, str], int]:
    rows = table_of(folder).select(["kind", "value", "count"]).to_pylist()
    return {(row["kind"], row["value"]): row["count"] for row in rows if row["kind"] in kinds}


def check_commands(folder: Path, image: str) -> str:
    """Runs what is run after a job, and returns the report."""
    assert main(["refine", str(folder), "--images", image]) == 0
    assert main(["verify", str(folder)]) == 0
    (folder / "thresholds.yaml").write_text("min_rows: 4\nmin_class_rows: 2")
    assert main(["compare", str(folder), str(folder), "--thresholds", str(folder / "thresholds.yaml")]) == 0
    assert main(["show", str(folder), image, "-o", str(folder / "shown.png")]) == 0
    return (folder / "report.html").read_text()


def test_one_output_is_two_classes(tmp_path, capsys):
    shown = model(tmp_path, lambda images: tf.sigmoid(logits(images, 1)))
    shards = shard(tmp_path, pa.array(["no", "yes", "no", "yes"] * 2))
    folder = tmp_path / "out"
    options = {"input": shards, "model": shown, "class_names": names(tmp_path, "no", "yes"), **OPTIONS}
    assert run(folder, targets="top2", **options) == 0
    rows = rows_of(folder)
    decided = [row for row in rows if row["target_rank"] == 0]
    for top, other in zip(decided, (row for row in rows if row["target_rank"] == 1), strict=True):
        assert top["image_id"] == other["image_id"] and top["target"] == 1 - other["target"]
        np.testing.assert_array_equal(top["attribution"], -other["attribution"])
        assert np.abs(top["attribution"]).sum() > 0
        assert top["score"] > 0.5 and top["score"] == pytest.approx(1 - other["score"])
        assert top["target_name"] == ("no", "yes")[top["target"]]
    assert {row["target"] for row in decided} == {0, 1}
    wrong = sum(row["target"] != row["label"] for row in decided)
    assert 0 < wrong < len(decided) and slices_of(folder, "wrong") == {("wrong", ""): 2 * wrong}
    check_commands(folder, decided[0]["image_id"])


def test_labels_are_sets(tmp_path, capsys):
    shown = model(tmp_path, lambda images: tf.sigmoid(logits(images)))
    stored = [[0, 2], [0], [], [2, 1, 0]] * 2  # only the second is what the model says
    shards = shard(tmp_path, pa.array(stored, pa.list_(pa.int64())))
    folder = tmp_path / "true"
    options = {"input": shards, "model": shown, "class_names": names(tmp_path, "cat", "dog", "cow"), **OPTIONS}
    assert run(folder, targets="labels", max_error_rate=0, **options) == 0
    rows = rows_of(folder)
    targeted = [number for number in range(8) if stored[number]]
    assert {row["image_id"] for row in rows} == {f"a.parquet#{number}" for number in targeted}
    for number in targeted:
        mine = [row for row in rows if row["image_id"] == f"a.parquet#{number}"]
        assert sorted(row["target"] for row in mine) == sorted(stored[number])
        assert [row["score"] for row in mine] == sorted((row["score"] for row in mine), reverse=True)
        assert all([each["target"] for each in row["labels"]] == sorted(stored[number]) for row in mine)
    errors = [(row["image_id"], row["stage"]) for row in rows_of(folder, "errors")]
    assert errors == [("a.parquet#2", "target"), ("a.parquet#6", "target")]
    manifest = manifest_of(folder)
    assert [manifest[name] for name in ("images", "rows", "failures", "untargeted")] == [8, 12, 0, 2]
    assert "untargeted    2 images" in capsys.readouterr().out

    found = slices_of(folder, "predicted", "target", "label", "wrong", "confusion")
    wrong = [
        row for row in rows if {each["target"] for each in row["decided"]} != {each["target"] for each in row["labels"]}
    ]
    assert 0 < len(wrong) < len(rows)
    by_class = {str(index): sum(row["target"] == index for row in rows) for index in range(3)}
    by_label = {str(index): sum(index in stored[int(row["image_id"][-1])] for row in rows) for index in range(3)}
    assert found == {
        **{("target", value): count for value, count in by_class.items()},
        **{("label", value): count for value, count in by_label.items()},
        ("wrong", ""): len(wrong),
    }
    page = check_commands(folder, "a.parquet#3")
    assert "Another 2 have no class to explain" in page
    assert "<dt>without a class to explain</dt><dd>2</dd>" in page
    manifest["parts"][0]["untargeted"] = 0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["verify", str(folder)]) == 1
    assert "holds 2 images without a target, the manifest says 0" in capsys.readouterr().out


def test_labels_above_a_probability(tmp_path):
    shown = model(tmp_path, lambda images: tf.sigmoid(logits(images)))
    shards = shard(tmp_path, pa.array([None, ["class_1"], [], ["x"]] * 2, pa.list_(pa.string())))
    assert run(tmp_path / "out", input=shards, model=shown, targets="above:0.5", max_error_rate=0, **OPTIONS) == 0
    rows = rows_of(tmp_path / "out")
    assert rows and all(row["score"] > 0.5 for row in rows)
    for row in rows:
        mine = {other["target"] for other in rows if other["image_id"] == row["image_id"]}
        assert mine == {each["target"] for each in row["decided"]}
    untargeted = manifest_of(tmp_path / "out")["untargeted"]
    assert untargeted + len({row["image_id"] for row in rows}) == len(PICTURES)


def test_values_are_compared_with_numbers(tmp_path, capsys):
    shown = model(tmp_path, lambda images: logits(images, 1))
    shards = shard(tmp_path, pa.array([0.5, -1.25, None, 2.0] * 2))
    folder = tmp_path / "out"
    assert run(folder, input=shards, model=shown, outputs="values", **{**OPTIONS, "faithfulness": 1}) == 0
    rows = rows_of(folder)
    for row, label in zip(rows, [0.5, -1.25, None, 2.0] * 2, strict=True):
        assert (row["label"], row["label_name"], row["label_value"]) == (None, None, label)
        (prediction,) = row["predictions"]
        assert (prediction["probability"], prediction["value"]) == (None, row["score"])
        assert row["target_rank"] is None and row["insertion_auc"] is None
        gained = row["score"] - row["baseline_score"]
        assert row["attribution"].sum() == pytest.approx(gained, rel=0.02)  # 8 midpoints
        if label is None:
            assert row["label_difference"] is None
        else:
            assert row["label_difference"] == pytest.approx(row["score"] - label, abs=1e-6)  # float32
    assert slices_of(folder, "predicted", "target", "label", "wrong", "confusion") == {("target", "0"): 8}
    whole = next(row for row in table_of(folder).to_pylist() if row["kind"] == "all")
    known = [row["label_difference"] for row in rows if row["label_difference"] is not None]
    assert whole["count_label_difference"] == 6
    assert whole["mean_label_difference"] == pytest.approx(np.mean(known))
    assert whole["std_label_difference"] == pytest.approx(np.std(known))
    page = check_commands(folder, rows[0]["image_id"])
    assert "mean of value less label" in page and "Farthest from the label" in page
    assert "no probabilities" in page and "Wrong and confident" not in page


@pytest.mark.parametrize(("outputs", "score"), [(segmented, "second_class"), (detected, "upper_box")])
def test_dense_outputs_are_scored_by_a_function(tmp_path, outputs, score):
    named, folder = f"tests.pipeline.task_scores:{score}", tmp_path / "out"
    shards = shard(tmp_path, pa.array([0, 1, 0, 1] * 2))
    options = {"input": shards, "model": model(tmp_path, outputs), "score": named, **OPTIONS, "faithfulness": 1}
    assert run(folder, targets="none", **options) == 0
    rows = rows_of(folder)
    assert [(row["target"], row["target_name"], row["target_rank"]) for row in rows] == [(0, None, None)] * 8
    assert not any(row["predictions"] for row in rows)
    for row in rows:
        gained = row["score"] - row["baseline_score"]
        assert abs(gained) > 0.01
        assert row["attribution"].sum() == pytest.approx(gained, rel=0.02)  # 8 midpoints
    assert not slices_of(folder, "predicted", "target", "label", "wrong", "confusion")
    page = check_commands(folder, rows[0]["image_id"])
    assert "not that of a class" in page


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (segmented, {"score": "tests.pipeline.task_scores:second_class"}, "set targets to none"),
        (segmented, {"score": "tests.pipeline.task_scores:second_class", "targets": "label"}, "set targets to none"),
        (logits, {"outputs": "values"}, "set targets to class:N"),
        (logits, {"outputs": "values", "targets": "label"}, "set targets to class:N"),
        (logits, {"outputs": "values", "targets": "class:3"}, "the model has 3 outputs, 0 to 2"),
        (logits, {"outputs": "logits", "targets": "none"}, "name one"),
        (lambda images: tf.sigmoid(logits(images)), {"targets": "label"}, "set targets to labels"),
        (lambda images: tf.sigmoid(logits(images, 1)), {"targets": "class:2"}, "the model has 2 classes, 0 to 1"),
    ],
)
def test_targets_that_a_model_does_not_have_are_refused_before_the_work(tmp_path, capsys, outputs, options, message):
    shards = shard(tmp_path, pa.array([0, 1, 0, 1] * 2))
    assert run(tmp_path / "out", input=shards, model=model(tmp_path, outputs), **options) == 2
    shown = capsys.readouterr().err
    assert "targets" in shown and message in shown
    assert not (tmp_path / "out").exists()
