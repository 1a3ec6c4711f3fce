"""Runs within a budget: the sample, what is said of it, and that nothing is dropped silently."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.sampling import gradients_by_rule, reference_shares
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_shard
from transforms.core.explain.content import SAMPLE, is_chosen
from transforms.core.explain.settings import Settings

COUNT, STEPS = 60, 4
OPTIONS = {"rule": "midpoint", "steps": STEPS, "chunk_images": 25, "faithfulness": 0, "batch_size": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return smooth(tmp_path_factory.mktemp("model") / "smooth")


@pytest.fixture(scope="module")
def encoded() -> list[bytes]:
    """Pictures, of which each eighth cannot be decoded."""
    return [
        b"no picture %d" % number if number % 8 == 3 else png(image) for number, image in enumerate(pictures(COUNT))
    ]


@pytest.fixture
def shard(tmp_path, encoded) -> str:
    return str(write_shard(tmp_path, "parquet", encoded, [number % 3 for number in range(COUNT)]))


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def plan_of(folder: Path) -> dict:
    return json.loads((folder / "sampling.json").read_text())


def test_a_budget_of_gradients_buys_a_sample_by_content(tmp_path, model, shard, encoded, capsys):
    folder = tmp_path / "run"
    assert run(folder, input=shard, model=model, budget=20 * STEPS, **OPTIONS) == 4
    told = capsys.readouterr()
    assert f"budget {20 * STEPS}: about 20 of 60 images, 4 gradients each (rule midpoint)" in told.err
    assert "of a class of 1,000 images will be known to ± 0.11 (95 %, in the worst case)" in told.err
    plan, manifest = plan_of(folder), manifest_of(folder)
    assert (plan["share"], plan["expected"], plan["exact"]) == (pytest.approx(1 / 3), 20, True)
    contents = [hashlib.sha256(data).hexdigest()[:32] for data in encoded]
    wanted = [number for number, content in enumerate(contents) if is_chosen(content, SAMPLE, plan["share"])]
    rows, errors = rows_of(folder), rows_of(folder, "errors")
    assert sorted(row["index"] for row in [*rows, *errors]) == wanted
    assert 8 < len(wanted) < 35 and errors
    assert manifest["images"] == len(wanted) and manifest["unsampled"] == COUNT - len(wanted)
    assert len(rows) + len(errors) + manifest["unsampled"] == COUNT
    assert f"not sampled   {COUNT - len(wanted)} of {COUNT} images" in told.out
    assert f"60 of 60 images ({COUNT - len(wanted)} not sampled)" in told.err
    assert manifest["sampling"]["name"] == "sampling.json"
    assert main(["verify", str(folder)]) == 0


def test_a_larger_budget_takes_the_sample_of_a_smaller_one_too(tmp_path, model, shard):
    ids = []
    for name, images in (("small", 10), ("large", 30), ("all", 1000)):
        run(tmp_path / name, input=shard, model=model, budget=images * STEPS, **OPTIONS)
        ids.append({row["image_id"] for row in [*rows_of(tmp_path / name), *rows_of(tmp_path / name, "errors")]})
    assert ids[0] < ids[1] < ids[2] and len(ids[2]) == COUNT
    assert plan_of(tmp_path / "all")["share"] == 1


def test_a_resumed_run_keeps_its_sample_though_the_input_has_grown(tmp_path, model, shard, encoded, capsys):
    folder, options = tmp_path / "run", {"input": shard, "model": model, **OPTIONS}
    run(folder, budget=20 * STEPS, **options)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".parquet", ".json")}
    for name in ("manifest.json", "audit.json"):
        (folder / name).unlink()
    min((folder / "attributions").iterdir()).unlink()
    (tmp_path / "more").mkdir()
    more = write_shard(tmp_path / "more", "parquet", encoded[:30]).rename(tmp_path / "b.parquet")
    capsys.readouterr()
    assert run(folder, "--resume", budget=20 * STEPS, **options) == 4
    assert "about 20 of 60 images" in capsys.readouterr().err
    again = {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".parquet", ".json")}
    for name in [*(name for name in before if name.endswith(".parquet")), "sampling.json"]:
        assert again[name] == before[name]
    assert run(folder, "--resume", budget=20 * STEPS, **{**options, "input": [shard, more]}) == 4
    assert plan_of(folder)["share"] == pytest.approx(1 / 3)
    assert run(folder, "--resume", budget=30 * STEPS, **options) == 2
    assert f"budget: {folder} was begun with 80, and cannot be resumed with 120" in capsys.readouterr().err
    assert run(folder, "--resume", **options) == 2
    assert "other options (sampling)" in capsys.readouterr().err


def test_a_plan_that_is_damaged_is_not_resumed_and_verify_finds_one_that_was_changed(tmp_path, model, shard, capsys):
    folder, options = tmp_path / "run", {"input": shard, "model": model, **OPTIONS}
    run(folder, budget=20 * STEPS, **options)
    path = folder / "sampling.json"
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, "share": 0.01}))
    capsys.readouterr()
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "sampling.json: was changed" in out and "sampling.json: is not the plan by which the run was made" in out
    assert run(folder, "--resume", budget=20 * STEPS, **options) == 2
    for content in ("[]", "{", json.dumps({**plan, "share": 0}), json.dumps({**plan, "share": "many"}), "{}"):
        path.write_text(content)
        assert run(folder, "--resume", budget=20 * STEPS, **options) == 2
        assert f"resume: {path}: " in capsys.readouterr().err
    path.unlink()
    assert main(["verify", str(folder)]) == 1
    assert "sampling.json: is missing" in capsys.readouterr().out


def test_verify_finds_rows_that_are_not_in_the_sample(tmp_path, model, shard, capsys):
    folder = tmp_path / "run"
    run(folder, input=shard, model=model, budget=20 * STEPS, **OPTIONS)
    config, plan = manifest_of(folder), plan_of(folder)
    less = {**plan, "share": plan["share"] / 2}
    (folder / "sampling.json").write_text(json.dumps(less))
    config["config"]["sampling"]["share"] = less["share"]
    (folder / "manifest.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert main(["verify", str(folder)]) == 1
    assert "rows of pictures that are not in the sample" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"budget": "2 hours"}, "budget: '2 hours' is not a number of gradient evaluations"),
        ({"budget": "0"}, "budget: '0' is not"),
        ({"budget": "-5"}, "budget: '-5' is not"),
        ({"budget": "1.5"}, "budget: '1.5' is not"),
        ({"budget": "nan"}, "budget: 'nan' is not"),
        ({"budget": "100", "limit": 5}, "budget: chooses a sample itself; give either --budget or --limit"),
        ({"budget": "3"}, "budget: 3 pays for no image: an image takes 4 gradients (rule midpoint)"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_before_any_work(tmp_path, model, shard, capsys, flags, message):
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    assert run(tmp_path / "run", *arguments, input=shard, model=model, **OPTIONS) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_budget_of_time_and_the_adaptive_rule_are_measured_or_known_from_a_run_alike(tmp_path, model, shard, capsys):
    options = {"input": shard, "model": model, "chunk_images": 25, "faithfulness": 0, "tolerance": 0.2}
    assert run(tmp_path / "nights" / "1", budget="1h", **options) == 4
    err = capsys.readouterr().err
    assert "budget 1h: about 60 of 60 images" in err and "(measured with 1" in err
    assert run(tmp_path / "nights" / "2", reference=tmp_path / "nights" / "1", budget=300, **options) in (3, 4)
    err = capsys.readouterr().err
    first = str(tmp_path / "nights" / "1")
    assert f"gradients each (by {first})" in err and f"(95 %, by the spread in {first})" in err
    rows = rows_of(tmp_path / "nights" / "1")
    plan = plan_of(tmp_path / "nights" / "2")
    assert plan["cost"] == pytest.approx(sum(row["steps"] for row in rows) / COUNT)
    assert plan["share"] == pytest.approx(300 / plan["cost"] / COUNT)
    shares = np.array([row["signed_grid"] for row in rows])
    assert 0 < plan["spread"] < 1 and plan["spread"] <= shares.std(axis=0).max() * 2


@pytest.mark.parametrize(
    ("settings", "gradients"),
    [
        ({"rule": "midpoint", "steps": 8}, 8),
        ({"rule": "shifted", "steps": 2, "second_share": 0}, 2),
        ({"rule": "shifted", "steps": 8, "second_share": 0.05, "reference_share": 0.02}, 8.4),
        ({"rule": "simpson", "steps": 5}, 5),
        ({"rule": "left", "steps": 8, "targets": "top3", "baseline": "black uniform:4"}, 8 * 3 * 5),
        ({"rule": "midpoint", "steps": 8, "gradient": True, "targets": "label", "baseline": "black white"}, 17),
        ({"rule": "midpoint", "steps": 8, "targets": "labels"}, None),
        ({}, None),
    ],
)
def test_the_gradients_of_an_image_follow_from_a_fixed_rule(settings, gradients):
    assert gradients_by_rule(Settings(**settings)) == (gradients and pytest.approx(gradients))


def test_the_share_of_reference_maps_is_raised_in_small_classes_only():
    assert reference_shares([(0, 100_000), (1, 3_000), (2, 600), (3, 599), (7, 20)], 0.02) == ((2, 0.1),)
    assert reference_shares([(7, 100)], 0.5) == ((7, 0.6),)
    assert reference_shares([], 0.02) == ()


AUDIT = {"rule": "shifted", "steps": 2, "reference_share": 0.1, "tolerance": 0.3, "channels": "none"}
AUDIT |= {"chunk_images": 25, "faithfulness": 0, "batch_size": 4}


@pytest.fixture
def few_wanted(monkeypatch):
    """As if 8 reference maps were enough for a class: those of the shard have 20 pictures."""
    monkeypatch.setattr("pipeline.sampling._REFERENCE_ROWS", 8)


@pytest.mark.usefixtures("few_wanted")
def test_small_classes_get_more_reference_maps_as_resolved_once(tmp_path, model, shard, capsys):
    folder, options = tmp_path / "run", {"input": shard, "model": model, **AUDIT}
    assert run(folder, **options) == 4
    assert "reference maps: of more pictures in 3 small classes, up to 4" in capsys.readouterr().err
    shares = dict(plan_of(folder)["reference_shares"])
    assert shares.keys() == {0, 1, 2} and all(0.35 < share < 0.45 for share in shares.values())
    assert 0 < sum(row["reference_steps"] is not None for row in rows_of(folder)) < COUNT
    assert any(row["reference_extra"] for row in rows_of(folder))
    assert main(["verify", str(folder)]) == 0
    (folder / "manifest.json").unlink()
    capsys.readouterr()
    assert run(folder, "--resume", **options) == 4
    assert "up to 4" in capsys.readouterr().err
    assert main(["verify", str(folder)]) == 0


def test_a_budget_pays_for_reference_maps_too(tmp_path, model, shard, capsys):
    folder, options = tmp_path / "run", {"input": shard, "model": model, "label_column": "", "second_share": 0, **AUDIT}
    assert run(folder, **options) == 4
    wholes = rows_of(folder)
    spent = sum(row["steps"] + (row["reference_steps"] or 0) for row in wholes)
    assert not (folder / "sampling.json").exists() and spent > 2 * len(wholes)
    assert run(tmp_path / "half", budget=60, **options) == 4
    plan = plan_of(tmp_path / "half")
    each = (plan["cost"] - 2) / 0.1  # of reference maps, by those of the pictures that were tried
    assert 6 < each < 40 and "measured with" in plan["cost_from"]
    assert plan["share"] == pytest.approx(60 / plan["cost"] / COUNT)
    assert run(tmp_path / "again", budget=60, reuse=folder, **options) == 4
    assert plan_of(tmp_path / "again")["cost"] == pytest.approx(spent / COUNT)


def test_a_window_of_a_sample_is_reused_too(tmp_path, model, encoded):
    shards = []
    for name, part in (("a", encoded[:25]), ("b", encoded[25:50]), ("c", encoded[35:])):
        (tmp_path / name).mkdir()
        path = write_shard(tmp_path / name, "parquet", part, [number % 2 for number in range(25)])
        shards.append(str(path.rename(tmp_path / f"{name}.parquet")))
    options = {"model": model, "budget": 25 * STEPS, **OPTIONS}
    run(tmp_path / "first", input=shards[:2], **options)
    run(tmp_path / "second", input=shards[1:], reuse=tmp_path / "first", **options)
    run(tmp_path / "scratch", input=shards[1:], **options)
    assert manifest_of(tmp_path / "second")["facts"]["reuse"]["chunks"] == 1
    for name in ("parts", "statistics", "images", "unsampled", "sampling"):
        assert manifest_of(tmp_path / "second")[name] == manifest_of(tmp_path / "scratch")[name]
    assert main(["verify", str(tmp_path / "second")]) == 0


@pytest.mark.usefixtures("few_wanted")
def test_audits_keep_the_shares_of_reference_maps_of_the_run_they_reuse(tmp_path, model, shard, encoded):
    options = {"model": model, **AUDIT}
    assert run(tmp_path / "first", input=shard, **options) == 4
    (tmp_path / "more").mkdir()
    images = [data for data in encoded if not data.startswith(b"no")]
    more = write_shard(tmp_path / "more", "parquet", images * 2, [0] * 2 * len(images)).rename(tmp_path / "b.parquet")
    run(tmp_path / "second", input=[shard, more], reuse=tmp_path / "first", **options)
    assert plan_of(tmp_path / "second")["reference_shares"] == plan_of(tmp_path / "first")["reference_shares"]
    assert manifest_of(tmp_path / "second")["facts"]["reuse"]["chunks"] == 3
