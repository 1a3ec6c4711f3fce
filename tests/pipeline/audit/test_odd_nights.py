"""Nights as they come: without rows, broken, unfinished, or made in another way; none ends the comparisons after it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.audit.references import choose_references, find_references
from pipeline.cli import main
from tests.night_rows import draw, make_pool
from tests.stored_nights import write_rows
from tests.stored_run import PROVENANCE, write_run
from transforms.store.run import Run

POOL = make_pool(600, classes=3)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_rows(tmp_path_factory.mktemp("candidate") / "tonight", draw(POOL, 200, seed=9), 9)


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """A folder with one sound night."""
    write_rows(tmp_path / "nights" / "1", draw(POOL, 200, seed=1), 1)
    return tmp_path / "nights"


def empty(uri: Path, day: int, images: int = 0, failures: int = 0) -> Run:
    run = write_rows(uri, POOL.take(np.zeros(0, int)), day)
    manifest = json.loads((uri / "manifest.json").read_text())
    manifest["parts"][0] |= {"images": images, "failures": failures}
    (uri / "manifest.json").write_text(json.dumps(manifest))
    return Run.open(run.uri)


def audited(tmp_path: Path, run: Run, *references: Path) -> tuple[int, dict[str, Any]]:
    code = main(["compare", run.uri, *map(str, references), "--json", str(tmp_path / "audit.json")])
    return code, json.loads((tmp_path / "audit.json").read_text())


@pytest.mark.parametrize(
    ("images", "failures", "said"),
    [(0, 0, "the input held no image at all"), (7, 7, "of 7 images, all 7 failed"), (7, 0, "none has a class")],
)
def test_a_run_without_rows_is_judged(candidate, tmp_path, capsys, images, failures, said):
    run = empty(tmp_path / "empty", 9, images, failures)
    code, audit = audited(tmp_path, run, Path(candidate.uri))
    assert code == audit["verdict"]["exit_code"] == 4
    assert audit["verdict"]["outcome"] == "no rows"
    assert said in capsys.readouterr().out.splitlines()[0]
    assert (audit["slices"], audit["candidate"]["rows"], audit["candidate"]["failures"]) == ([], 0, failures)
    assert main(["report", run.uri, "--reference", candidate.uri, "-o", str(tmp_path / "page.html")]) == 0
    assert said in (tmp_path / "page.html").read_text()
    if not images:
        assert main(["verify", run.uri]) == 0


def _no_rows(night: Path) -> None:
    empty(night, 2)


def _unfinished(night: Path) -> None:
    write_rows(night, draw(POOL, 200, seed=2), 2)
    (night / "manifest.json").unlink()


def _unreadable_manifest(night: Path) -> None:
    write_rows(night, draw(POOL, 200, seed=2), 2)
    (night / "manifest.json").write_text("{")


def _no_statistics(night: Path) -> None:
    write_rows(night, draw(POOL, 200, seed=2), 2)
    (night / "statistics" / "statistics.parquet").unlink()


def _missing_part(night: Path) -> None:
    write_rows(night, draw(POOL, 200, seed=2), 2)
    next((night / "attributions").iterdir()).unlink()


def _damaged_part(night: Path) -> None:
    """Damages what is read last, the values of the chosen rows, and leaves the footer and the ids whole."""
    run = write_rows(night, draw(POOL, 200, seed=2), 2)
    part = next((night / "attributions").iterdir())
    with run.parquet(f"attributions/{part.name}") as parquet:
        group = parquet.metadata.row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
    at = next(chunk.data_page_offset for chunk in chunks if chunk.path_in_schema.startswith("signed_grid"))
    content = bytearray(part.read_bytes())
    content[at + 100 : at + 200] = b"x" * 100
    part.write_bytes(content)


def _other_steps(night: Path) -> None:
    write_rows(night, draw(POOL, 200, seed=2), 2, rule="midpoint", steps=25)


BROKEN = {
    _no_rows: "has no rows",
    _unfinished: "is unfinished",
    _unreadable_manifest: "cannot be read: manifest.json: not a manifest: not JSON",
    _no_statistics: "cannot be read: statistics/statistics.parquet is missing",
    _missing_part: "cannot be read: ",
    _damaged_part: "cannot be read: ",
    _other_steps: "was made with --rule midpoint, the candidate with --rule adaptive",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_night_of_a_folder_that_cannot_be_used_is_left_out_with_a_word(candidate, nights, tmp_path, capsys, broken):
    broken(nights / "2")
    code, audit = audited(tmp_path, candidate, nights)
    assert code == 0
    assert [one["uri"] for one in audit["references"]] == [f"{nights}/1"]
    (message,) = (reason["message"] for reason in audit["verdict"]["reasons"] if "left out" in reason["message"])
    assert message.startswith(f"left out: {nights}/2 {BROKEN[broken]}")
    assert message.splitlines()[0] in capsys.readouterr().out


@pytest.mark.parametrize("broken", BROKEN)
def test_where_all_are_left_out_or_one_was_named_the_command_is_refused(candidate, tmp_path, capsys, broken):
    broken(tmp_path / "nights" / "2")
    assert main(["compare", candidate.uri, str(tmp_path / "nights")]) == 2
    said = capsys.readouterr().err
    assert "no run to compare with: the only one was left out" in said
    assert f"{tmp_path}/nights/2 {BROKEN[broken]}" in said
    assert main(["compare", candidate.uri, f"{tmp_path}/nights/2"]) == 2
    assert f"{tmp_path}/nights/2" in capsys.readouterr().err


def test_the_latest_nights_are_taken_of_those_that_can_be_used(candidate, nights):
    write_rows(nights / "2", draw(POOL, 200, seed=2), 2)
    _other_steps(nights / "3")
    empty(nights / "4", 4)
    references = choose_references(candidate.manifest.provenance, [str(nights)], 1, exclude=candidate.uri)
    assert [run.name for run in references.runs] == ["2"]
    assert len(references.left_out) == 2
    assert len(find_references([str(nights)])) == 4


ADAPTIVE = {"rule": "adaptive", "steps": None, "tolerance": 0.05, "max_steps": None}
FIXED = {"rule": "midpoint", "steps": 50, "tolerance": 0.05, "max_steps": None}


@pytest.mark.parametrize(
    ("here", "there", "refused"),
    [
        (ADAPTIVE, {}, None),  # of a version that stored none of it
        (ADAPTIVE, ADAPTIVE | {"max_steps": 512}, None),
        (ADAPTIVE, ADAPTIVE | {"steps": 50}, None),
        (ADAPTIVE, ADAPTIVE | {"batch_size": 3, "chunk_images": 9, "dtype": "int8"}, None),
        (ADAPTIVE, ADAPTIVE | {"tolerance": 0.1}, "tolerance: 0.1 in"),
        (ADAPTIVE, ADAPTIVE | {"max_steps": 64}, "max_steps: 64 in"),
        (ADAPTIVE, FIXED, "rule: 'midpoint' in"),
        (FIXED, FIXED | {"steps": None}, None),
        (FIXED, FIXED | {"tolerance": 0.1}, None),
        (FIXED, FIXED | {"steps": 25}, "steps: 25 in"),
        (FIXED, FIXED | {"rule": "simpson"}, "rule: 'simpson' in"),
    ],
)
def test_other_steps_and_rules_are_refused_where_they_count(tmp_path, here, there, refused):
    reference = write_rows(tmp_path / "night", POOL.take(np.arange(5)), 1, **there)
    candidate = dataclasses.replace(PROVENANCE, config=PROVENANCE.config | here)
    if refused is None:
        assert choose_references(candidate, [reference.uri]).runs == (reference,)
    else:
        name = refused.partition(":")[0]
        again = f"make the reference again with --{name} {here[name] or 512}, or the candidate with"
        with pytest.raises(ValueError, match=f"{refused} .*: {again}"):
            choose_references(candidate, [reference.uri])


@pytest.mark.parametrize(("here", "there"), [(ADAPTIVE, FIXED | {"steps": 25}), (FIXED | {"steps": 25}, ADAPTIVE)])
def test_of_another_rule_nothing_is_asked_that_it_does_not_take(candidate, tmp_path, here, there):
    write_rows(tmp_path / "nights" / "1", POOL.take(np.arange(5)), 1, **there)
    provenance = dataclasses.replace(PROVENANCE, config=PROVENANCE.config | here)
    for uri in ("nights/1", "nights"):
        with pytest.raises(ValueError, match=f"--rule {there['rule']}, ?|rule: '{there['rule']}'") as error:
            choose_references(provenance, [f"{tmp_path}/{uri}"])
        assert not {"--steps", "--tolerance", "--max_steps"}.intersection(str(error.value).split())


def test_a_class_that_is_gone_is_told(candidate, tmp_path):
    night = draw(POOL, 200, seed=4)
    run = write_rows(tmp_path / "gone", night.take(night.classes != 1), 9)
    _, audit = audited(tmp_path, run, Path(candidate.uri))
    told = [reason["message"] for reason in audit["verdict"]["reasons"] if reason["topic"] == "rows"]
    usual = int((draw(POOL, 200, seed=9).classes == 1).sum())
    assert f"Labeled class 1: no rows, {usual} in the reference" in told


def test_a_night_of_one_row_is_no_measure_of_how_mixes_differ(candidate, nights, tmp_path):
    write_rows(nights / "2", draw(POOL, 200, seed=2), 2)
    write_rows(nights / "3", POOL.take(np.array([0])), 3)
    code, audit = audited(tmp_path, candidate, nights)
    assert code == 0
    assert audit["mix"]["self_distance"] < 0.2
    one = write_rows(tmp_path / "one", POOL.take(np.array([0])), 9)
    assert main(["compare", one.uri, str(nights)]) == 2


def test_labels_that_come_later_are_compared_and_reported(tmp_path, capsys):
    nights = [draw(POOL, 200, seed=seed) for seed in (1, 2)]
    runs = [write_rows(tmp_path / f"{day}", rows, day, labelled=False) for day, rows in enumerate(nights, 1)]
    for day, rows in enumerate(nights, 1):
        lines = [f"pool#{number},class {code}" for number, code in enumerate(rows.classes)]
        (tmp_path / f"{day}.csv").write_text("\n".join(["image_id,label", *lines]))
    late = ["--labels", f"{tmp_path}/2.csv", "--reference_labels", f"{tmp_path}/1.csv"]
    code = main(["compare", runs[1].uri, runs[0].uri, *late, "--json", str(tmp_path / "audit.json")])
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert code == 0
    found = {(one["kind"], one["value"]): one["state"] for one in audit["slices"]}
    assert found["label", "0"] == found["label", "1"] == found["label", "2"] == "fine"
    said = capsys.readouterr().out
    assert f"{tmp_path}/2.csv labels 200 of 200 images" in said
    assert f"{tmp_path}/1.csv labels 200 of 200 images" in said
    (tmp_path / "others.csv").write_text("image_id,label\nother,1\n")
    for arguments in (["--labels", f"{tmp_path}/others.csv"], ["--reference_labels", f"{tmp_path}/others.csv"]):
        assert main(["compare", runs[1].uri, runs[0].uri, *arguments]) == 2
        assert "its only image id is not in" in capsys.readouterr().err
    assert main(["report", runs[1].uri, *late[2:]]) == 2
    assert "reference_labels: applies only to a comparison" in capsys.readouterr().err


def test_a_report_shows_labels_that_came_later(tmp_path, capsys):
    write_run(str(tmp_path / "run"))
    (tmp_path / "labels.csv").write_text("id,label\na.tfrecord#2,class 2\na.tfrecord#1,class 4\nb.tfrecord#9,1\n")
    page = tmp_path / "page.html"
    arguments = ["report", f"{tmp_path}/run", "--labels", f"{tmp_path}/labels.csv", "-o", str(page)]
    assert main(arguments) == 0
    assert "labels 2 of 10 images" in capsys.readouterr().err
    assert "9 of 10" in page.read_text()  # one of the others has none
    assert "class 4 → class 1" in page.read_text()
