"""Labels that come later are what the run's labels would have been, and the run stays as it is."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.night_rows import make_pool
from tests.stored_nights import write_rows
from tests.stored_run import write_run
from transforms.core.errors import UsageError
from transforms.core.statistics.slices import Slice
from transforms.store.given_labels import UnmatchedError, give_labels, read_labels
from transforms.store.run import Run

POOL = make_pool(120, classes=3)
IDS = [f"pool#{number}" for number in range(120)]


def write_csv(path: Path, ids: list[str], labels: list[Any], names: tuple[str, str] = ("image_id", "label")) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *zip(ids, labels, strict=True)])
    return str(path)


def write_lines(path: Path, ids: list[str], labels: list[Any]) -> str:
    lines = [json.dumps({"label": label, "id": name}) for name, label in zip(ids, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n\n")
    return str(path)


def write_tsv(path: Path, ids: list[str], labels: list[Any]) -> str:
    path.write_text("\ufeffother\tid\tclass\n" + "".join(f"x\t{a}\t{b}\n" for a, b in zip(ids, labels, strict=True)))
    return str(path)


def write_table(path: Path, ids: list[str], labels: list[Any]) -> str:
    pq.write_table(pa.table({"image_id": ids, "label_name": labels}), path)
    return str(path)


WRITERS = {"a.csv": write_csv, "b.jsonl": write_lines, "c.tsv": write_tsv, "d.parquet": write_table}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("named", [True, False])
def test_the_statistics_are_those_of_a_run_that_had_the_labels(tmp_path: Path, name: str, named: bool):
    labelled = write_rows(tmp_path / "labelled", POOL)
    plain = write_rows(tmp_path / "plain", POOL, labelled=False)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "plain").rglob("*")) if path.is_file()}
    labels = [f"class {code}" if named else int(code) for code in POOL.classes]
    given = give_labels(plain, read_labels(WRITERS[name](tmp_path / name, IDS, labels)))
    assert not plain.statistics(kind="label").num_rows
    assert given.statistics().equals(labelled.statistics())
    keys = [Slice("label", "1", "class 1"), Slice("all")]
    (mine, theirs) = (run.sample(keys, 30) for run in (given, labelled))
    assert mine.classes == theirs.classes
    for key in keys:
        np.testing.assert_array_equal(mine.chosen[key], theirs.chosen[key])
    assert given == plain
    assert before == {path: path.read_bytes() for path in before}
    assert str(given.label_counts) == "120 usable, 0 missing, 0 unusable"


def test_wrong_predictions_and_confusions_follow(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    labels = [(code + (number < 6)) % 3 for number, code in enumerate(POOL.classes.tolist())]
    given = give_labels(run, read_labels(write_csv(tmp_path / "labels.csv", IDS, labels)))
    counts = {
        (row["kind"], row["value"]): row["count"] for row in given.statistics(["kind", "value", "count"]).to_pylist()
    }
    assert counts["wrong", ""] == 6
    assert {value: count for (kind, value), count in counts.items() if kind == "confusion"} == {
        "1>0": 2,
        "2>1": 2,
        "0>2": 2,
    }
    assert ("wrong", "") not in {(row["kind"], row["value"]) for row in run.statistics(["kind", "value"]).to_pylist()}


def test_what_does_not_fit_is_counted_and_keeps_what_is_stored(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    ids = [*IDS[:10], "no such image", "nor this", IDS[20], IDS[20], IDS[21], IDS[21], IDS[30], IDS[40]]
    labels = [*["class 0"] * 10, "class 1", "class 1", "class 1", "class 2", "class 1", "class 1", "unicorn", ""]
    given = give_labels(run, read_labels(write_csv(tmp_path / "labels.csv", ids, labels)))
    assert given.labels is not None
    assert (given.labels.matched, given.labels.unknown, given.labels.contradictory) == (12, 2, 1)
    assert str(given.labels) == (
        f"{tmp_path}/labels.csv labels 12 of 120 images; labels now: 119 usable, 0 missing, 1 unusable "
        "(such as: label 'unicorn' is not one of the 3 class names); 2 ids of the file are not in the run; "
        "1 id has several labels there and keeps what is stored"
    )
    (table,) = given.rows(["label", "label_name"])
    stored, names = table.column("label").to_pylist(), table.column("label_name").to_pylist()
    expected: list[int | None] = POOL.classes.tolist()
    expected[:10], expected[21], expected[30] = [0] * 10, 1, None
    assert stored == expected
    assert (names[0], names[21], names[30], names[40]) == ("class 0", "class 1", "unicorn", f"class {expected[40]}")


def test_an_example_is_of_a_label_that_counts(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    file = write_csv(tmp_path / "labels.csv", [*IDS, "no such image"], [*POOL.classes, "=1+1"])
    assert str(give_labels(run, read_labels(file)).labels) == (
        f"{file} labels 120 of 120 images; labels now: 120 usable, 0 missing, 0 unusable; "
        "1 id of the file is not in the run"
    )
    file = write_csv(tmp_path / "labels.csv", ["no such image", *IDS[:2]], ["=1+1", "unicorn", "unicorn"])
    given = give_labels(run, read_labels(file)).labels
    assert given is not None and given.unusable == "2 labels name no class, such as 'unicorn'"
    assert "'unicorn'" in given.counts.problem


def test_an_image_with_several_rows_gets_its_label_in_each(tmp_path: Path):
    write_run(str(tmp_path / "run"), targets=3)
    run = Run.open(str(tmp_path / "run"))
    given = give_labels(run, read_labels(write_lines(tmp_path / "labels.json", ["a.tfrecord#2"], [4])))
    assert given.labels is not None and given.labels.matched == 1
    rows = [row for table in given.rows(["image_id", "label"]) for row in table.to_pylist()]
    assert [row["label"] for row in rows if row["image_id"] == "a.tfrecord#2"] == [4] * 3
    assert {row["label"] for row in rows if row["image_id"] == "a.tfrecord#1"} == {1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.txt", "", "ends in none of .csv, .tsv"),
        ("labels.csv", "name,label\nx,1\n", "it has name, label"),
        ("labels.csv", "", "it has none"),
        ("labels.csv", "image_id,label\npool#1,1,2\n", "Expected 2 columns, got 3"),
        ("labels.csv", "image_id,label\npool#1,\n", "gives no image one label"),
        ("labels.csv", "image_id,label\n", "gives no image one label"),
        ("labels.jsonl", "{", "Expecting property name"),
        ("labels.jsonl", "[1]\n", "line 1: not a JSON object, but a list"),
        ("labels.jsonl", '{"id": "a", "label": 1}\n' + "[" * 200_000, "line 2: not JSON: nested too deeply"),
        ("labels.jsonl", '{"id": ' + "1" * 5000 + "}", "line 1: not JSON: Exceeds the limit"),
        (
            "labels.csv",
            "image_id,label\n" + "x" * 3_000_000 + ",1\n",
            "is no CSV: a line is longer than 1,048,576 bytes",
        ),
        ("labels.csv", "image_id,label\na,\udcff\n", r"is no CSV: not UTF-8 text \(at byte 17\)"),
        ("labels.tsv", "\udcff\udcd8\n", r"is no TSV: not UTF-8 text \(at byte 0\)"),
        ("labels.parquet", "x", "is damaged, or not a Parquet file"),
    ],
)
def test_files_that_are_no_labels_are_refused(tmp_path: Path, name: str, content: str, said: str):
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=said):
        read_labels(str(tmp_path / name))


def test_labels_of_other_images_are_refused(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    file = read_labels(write_csv(tmp_path / "labels.csv", ["a", "b"], [1, 2]))
    with pytest.raises(UnmatchedError, match="none of its 2 image ids is in"):
        give_labels(run, file)
