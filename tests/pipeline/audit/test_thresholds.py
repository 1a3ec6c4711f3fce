"""Thresholds: the packaged ones are sound, a file changes what it names, and mistakes are told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.audit.thresholds import load_thresholds, to_json
from pipeline.config import ConfigError
from transforms.core.drift.contrast import TOPICS


def test_the_defaults_are_sound_and_name_every_metric():
    thresholds = load_thresholds()
    assert thresholds.problems() == []
    assert set(thresholds.effects) == set(TOPICS)
    assert to_json(thresholds)["alarms"] == ["model", "attention", "score", "convergence"]


def test_a_file_changes_what_it_names(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("min_rows: 50\neffects: {grid: 0.2, steps: null}\nalarms: [attention, mix]\n")
    thresholds = load_thresholds(str(path))
    assert (thresholds.min_rows, thresholds.effects["grid"], thresholds.alarms) == (50, 0.2, ("attention", "mix"))
    assert "steps" not in thresholds.metrics
    assert thresholds.effects["cells"] == load_thresholds().effects["cells"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("min_row: 9", r"min_row: is not a threshold; did you mean min_rows\?"),
        ("effects: {gird: 1}", r"effects: gird: is not a threshold; did you mean grid\?"),
        ("effects: 3", "effects: 3 is not a mapping"),
        ("effects: {grid: -1}", "effects: grid: -1 is not a number of at least 0, nor null"),
        ("effects: {grid: .nan}", "effects: grid: nan is not a number"),
        ("min_rows: 2.5", "min_rows: 2.5 is not a whole number of at least 4"),
        ("min_rows: true", "min_rows: True is not a whole number"),
        ("false_discovery_rate: 2", "false_discovery_rate: 2 is not a number from 0 to 1"),
        ("splits: 200", "splits: 200 are too few for a false_discovery_rate of 0.01 over 17 metrics; it takes 1700"),
        ("alarms: [weather]", "alarms: 'weather' is not one of model, attention"),
        ("alarms: 3", "alarms: 3 is not a list"),
        ("- a list", "is not a mapping"),
        ("{", "mine.yaml: "),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, text: str, why: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_thresholds(str(path))


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_thresholds(str(tmp_path / "nowhere.yaml"))
