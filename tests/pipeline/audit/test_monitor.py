"""A folder of nights → what adds up over them; the nights are manifests and audits, without rows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.audit.monitor import ALARM, CALIBRATING, PASSED_OVER, REFERENCE, WATCHING, Monitoring, watch
from pipeline.cli import main
from pipeline.exit_code import ExitCode
from tests.stored_run import CHUNKS, PROVENANCE, write_chunk
from transforms import store
from transforms.core.drift import monitor
from transforms.core.drift.evidence import Tally
from transforms.store.files import StoredFile
from transforms.store.run import AUDIT

SIDE, LEVELS, ROWS = 4, [4, 8], 500
PLACES = [f"{row},{col}" for row in range(1, SIDE + 1) for col in range(1, SIDE + 1)]
CLASSES = ("cat", "horse", "ship")
CORNER = PLACES.index("4,1")
REFERENCES = tuple(f"approved-{number}" for number in range(30))


def draw(seed: int, extra: int = 0, nights: int = 1) -> np.ndarray:
    """Returns counts of pictures `[classes, places, signs, levels]`; `extra` horses more on the bottom left corner."""
    rates = np.random.default_rng(0).gamma(0.5, 0.004, (len(CLASSES), len(PLACES), 2, 1)) * np.array([1, 0.1])
    counts = np.random.default_rng(seed).poisson(rates * ROWS * nights)
    counts[1, CORNER, 0] += extra
    return counts


APPROVED = draw(999, nights=len(REFERENCES))


def tails(counts: np.ndarray, references: np.ndarray = APPROVED, rows: int = ROWS, nights: int = 30) -> dict[str, Any]:
    """Returns the counts as audit.json has them: those that are not 0."""
    slices = []
    for number, name in enumerate(CLASSES):
        found = [
            [place, (1, -1)[side], level, *(int(each[number, place, side, level]) for each in (counts, references))]
            for place, side, level in np.argwhere(counts[number] + references[number] > 0).tolist()
        ]
        one = {"kind": "label", "value": str(number), "name": name, "rows": rows, "reference_rows": ROWS * nights}
        slices.append(one | {"counts": found})
    return {"levels": LEVELS, "places": PLACES, "slices": slices}


def write(folder: Path, day: int, found: Any, references: tuple[str, ...] = REFERENCES, name: str = "") -> Path:
    """Writes a night: a manifest, and an audit.json unless `found` is None."""
    run = folder / (name or f"night-{day:02d}")
    created = f"2026-10-{day:02d}T22:00:00+00:00"
    store.write_manifest(str(run), store.Manifest(created, PROVENANCE, StoredFile("statistics", 0, ""), ()))
    if found is not None:
        named = [{"uri": f"elsewhere/{one}", "created": one} for one in references]
        (run / AUDIT).write_text(json.dumps({"references": named, "tails": found}))
    return run


def states(result: Monitoring) -> list[str]:
    return [night.state for night in result.nights]


def test_quiet_nights_are_watched_and_cost_nothing(tmp_path, capsys):
    for day in range(1, 11):
        write(tmp_path, day, tails(draw(day)))
    assert main(["monitor", str(tmp_path)]) == ExitCode.FINE
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 11 and "alarm at 365" in printed[0]
    assert all("watching" in line for line in printed[1:])


def test_a_change_raises_an_alarm_with_class_place_and_amounts(tmp_path, capsys):
    for day in range(1, 5):
        write(tmp_path, day, tails(draw(day)))
    for day in (5, 6):
        write(tmp_path, day, tails(draw(day, extra=5)))
        result = watch(str(tmp_path))
        if result.exit_code == ExitCode.DRIFT:
            break
    assert states(result)[-1] == ALARM
    assert main(["monitor", str(tmp_path), "--json", str(tmp_path / "monitor.json")]) == ExitCode.DRIFT
    printed = capsys.readouterr().out
    assert "! horse, bottom left corner: " in printed
    night = json.loads((tmp_path / "monitor.json").read_text())["nights"][-1]
    first = night["findings"][0]
    assert (first["name"], first["place"], first["sign"]) == ("horse", "4,1", 1)
    assert first["pictures"] >= 5 * first["nights"] and first["rows"] == ROWS * first["nights"]
    assert first["expected"] < 1
    assert f"{first['pictures']} of {first['rows']:,} pictures in {first['nights']} night" in first["message"]


def test_a_change_of_labeled_and_predicted_pictures_is_named_once(tmp_path):
    found = tails(draw(1, extra=20))
    found["slices"] += [one | {"kind": "predicted"} for one in found["slices"]]
    write(tmp_path, 1, found)
    messages = [finding.message.partition(":")[0] for finding in watch(str(tmp_path)).nights[0].findings]
    assert messages.count("horse, bottom left corner") == 1
    assert "predicted as horse, bottom left corner" not in messages


def test_a_class_without_labels_is_called_predicted(tmp_path):
    found = tails(draw(1, extra=20))
    found["slices"] = [one | {"kind": "predicted"} for one in found["slices"]]
    write(tmp_path, 1, found)
    first = watch(str(tmp_path)).nights[0].findings[0]
    assert first.message.startswith("predicted as horse, bottom left corner: ")


def test_the_state_recomputed_is_the_state_carried_on(tmp_path):
    for day in range(1, 7):
        write(tmp_path, day, tails(draw(day, extra=day % 2)))
    averages = [night.average for night in watch(str(tmp_path)).nights]

    def flat(counts: np.ndarray, rows: int) -> Tally:
        return Tally(counts.reshape(len(CLASSES), -1, len(LEVELS)), np.full(len(CLASSES), rows))

    state, carried = monitor.start(flat(APPROVED, 30 * ROWS), 30), []
    for day in range(1, 7):
        state = monitor.advance(state, flat(draw(day, extra=day % 2), ROWS))
        carried.append(float(state.average))
    assert averages == pytest.approx(carried, rel=1e-9)
    assert averages[:4] == [night.average for night in _without(tmp_path, (5, 6)).nights]  # later nights change nothing


def _without(folder: Path, days: tuple[int, ...]) -> Monitoring:
    for day in days:
        (folder / f"night-{day:02d}" / AUDIT).unlink()
        (folder / f"night-{day:02d}" / "manifest.json").unlink()
    return watch(str(folder))


def test_an_alarm_resets_the_sums_and_a_lasting_change_raises_it_again(tmp_path):
    for day in range(1, 9):
        write(tmp_path, day, tails(draw(day, extra=20)))
    result = watch(str(tmp_path))
    assert states(result).count(ALARM) >= 2
    assert result.nights[0].state == ALARM


def test_an_alarm_of_an_earlier_night_does_not_end_later_ones_with_3(tmp_path):
    write(tmp_path, 1, tails(draw(1, extra=20)))
    write(tmp_path, 2, tails(draw(2)))
    result = watch(str(tmp_path))
    assert states(result) == [ALARM, WATCHING]
    assert result.exit_code == ExitCode.FINE


def test_other_references_start_anew(tmp_path):
    """Approval: the night with the change is among the references from then on."""
    write(tmp_path, 1, tails(draw(1, extra=3)))
    write(tmp_path, 2, tails(draw(2, extra=3)))
    more = APPROVED + draw(1, extra=3)
    write(tmp_path, 3, tails(draw(3), more, nights=31), (*REFERENCES, "night-01"))
    result = watch(str(tmp_path))
    assert "starts anew" in result.nights[2].note
    assert result.nights[2].average < result.nights[1].average
    alone = watch(str(write(tmp_path / "alone", 3, tails(draw(3), more, nights=31), (*REFERENCES, "n")).parent))
    assert result.nights[2].average == alone.nights[0].average


def test_references_that_change_every_night_are_pointed_out(tmp_path):
    for day in range(1, 6):
        write(tmp_path, day, tails(draw(day)), (*REFERENCES, f"night-{day}"))
    assert "fixed set of approved runs" in str(watch(str(tmp_path)))


def test_few_references_calibrate_first(tmp_path):
    few = draw(999, nights=3)
    for day in range(1, 7):
        write(tmp_path, day, tails(draw(day, extra=30 * (day == 6)), few, nights=3), REFERENCES[:3])
    result = watch(str(tmp_path))
    assert states(result) == [CALIBRATING] * 4 + [WATCHING, ALARM]
    assert result.nights[0].note.startswith("4 of 7 nights")


def test_what_cannot_be_counted_is_passed_over_with_a_word(tmp_path):
    write_chunk(str(tmp_path / "unfinished"), CHUNKS[0])
    (tmp_path / "no run").mkdir()
    (write(tmp_path, 1, None, name="broken manifest") / "manifest.json").write_text("{")
    write(tmp_path, 2, tails(draw(2)), name="first")
    write(tmp_path, 3, None, name="not compared")
    (write(tmp_path, 4, {}, name="damaged") / AUDIT).write_text("{")
    write(tmp_path, 5, None, name="old")
    (tmp_path / "old" / AUDIT).write_text('{"references": []}')
    (write(tmp_path, 6, None, name="list") / AUDIT).write_text("[]")
    write(tmp_path, 7, tails(draw(7)) | {"levels": [4, 9]}, name="other levels")
    bad = tails(draw(8))
    bad["slices"][0]["counts"][0][0] = len(PLACES)
    write(tmp_path, 8, bad, name="bad place")
    write(tmp_path, 9, tails(draw(9)), name="last")
    result = watch(str(tmp_path))
    notes = {night.uri.rpartition("/")[2]: (night.state, night.note) for night in result.nights}
    assert "no run" not in notes
    expected = {
        "unfinished": "unfinished",
        "broken manifest": "not a manifest",
        "not compared": "no audit.json",
        "damaged": "not JSON",
        "old": "no tails",
        "list": "not a JSON object",
        "other levels": "other places or at other levels",
        "bad place": "damaged",
    }
    for name, note in expected.items():
        assert notes[name][0] == PASSED_OVER and note in notes[name][1], name
    only = watch(str(write(tmp_path / "alone", 2, tails(draw(2))).parent)).nights[0]
    second = write(tmp_path / "alone", 9, tails(draw(9)))
    assert [night.average for night in result.nights if night.state == WATCHING] == [
        only.average,
        watch(str(second.parent)).nights[1].average,
    ]


def test_references_in_the_same_folder_are_named_so(tmp_path):
    write(tmp_path, 1, None, name="approved")
    write(tmp_path, 2, tails(draw(2)))
    audit = json.loads((tmp_path / "night-02" / AUDIT).read_text())
    audit["references"][0] = {"uri": f"{tmp_path}/approved/", "created": "2026-10-01T22:00:00+00:00"}
    (tmp_path / "night-02" / AUDIT).write_text(json.dumps(audit))
    assert states(watch(str(tmp_path))) == [REFERENCE, WATCHING]


def test_a_class_that_is_missing_for_a_night_changes_nothing_for_it(tmp_path):
    write(tmp_path, 1, tails(draw(1)))
    found = tails(draw(2))
    absent = found["slices"].pop(2)
    write(tmp_path, 2, found)
    write(tmp_path, 3, tails(draw(3)) | {"slices": [*tails(draw(3))["slices"], absent | {"name": "new", "value": "9"}]})
    assert states(watch(str(tmp_path))) == [WATCHING] * 3


def test_pictures_that_several_references_hold_count_once(tmp_path):
    """30 references of the same 500 pictures know as much as one: what they never showed is less surprising."""
    once = tails(draw(1, extra=6))
    once["slices"] = [one | {"reference_pictures": ROWS} for one in once["slices"]]
    write(tmp_path / "once", 1, once)
    write(tmp_path / "all", 1, tails(draw(1, extra=6)))
    averages = [watch(str(tmp_path / name)).nights[0].average for name in ("once", "all")]
    assert averages[0] < averages[1] / 100


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["monitor", str(tmp_path)]) == ExitCode.UNUSABLE
    assert "there is no run in this folder" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "366", "nan", "often"])
def test_an_impossible_rate_of_false_alarms_is_refused(tmp_path, value, capsys):
    with pytest.raises(SystemExit) as end:
        main(["monitor", str(tmp_path), "--false_alarms_per_year", value])
    assert end.value.code == ExitCode.UNUSABLE
    assert "false_alarms_per_year" in capsys.readouterr().err


def test_more_false_alarms_make_alarms_earlier(tmp_path):
    write(tmp_path, 1, tails(draw(1, extra=2)))
    often, seldom = (watch(str(tmp_path), rate) for rate in (365.0, 1e-6))
    assert often.threshold == 1 and seldom.threshold == 365e6
    assert seldom.exit_code == ExitCode.FINE
    assert dataclasses.replace(often.nights[0], state="", findings=()) == dataclasses.replace(
        seldom.nights[0], state="", findings=()
    )
