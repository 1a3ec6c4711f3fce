"""The command `check`: what it finds of a tiny model and tiny shards, what it suspects, and that it writes nothing."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.check.labels import count_labels, suspicions_of
from pipeline.check.report import LabelCounts
from pipeline.cli import main
from pipeline.cost import Cost, Spread, interval_costs
from tests.pipeline.job import png, run
from tests.saved_models import save
from tests.shards import example, write_tfrecord

SIDE, CLASSES, COUNT = 8, 4, 40
FAST = {"rule": "midpoint", "steps": 4, "batch_size": 4}
NAMES = ("black", "dark", "light", "white")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two shards of pictures of four levels of gray, labeled by level, and a model of levels in [0, 255]."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("check")

    def outputs(images: Any) -> Any:
        level = tf.reduce_mean(images, [1, 2, 3])[:, None] / 255
        return -60.0 * (level - np.arange(CLASSES, dtype=np.float32) / (CLASSES - 1)) ** 2

    save(folder / "model", outputs, SIDE, SIDE)
    (folder / "names.txt").write_text("\n".join(NAMES))
    (folder / "data").mkdir()
    generator = np.random.default_rng(0)
    for shard in range(2):
        records = []
        for number in range(COUNT // 2):
            level = number % CLASSES
            noise = generator.integers(-20, 21, (SIDE, SIDE, 3))
            picture = np.clip(level * 85 + noise, 0, 255).astype(np.uint8)
            records.append(example(png(picture), level, name=NAMES[level], site="a", far=level + 7))
        write_tfrecord(folder / "data" / f"{shard}.tfrecord", records)
    return folder


@pytest.fixture
def check(folder, tmp_path, capsys):
    """Returns a function that checks the shards, and returns the exit code and the report."""

    def call(*flags: str, pixels: str = "byte", **options: Any) -> tuple[int, dict[str, Any]]:
        given = {"input": folder / "data", "model": folder / "model", "pixels": pixels, **FAST, **options}
        arguments = [f"--{name}={value}" for name, value in given.items()]
        code = main(["check", *arguments, *flags, "--json", str(tmp_path / "report.json")])
        report = json.loads((tmp_path / "report.json").read_text())
        return code, {**report, "page": capsys.readouterr().out}

    return call


def mends(report: dict[str, Any]) -> list[str]:
    return [each["option"] for each in report["suspicions"]]


def test_a_sound_job_is_described_and_nothing_is_suspected(check, folder):
    before = sorted(str(path) for path in folder.rglob("*"))
    code, report = check("--fields", "site")
    assert (code, mends(report)) == (0, [])
    assert (report["shards"], report["images"], report["exact"]) == ({"tfrecord": 2}, COUNT, True)
    assert report["labels"] == {"looked_at": 40, "usable": 40, "missing": 0, "unusable": 0, "examples": []}
    assert (report["look"]["accuracy"], report["look"]["pictures"]) == (1.0, COUNT)
    assert report["fields"] == {"site": COUNT}
    assert report["cost"]["steps_an_image"] >= FAST["steps"]
    assert report["cost"]["known_from"] == "" and report["cost"]["hours"] > 0 < report["cost"]["gigabytes"]
    page = report["page"]
    assert "2 shards (2 tfrecord), 40 images\n" in page and "8x8x3 in [0, 255]" in page
    assert "40 of 40 looked at name a class" in page and "100% of 40 labeled pictures" in page
    assert "(by this machine's speed)" in page and page.endswith("nothing suspicious was found\n")
    assert len(page.splitlines()) <= 25
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_json_takes_the_place_of_the_page_if_no_file_is_named(folder, capsys):
    options = [f"--{name}={value}" for name, value in {**FAST, "pixels": "byte"}.items()]
    assert main(["check", "--input", str(folder / "data"), "--model", str(folder / "model"), *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == COUNT


def test_it_takes_the_options_of_a_run_and_leaves_its_output_alone(check, tmp_path):
    (tmp_path / "audit.yaml").write_text(f"output: {tmp_path}/out\n")
    code, _ = check("--config", str(tmp_path / "audit.yaml"), "--resume", "--direct_num_workers=2")
    assert code == 0 and not os.path.exists(tmp_path / "out")


def test_labels_that_name_no_class_are_counted(check, folder):
    code, report = check("--label_feature=far", "--fields=nowhere")
    assert code == 0
    assert (report["labels"]["usable"], report["labels"]["unusable"]) == (0, COUNT)
    assert "--class_names, --label_offset" in mends(report) and "--fields, --slice_by" in mends(report)
    assert report["fields"] == {"nowhere": 0}
    code, report = check("--label_feature=nowhere")
    assert (code, report["labels"]["missing"], mends(report)) == (0, COUNT, [])
    assert report["look"]["accuracy"] is None


def test_names_are_labels_too(check, folder):
    _, report = check("--label_feature=name", class_names=folder / "names.txt")
    assert (report["labels"]["usable"], report["look"]["accuracy"], mends(report)) == (COUNT, 1.0, [])


def test_the_cost_is_that_of_the_last_run_of_the_same_model_and_settings(check, folder, tmp_path):
    given = {"input": folder / "data", "model": folder / "model", "pixels": "byte", **FAST}
    assert run(tmp_path / "nights" / "2026-01-02", limit=8, **given) == 0
    facts = json.loads((tmp_path / "nights" / "2026-01-02" / "manifest.json").read_text())["facts"]
    for found in (["--reference", str(tmp_path / "nights")], ["--output", str(tmp_path / "nights" / "{date}")]):
        _, report = check(*found, limit=10)
        assert report["cost"]["known_from"].endswith("2026-01-02")
        assert report["cost"]["seconds_an_image"] == pytest.approx(facts["worker_seconds"] / 8)
        assert report["cost"]["images"] == 10 and "a sample of 10 images" in report["page"]
    _, report = check("--reference", str(tmp_path / "nights"), steps=5)
    assert report["cost"]["known_from"] == ""


def test_an_interval_has_a_cost_of_all_images_and_of_each_class(check):
    code, report = check("--interval", "0.1")
    whole, classes = report["interval"]
    assert code == 0 and whole["of"] == "all images" and classes["of"].startswith("each of ")
    spread, steps = whole["spread"], report["cost"]["steps_an_image"]
    assert spread == report["cost"]["spread"] and "pictures attributed here" in spread["known_from"]
    assert whole["each"] == classes["each"] == max(2, math.ceil((1.959964 * spread["deviation"] / 0.1) ** 2))
    assert whole["images"] == min(COUNT, whole["each"]) and whole["gradients"] == pytest.approx(steps * whole["images"])
    assert classes["images"] >= whole["images"]
    assert "± 0.1 (95 %) for the mean share of the largest cell, by " in report["page"]
    assert f"of all images: {whole['images']} images, " in report["page"]
    _, wide = check("--interval", "0.9")
    assert wide["interval"][0]["images"] <= whole["images"]
    _, narrow = check("--interval", "0.0001")
    assert not narrow["interval"][0]["enough"] and "more than there are; all 40 take" in narrow["page"]


def test_an_interval_by_the_worst_case_is_that_of_a_share():
    assert (Spread().images_for(0.01), Spread(0.1).images_for(0.01)) == (38_415, 385)
    assert Spread(0.1).half_width(385) <= 0.01 < Spread(0.1).half_width(384)
    cost = Cost(0.5, 10, 1000, steps_an_image=8)
    whole, classes = interval_costs(cost, Spread(0.1), 0.01, 10_000, [4000.0, 770.0])
    assert (whole.images, whole.gradients, whole.enough) == (385, 385 * 8, True)
    assert (classes.images, classes.enough, classes.hours) == (5000, True, 5000 * 0.5 / 3600)
    assert not interval_costs(cost, Spread(0.1), 0.01, 10_000, [384.0])[1].enough
    assert len(interval_costs(cost, Spread(0.1), 0.01, 10_000, [])) == 1


def test_the_sample_of_a_budget_is_described(check):
    _, report = check("--budget=60", rule="midpoint", steps=6)
    assert "budget 60: about 10 of 40 images, 6 gradients each (rule midpoint)" in report["page"]
    assert report["cost"]["images"] == 10 and report["images"] == 40
    code, report = check("--budget=1h")
    assert code == 0 and "budget 1h: about 40 of 40 images" in report["sample"][0]


@pytest.mark.parametrize("value", ["0", "1", "wide", "nan"])
def test_an_interval_that_makes_no_sense_is_refused(folder, value, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--input", str(folder), "--model", "m", "--interval", value])
    assert f"{value!r} is not a number above 0 and below 1" in capsys.readouterr().err


def test_the_wrong_range_of_pixels_is_named(check):
    code, report = check(pixels="unit")
    assert (code, mends(report)) == (0, ["--pixels byte"])
    assert "→ --pixels byte" in report["page"]


def test_what_is_suspicious_about_the_model_alone_is_said_if_pictures_show_nothing(check, tmp_path):
    write_tfrecord(tmp_path / "few.tfrecord", [example(png(np.full((8, 8, 3), 9, np.uint8)))])
    code, report = check(pixels="unit", input=tmp_path / "few.tfrecord")
    assert code == 0 and "try --pixels byte" in mends(report)
    assert mends(check(input=tmp_path / "few.tfrecord")[1]) == []


def test_images_that_cannot_be_used_are_counted_by_reason(check, tmp_path):
    write_tfrecord(tmp_path / "bad.tfrecord", [example(b"no picture", 1), example(None, 1), example(b"nor this", 2)])
    code, report = check(input=tmp_path / "bad.tfrecord")
    assert code == 2 and report["cost"] is None
    assert {(each["stage"], each["images"], each["of"]) for each in report["failures"]} == {
        ("decode", 2, 2),
        ("read", 1, 3),
    }
    assert "--max_pixels, or the files" in mends(report)
    assert "impossible" in report["page"]


def test_files_that_a_folder_passes_over_are_counted(check, folder, tmp_path):
    (tmp_path / "data").mkdir()
    write_tfrecord(tmp_path / "data" / "a.tfrecord", [example(png(np.full((8, 8, 3), 90, np.uint8)), 1)])
    for name in ("one.txt", "two.txt", "three.md"):
        (tmp_path / "data" / name).write_text("note")
    _, report = check(input=tmp_path / "data")
    assert sum(report["passed_over"].values()) == 3 and "passed over: 2 " in report["page"]
    assert check()[1]["passed_over"] == {} and "passed over" not in check()[1]["page"]


@pytest.mark.parametrize("flags", [{"model": "nowhere"}, {"input": "nowhere"}, {"targets": "class:9"}])
def test_what_would_end_a_run_ends_a_check(folder, flags, capsys):
    given = {"input": folder / "data", "model": folder / "model", "pixels": "byte", **FAST, **flags}
    assert main(["check", *(f"--{name}={value}" for name, value in given.items())]) == 2
    (name,) = flags
    assert capsys.readouterr().err.startswith(f"ig-audit: {name}: ")


def test_images_without_a_label_are_suspicious_only_if_one_is_needed():
    labels = LabelCounts(looked_at=5, usable=4, missing=1)
    assert suspicions_of(labels, False, ["tfrecord"]) == []
    (found,) = suspicions_of(labels, True, ["parquet", "tfrecord"])
    assert found.option == "--label_column or --label_feature"
    assert suspicions_of(LabelCounts(5, 5), True, ["files"]) == []
    assert count_labels([], None) == LabelCounts()


def test_a_run_finds_the_same_in_its_own_pictures_once(folder, tmp_path, capsys):
    given = {"input": folder / "data", "model": folder / "model", **FAST}
    assert run(tmp_path / "wrong", pixels="unit", **given) == 0
    assert "suspicious: the model seems to expect another range of pixels: " in capsys.readouterr().err
    look = json.loads((tmp_path / "wrong" / "manifest.json").read_text())["facts"]["look"]
    assert [each["option"] for each in look["suspicions"]] == ["--pixels byte"]
    assert "→ --pixels byte" in (tmp_path / "wrong" / "report.html").read_text()
    assert run(tmp_path / "right", pixels="byte", **given) == 0
    assert "suspicious: " not in capsys.readouterr().err
    look = json.loads((tmp_path / "right" / "manifest.json").read_text())["facts"]["look"]
    assert (look["accuracy"], look["suspicions"], look["pictures"]) == (1.0, [], 32)
    assert "suspicions" not in (tmp_path / "right" / "report.html").read_text()
    assert main(["verify", str(tmp_path / "wrong")]) == 0


def test_layers_are_listed_with_their_shapes(folder, tmp_path, capsys):
    import keras

    layers = [
        keras.layers.Input((SIDE, SIDE, 3)),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(3, name="head"),
    ]
    keras.Sequential(layers).save(tmp_path / "net.keras")
    assert main(["check", "--model", str(tmp_path / "net.keras"), "--layers"]) == 0
    assert capsys.readouterr().out.splitlines() == ["flat  [batch, 192]", "head  [batch, 3]"]
    assert main(["check", "--model", str(folder / "model"), "--layers"]) == 0
    names = [line.partition("  ")[0] for line in capsys.readouterr().out.splitlines()]
    options = [f"--{name}={value}" for name, value in FAST.items()]
    wanted = [
        "--input",
        str(folder / "data"),
        "--model",
        str(folder / "model"),
        "--layer",
        names[-1],
        "--score=logit",
        *options,
    ]
    assert main(["check", "--pixels=byte", *wanted]) == 0
