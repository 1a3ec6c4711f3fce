"""What stands out in a run without a reference: class, place, counts over all rows, pictures, and the words for it."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

import jsonschema
import numpy as np
import pytest

from pipeline.audit import findings, placed
from pipeline.audit.compare import compare, look
from pipeline.audit.findings import search, tell
from pipeline.audit.placed import Rows
from pipeline.audit.record import write_audit
from pipeline.audit.thresholds import load_thresholds
from pipeline.cli import main
from tests.night_rows import CORNER, draw, make_pool, speak_up
from tests.stored_nights import write_rows
from transforms.core.findings.groups import Group
from transforms.core.statistics.slices import Slice
from transforms.store.run import Run

POOL = make_pool(1600, classes=4)
SCHEMA = json.loads(resources.files("pipeline.audit").joinpath("audit.schema.json").read_text())
COUNT = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the upper right corner of some pictures of class 2 says much for it, and a quiet one."""
    folder = tmp_path_factory.mktemp("runs")
    rows = draw(POOL, 800, seed=1)
    marked = np.flatnonzero(rows.classes == 2)[:COUNT]
    write_rows(folder / "marked", speak_up(rows, np.isin(np.arange(800), marked), by=0.02))
    write_rows(folder / "quiet", rows)
    write_rows(folder / "unlabeled", speak_up(rows, np.isin(np.arange(800), marked), by=0.02), labelled=False)
    return folder


def test_a_group_is_found_and_described(runs):
    rows = draw(POOL, 800, seed=1)
    mine = np.flatnonzero(rows.classes == 2)
    (one,), searched = search(Run.open(str(runs / "marked")))
    assert (one.kind, one.value, one.name) == ("label", "2", "class 2")
    assert (one.cells, one.side, one.place, one.sign) == ([(0, CORNER)], 8, "top right corner", 1)
    assert (one.count, one.rows) == (COUNT, len(mine))
    assert one.usual < 1
    assert {example.row for example in one.examples} <= set(mine[:COUNT].tolist())
    assert [example.image_id for example in one.examples] == [f"pool#{example.row}" for example in one.examples]
    assert [example.z for example in one.examples] == sorted((example.z for example in one.examples), reverse=True)
    assert (one.accuracy_inside, one.accuracy_outside) == (1, 1)
    assert one.score_inside == pytest.approx(rows.scalars["score"][mine[:COUNT]].mean(), abs=1e-6)  # float32
    assert one.score_outside == pytest.approx(rows.scalars["score"][mine[COUNT:]].mean(), abs=1e-6)
    assert (searched.classes, searched.rows, searched.small_classes) == (4, 800, 0)


def test_counts_are_over_all_rows_though_only_some_are_held(runs, monkeypatch):
    run = Run.open(str(runs / "marked"))
    (whole,), _ = search(run)
    monkeypatch.setattr(findings, "read_classes", lambda run: placed.read_classes(run, most=150))
    monkeypatch.setattr(placed, "_LEAST_ROWS", 50)
    (one,), searched = search(run)
    assert (one.count, one.rows, searched.rows) == (COUNT, whole.rows, 800)
    assert {example.row for example in one.examples} <= set(
        np.flatnonzero(draw(POOL, 800, seed=1).classes == 2).tolist()
    )
    assert one.score_inside == pytest.approx(whole.score_inside)
    assert one.score_outside == pytest.approx(whole.score_outside)


def test_without_labels_the_class_is_what_is_predicted(runs):
    (one,), _ = search(Run.open(str(runs / "unlabeled")))
    assert (one.kind, one.value) == ("predicted", "2")
    assert one.accuracy_inside is one.accuracy_outside is None
    assert one.message.startswith(f"{COUNT} of ") and "predicted as class 2 rest on the top right corner" in one.message


def test_a_quiet_run_has_no_finding_and_says_what_it_could_not_see(runs):
    found, searched = search(Run.open(str(runs / "quiet")))
    assert found == []
    assert tell(found, searched) == ["no findings without a reference"]
    few = dataclasses.replace(searched, small_classes=2)
    assert tell(found, few) == ["no findings without a reference; 2 classes have fewer than 30 pictures"]
    assert "no class has the 30 pictures" in tell(found, dataclasses.replace(searched, classes=0))[0]


def test_a_terminal_gets_a_line_for_each_of_the_first(runs):
    (one,), searched = search(Run.open(str(runs / "marked")))
    lines = tell([one] * 7, searched)
    assert lines[0] == "7 findings without a reference:"
    assert lines[1].startswith(f"  * {COUNT} of ") and "(none would be usual); 100% of them are predicted" in lines[1]
    assert len(lines) == 7 and lines[-1].endswith("and 2 more, in audit.json and in the report")


def test_the_audit_of_a_run_without_a_reference_fits_the_schema(runs, tmp_path):
    audit = look(Run.open(str(runs / "marked")))
    write_audit(audit, str(tmp_path / "audit.json"))
    stored = json.loads((tmp_path / "audit.json").read_text())
    jsonschema.validate(stored, SCHEMA)
    assert stored["verdict"] is stored["mix"] is None
    assert len(stored["findings"]) == 1


def test_a_comparison_has_findings_too(runs, capsys):
    audit = compare(Run.open(str(runs / "marked")), [Run.open(str(runs / "quiet"))], load_thresholds(""))
    jsonschema.validate(json.loads(json.dumps(audit.to_json())), SCHEMA)
    assert [one.value for one in audit.findings] == ["2"]
    main(["compare", str(runs / "marked"), str(runs / "quiet")])
    assert "1 finding without a reference:" in capsys.readouterr().out


def test_an_old_run_is_searched():
    found, searched = search(Run.open("tests/runs/0.1.0"))
    assert found == []
    assert (searched.classes, searched.rows, searched.small_classes) == (0, 6, 3)


def test_a_cluster_is_put_into_words():
    one = Rows(Slice("label", "3", "cat"), 500, cast(Any, None))
    edge = Group("cluster", 0, tuple(range(57, 64)), 1, 4.0, 0.7, -9.0, np.arange(25), lambda signed: signed[:, 0])
    assert findings._message(one, edge, 25, "bottom edge", 0.7) == (
        "25 of 500 pictures of cat rest more on 7 cells around the bottom edge (1 would be usual)"
    )
    frame = dataclasses.replace(edge, sign=-1)
    assert findings._message(one, frame, 25, "frame", 0.2) == (
        "25 of 500 pictures of cat rest less on the frame (none would be usual)"
    )
