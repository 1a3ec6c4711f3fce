"""The command `compare`: a verdict, its reasons, audit.json and an exit code, from stored runs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pipeline.cli import main
from tests import stored_run
from tests.night_rows import SIDE, draw, make_pool, speak_up, stamp
from tests.stored_nights import write_rows

ROOT = Path(__file__).parents[3]
POOL = make_pool(1200, classes=4)
CLASS = 2


def stamped(seed: int) -> Any:
    night = draw(POOL, 400, seed=seed)
    mine = np.flatnonzero(night.classes == CLASS)
    return stamp(night, np.isin(np.arange(400), mine[: round(0.1 * len(mine))]), seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    nights = folder / "nights"
    for day in range(1, 5):
        write_rows(nights / f"2026-11-{day:02d}", draw(POOL, 400, seed=day), day)
    (nights / "unfinished" / "attributions").mkdir(parents=True)
    write_rows(folder / "quiet", draw(POOL, 400, seed=9), 9)
    write_rows(folder / "stamped", stamped(9), 9)
    night = draw(POOL, 400, seed=9)
    write_rows(folder / "shortcut", speak_up(night, night.classes == CLASS, 0.002), 9)
    write_rows(folder / "replaced", draw(POOL, 400, seed=9), 9, model_digest="beef")
    write_rows(folder / "rival", draw(POOL, 400, seed=9), 9, model="models/rival", model_digest="beef")
    mixed = POOL.take(np.flatnonzero((POOL.classes != CLASS) | (np.arange(len(POOL)) % 3 == 0)))
    write_rows(folder / "mixed", draw(mixed, 400, seed=9), 9)
    return folder


def compare(runs: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Returns the exit code and audit.json of a comparison, which is checked against its schema."""
    code = main(["compare", *arguments, "--json", str(runs / "audit.json")])
    audit = json.loads((runs / "audit.json").read_text())
    schema = json.loads(resources.files("pipeline.audit").joinpath("audit.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(audit, schema)
    return code, audit


def alarms(audit: dict[str, Any]) -> set[str]:
    return {reason["topic"] for reason in audit["verdict"]["reasons"] if reason["alarm"]}


def test_a_quiet_night_is_fine(runs, capsys):
    code, audit = compare(runs, f"{runs}/quiet", f"{runs}/nights/2026-11-01")
    assert code == audit["verdict"]["exit_code"] == 0
    assert audit["verdict"]["outcome"] == "fine"
    assert capsys.readouterr().out.startswith("No change beyond what the reference shows by itself\n")
    states = {(one["kind"], one["value"]): one["state"] for one in audit["slices"]}
    assert (
        states["all", ""] == states["label", "0"] == states["predicted", "3"] == states["shard", "pool-*.tar"] == "fine"
    )
    assert audit["slices"][0]["reference_rows"] == audit["slices"][0]["candidate_rows"] == 400
    assert [one["rows"] for one in audit["history"]["slices"] if one["kind"] == "all"] == [[400, 400]]


def test_a_stamp_is_an_alarm_that_names_the_class_and_the_corner(runs, capsys):
    code, audit = compare(runs, f"{runs}/stamped", f"{runs}/nights/2026-11-01")
    assert code == 3
    assert alarms(audit) == {"attention"}
    assert (
        f"of class {CLASS}: 4% of the attention is now in the top right corner (before: 0%)" in capsys.readouterr().out
    )
    first = audit["slices"][0]
    assert (first["state"], first["value"]) == ("drift", str(CLASS))
    assert [(cell["row"], cell["col"]) for cell in first["grid"]["changed"]] == [(0, SIDE - 1)]


def test_what_speaks_for_a_class_is_an_alarm_with_its_grids(runs, capsys):
    code, audit = compare(runs, f"{runs}/shortcut", f"{runs}/nights/2026-11-01")
    assert code == 3
    assert f"Pictures of class {CLASS}: the top right corner speaks more for the class" in capsys.readouterr().out
    grid = audit["slices"][0]["grid"]
    (cell,) = grid["changed"]
    assert (cell["row"], cell["col"], cell["signed"]) == (0, SIDE - 1, True)
    assert grid["signed"]["candidate"][SIDE - 1] == cell["candidate"] > cell["reference"]
    assert all(one["grid"]["signed"] is None for one in audit["slices"] if one["grid"] and not one["grid"]["changed"])


def test_a_folder_of_nights_is_one_reference_and_a_trend(runs):
    code, audit = compare(runs, f"{runs}/stamped", f"{runs}/nights")
    assert code == 3
    assert [night["uri"][-2:] for night in audit["history"]["nights"]] == ["01", "02", "03", "04", "ed"]
    (everything,) = (one for one in audit["slices"] if one["kind"] == "all")
    assert everything["reference_rows"] == 1600
    (trend,) = (one for one in audit["history"]["slices"] if one["kind"] == "all")
    assert len(trend["rows"]) == len(trend["means"]["border_share"]) == 5


def test_the_latest_nights_and_never_the_candidate_itself(runs):
    _, audit = compare(runs, f"{runs}/nights/2026-11-03", f"{runs}/nights", "--nights", "2")
    assert [one["uri"][-2:] for one in audit["references"]] == ["02", "04"]


def test_another_model_behind_the_same_path_is_said_loudly(runs, capsys):
    code, audit = compare(runs, f"{runs}/replaced", f"{runs}/nights/2026-11-01")
    assert code == 3
    assert alarms(audit) == {"model"}
    out = capsys.readouterr().out
    assert out.startswith("Another model stands behind the same path")
    assert "ANOTHER MODEL behind the same path models/tiny: digest beef, in the reference deca" in out


def test_a_model_of_another_path_is_told_and_no_alarm(runs, capsys):
    code, audit = compare(runs, f"{runs}/rival", f"{runs}/nights/2026-11-01")
    assert code == 0
    assert alarms(audit) == set()
    assert "another model: models/rival, in the reference models/tiny" in capsys.readouterr().out


def test_a_change_of_mix_is_told_apart(runs, tmp_path, capsys):
    code, audit = compare(runs, f"{runs}/mixed", f"{runs}/nights/2026-11-01")
    assert code == 0
    assert audit["mix"]["drift"]
    assert audit["mix"]["classes"][0]["value"] == str(CLASS)
    assert {one["state"] for one in audit["slices"]} == {"fine"}
    assert "Classes come in other shares, but what the model looks at has not changed" in capsys.readouterr().out
    (tmp_path / "strict.yaml").write_text("alarms: [mix]")
    thresholds = str(tmp_path / "strict.yaml")
    assert compare(runs, f"{runs}/mixed", f"{runs}/nights/2026-11-01", "--thresholds", thresholds)[0] == 3


@pytest.mark.parametrize(
    ("option", "value"),
    [("grid", 16), ("targets", "top2"), ("score", "logit"), ("baseline", "white"), ("resize", "crop")],
)
def test_runs_whose_numbers_mean_something_else_are_refused(runs, tmp_path, capsys, option, value):
    write_rows(tmp_path / "other", draw(POOL, 400, seed=1), 1, **{option: value})
    assert main(["compare", f"{runs}/quiet", f"{tmp_path}/other"]) == 2
    assert f"{option}: {value!r} in {tmp_path}/other" in capsys.readouterr().err


def test_options_that_change_no_meaning_are_told(runs, tmp_path):
    write_rows(tmp_path / "other", draw(POOL, 400, seed=1), 1, dtype="int8")
    code, audit = compare(runs, f"{runs}/quiet", f"{tmp_path}/other")
    assert code == 0
    messages = [reason["message"] for reason in audit["verdict"]["reasons"]]
    assert "OTHER OPTIONS: dtype 'int8' → 'float16'" in messages


def test_what_cannot_be_compared_at_all_is_said(runs, tmp_path, capsys):
    stored_run.write_run(str(tmp_path / "few"))
    stored_run.write_run(str(tmp_path / "again"))
    assert main(["compare", f"{tmp_path}/few", f"{tmp_path}/again"]) == 2
    needs = "too few rows to compare: a slice needs 30 (min_rows) in the run and in the reference; the run has "
    assert needs + "10 rows, the reference 10" in capsys.readouterr().err
    (tmp_path / "unknown.csv").write_text("id,label\na.tfrecord#1,unicorn\na.tfrecord#2,unicorn\n")
    labels = ["--labels", f"{tmp_path}/unknown.csv"]
    assert main(["compare", f"{tmp_path}/few", f"{tmp_path}/again", *labels]) == 2
    assert "; 2 labels name no class, such as 'unicorn'" in capsys.readouterr().err
    assert main(["compare", f"{runs}/quiet", f"{tmp_path}/nothing"]) == 2
    assert f"{tmp_path}/nothing: does not exist" in capsys.readouterr().err
    assert main(["compare", f"{runs}/quiet", f"{runs}/nights/unfinished"]) == 2
    assert "unfinished: the folder holds no run" in capsys.readouterr().err


def test_rows_without_labels_are_compared_by_prediction(tmp_path):
    for day in (1, 2):
        write_rows(tmp_path / f"{day}", draw(POOL, 400, seed=day), day, labelled=False)
    code, audit = compare(tmp_path, f"{tmp_path}/2", f"{tmp_path}/1")
    assert code == 0
    assert {one["kind"] for one in audit["slices"]} == {"all", "predicted", "shard"}
    assert {one["value"] for one in audit["mix"]["classes"]} == {"0", "1", "2", "3"}


def test_fields_that_a_run_slices_by_are_compared(tmp_path):
    for day in (1, 2):
        write_rows(tmp_path / f"{day}", draw(POOL, 400, seed=day), day, slice_by=["camera"])
    _, audit = compare(tmp_path, f"{tmp_path}/2", f"{tmp_path}/1")
    assert {one["value"] for one in audit["slices"] if one["kind"] == "field:camera"} == {"a", "b"}


def test_a_higher_share_of_errors_is_told(runs, tmp_path):
    rows = draw(POOL, 400, seed=3)
    write_rows(tmp_path / "broken", rows, 3)
    manifest = json.loads((tmp_path / "broken" / "manifest.json").read_text())
    manifest["parts"][0] |= {"failures": 40, "images": 440}
    (tmp_path / "broken" / "manifest.json").write_text(json.dumps(manifest))
    _, audit = compare(runs, f"{tmp_path}/broken", f"{runs}/nights/2026-11-01")
    (reason,) = (one for one in audit["verdict"]["reasons"] if one["topic"] == "errors")
    assert reason["message"] == "9.1% of the images could not be attributed, 0.0% in the reference"
    assert not reason["alarm"]


def test_names_are_printed_harmlessly(tmp_path, capsys):
    for day, rows in ((1, draw(POOL, 400, seed=1)), (9, stamped(9))):
        write_rows(tmp_path / f"{day}", rows, day, named="\x1b[31m<b>\u202e{}\n")
    assert main(["compare", f"{tmp_path}/9", f"{tmp_path}/1"]) == 3
    out = capsys.readouterr().out
    assert "⟨1B⟩[31m<b>⟨202E⟩" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_comparing_imports_neither_beam_nor_tensorflow(runs):
    program = (
        "import sys; from pipeline.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'apache_beam', 'tensorflow', 'keras'} & set(sys.modules); sys.exit(f'{code} {heavy}')"
    )
    arguments = ["compare", f"{runs}/quiet", f"{runs}/nights/2026-11-01"]
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr.strip() == "0 set()"


def test_a_sample_and_an_option_at_the_default_that_an_earlier_version_did_not_know_are_no_alarm(runs, tmp_path):
    write_rows(tmp_path / "sample", draw(POOL, 400, seed=9), 9, limit=400, fields=[], outputs="softmax", other=1)
    code, audit = compare(runs, str(tmp_path / "sample"), str(runs / "nights"), "--thresholds", _only_config(tmp_path))
    told = {reason["message"]: reason["alarm"] for reason in audit["verdict"]["reasons"] if reason["topic"] == "config"}
    assert told == {"OTHER OPTIONS: limit 0 → 400": False, "OTHER OPTIONS: other None → 1": True}
    assert code == 3


def _only_config(folder: Path) -> str:
    (folder / "thresholds.yaml").write_text("alarms: [config]\n")
    return str(folder / "thresholds.yaml")
