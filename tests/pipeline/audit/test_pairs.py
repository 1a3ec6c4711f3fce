"""`compare` of runs whose pictures come again: which of model, data and machine changed, and whether it is an alarm."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pipeline.audit.compare import compare
from pipeline.audit.references import find_references
from pipeline.audit.thresholds import load_thresholds
from tests.night_rows import SIDE, draw, make_pool, retrain, speak_up
from tests.stored_nights import write_rows
from transforms.core.drift.contrast import Rows
from transforms.store.run import Run

THRESHOLDS = load_thresholds()
SCHEMA = json.loads(resources.files("pipeline.audit").joinpath("audit.schema.json").read_text())
POOL = make_pool(1600, classes=4)
NIGHT = draw(POOL, 480, seed=1)
CONTENTS = [f"{number:032x}" for number in range(480)]
CLASS = 2


def audit_of(candidate: Run, *references: Run) -> dict[str, Any]:
    audit = compare(candidate, find_references([run.uri for run in references]), THRESHOLDS).to_json()
    jsonschema.validate(json.loads(json.dumps(audit)), SCHEMA)
    return audit


def alarms(audit: dict[str, Any]) -> list[str]:
    return [reason["message"] for reason in audit["verdict"]["reasons"] if reason["alarm"]]


def messages(audit: dict[str, Any], topic: str) -> list[str]:
    return [reason["message"] for reason in audit["verdict"]["reasons"] if reason["topic"] == topic]


def shortcut(rows: Rows, share: float) -> Rows:
    mine = np.flatnonzero(rows.classes == CLASS)
    return speak_up(rows, mine[: round(share * len(mine))], 0.01)


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Five trainings of the same pictures; the model stands at another path each time."""
    folder = tmp_path_factory.mktemp("approved")
    return [
        write_rows(
            folder / str(day),
            retrain(NIGHT, day),
            day,
            contents=CONTENTS,
            model=f"models/{day}",
            model_digest=f"digest {day}",
        )
        for day in range(1, 6)
    ]


def retrained(folder: Path, rows: Rows, path: str = "models/new") -> Run:
    return write_rows(folder / "candidate", rows, 9, contents=CONTENTS, model=path, model_digest="new")


def test_the_same_model_on_the_same_pictures_repeats_its_maps(approved, tmp_path):
    same = write_rows(tmp_path / "c", retrain(NIGHT, 2), 9, contents=CONTENTS, model_digest="digest 2")
    audit = audit_of(same, *approved)
    assert audit["pairs"]["case"] == "neither"
    assert messages(audit, "pictures") == ["the same model gives the same maps of the 480 pictures compared"]
    assert messages(audit, "model") == []
    assert audit["verdict"]["exit_code"] == 0


def test_the_same_model_with_other_maps_names_the_library_or_the_options(approved, tmp_path):
    for config, cause in (({}, "the library or the machine changed"), ({"steps": 9}, "the options changed")):
        run = write_rows(tmp_path / "c", retrain(NIGHT, 7), 9, contents=CONTENTS, model_digest="digest 1", **config)
        audit = audit_of(run, approved[0])
        (message,) = messages(audit, "pictures")
        assert message.endswith(cause)
        assert "of 480 compared, 480 differ by more than rounding" in message


def test_the_same_model_on_other_pictures_is_a_night_like_any_other(approved, tmp_path):
    night = write_rows(tmp_path / "c", draw(POOL, 480, seed=2), 9, contents=None, model_digest="digest 1")
    audit = audit_of(night, approved[0])
    assert (audit["pairs"]["case"], audit["pairs"]["share"], audit["pairs"]["slices"]) == ("data", 0, [])
    assert messages(audit, "pictures") == messages(audit, "model") == []


def test_another_training_against_one_says_that_it_cannot_tell_whatever_moved(approved, tmp_path):
    audit = audit_of(retrained(tmp_path, shortcut(retrain(NIGHT, 9), 0.5)), approved[0])
    assert audit["verdict"]["exit_code"] == 0
    assert any(one["state"] == "drift" for one in audit["slices"])  # which is told, and is no alarm
    (another, cannot, little) = messages(audit, "model")
    assert another.startswith("another model: models/new, in the reference models/1; digest new")
    assert "one training among the references" in cannot
    assert cannot.endswith("approve three")
    assert little.startswith("another training of the model: the maps of the same 480 pictures differ by ")


def test_another_model_behind_the_same_path_is_said_once_and_its_maps_are_information(approved, tmp_path):
    audit = audit_of(retrained(tmp_path, retrain(NIGHT, 9), "models/1"), approved[0], approved[1])
    (alarm,) = alarms(audit)
    assert alarm == "ANOTHER MODEL behind the same path models/1: digest new, in the reference digest 1 and 1 other"


@pytest.mark.parametrize("seed", [9, 10, 11])
def test_against_five_trainings_a_sixth_harmless_one_raises_no_alarm(approved, tmp_path, seed):
    audit = audit_of(retrained(tmp_path, retrain(NIGHT, seed)), *approved)
    assert audit["verdict"]["exit_code"] == 0
    assert len(messages(audit, "model")) == 2
    assert "(trainings among the references: " in messages(audit, "model")[1]


def test_against_five_trainings_one_with_a_shortcut_names_class_and_place(approved, tmp_path):
    audit = audit_of(retrained(tmp_path, shortcut(retrain(NIGHT, 9), 0.05)), *approved)
    assert audit["verdict"]["exit_code"] == 3
    (message,) = (one for one in alarms(audit) if f"Labeled class {CLASS}" in one)
    assert f"in 6 of them row 1 column {SIDE} speaks for the class" in message


def test_another_model_on_other_pictures_may_be_either(approved, tmp_path):
    run = write_rows(tmp_path / "c", draw(POOL, 480, seed=2), 9, contents=None, model="new", model_digest="new")
    audit = audit_of(run, approved[0])
    assert audit["pairs"]["case"] == "both"
    assert any("other pictures (none comes again)" in message for message in messages(audit, "model"))
