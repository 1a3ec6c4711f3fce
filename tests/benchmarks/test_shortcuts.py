"""`python -m benchmarks.shortcuts` on made-up rows of a network: what it counts, and that it can be stopped."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support import redraw
from tests.night_rows import make_pool, stamp
from tests.stored_nights import write_rows

ROOT = Path(__file__).parents[2]
TARGET = 7  # of the network `tag`, whose plant is in the lower left
ROWS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shortcuts")
    plain = make_pool(2000, classes=10)
    mine = np.flatnonzero(plain.classes == TARGET)
    tables = []
    for prefix, rows, numbers in (
        ("plain#", plain, np.arange(2000)),
        ("planted#", stamp(plain, np.ones(2000, bool)).take(mine), mine),
    ):
        turned = dataclasses.replace(rows, vectors=rows.vectors | {"grid": rows.vectors["grid"][:, ::-1]})
        table = redraw.read_pool(write_rows(folder / prefix[:-1], turned))
        ids = pa.array([f"{prefix}{number}" for number in numbers], table.schema.field(0).type)
        table = table.set_column(0, table.schema.field(0), ids)
        tables.append(table.set_column(1, table.schema.field(1), pa.array(numbers)))
    pq.write_table(pa.concat_tables(tables), folder / "tag.parquet")
    return folder


def bench(folder: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Returns the table and the error stream."""
    command = [sys.executable, "-m", "benchmarks.shortcuts", "--folder", str(folder), "--only", "tag"]
    command += ["--references", "1", "--json", str(folder / "table.json"), *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads((folder / "table.json").read_text()), found.stderr


def test_what_was_planted_is_told_and_judged_once(folder):
    arguments = ("--rows", str(ROWS), "5000", "--shares", "0", "0.001", "0.3", "--nights", "2")
    rows, said = bench(folder, *arguments)
    assert "no nights of [5000] rows a class" in said
    # a thousandth of 40 rows is none: the same as 0
    assert [(row["planted, %"], row["pictures"], row["nights"]) for row in rows] == [("0", 0, 2), ("30", 12, 2)]
    assert [(row["alarms"], row["class named"], row["place named"]) for row in rows] == [(0, 0, 0), (2, 2, 2)]
    assert [row["delay"] for row in rows] == [float("inf"), 1]
    outcomes = folder / "outcomes.jsonl"
    kept = outcomes.read_bytes()
    assert len(kept.splitlines()) == 4
    outcomes.write_bytes(kept[:-20])  # stopped while it wrote the last line
    again, said = bench(folder, *arguments)
    assert said.count("Outcome(") == 1
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in rows]
    assert len(outcomes.read_bytes().splitlines()) == 4


def test_tails_in_memory_tell_the_nights_that_compare_tells(folder):
    arguments = ("--rows", str(ROWS), "--shares", "0", "0.3", "--nights", "2", "--results", "both.jsonl")
    rows, _ = bench(folder, *arguments, "--detector", "ours", "tails")
    told = {(row["detector"], row["planted, %"]): (row["alarms"], row["place named"]) for row in rows}
    assert told["tails", "30"] == told["ours", "30"] == (2, 2)
    assert told["tails", "0"] == told["ours", "0"] == (0, 0)


def test_a_peer_is_judged_by_quiet_nights_apart(folder):
    arguments = ("--rows", str(ROWS), "--shares", "0", "1", "--nights", "3", "--quiet", "20")
    rows, _ = bench(folder, *arguments, "--detector", "clarify", "--results", "clarify.jsonl")
    assert [row["pictures"] for row in rows] == [0, ROWS]
    assert rows[1]["alarms"] == 3  # all pictures of a class look into the corner
    assert rows[0]["alarms"] < 3
    nights = [json.loads(line)["night"] for line in (folder / "clarify.jsonl").read_text().splitlines()]
    assert len(nights) == 26
    assert len(set(nights)) == 23  # the quiet nights that set the threshold are none of the table's


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "tags"), "--only: tags: not one of tag, plain-0"),
        (("--only", "border"), "--data: is required to train border"),
        (("--only", "tag", "--rows", "9999"), "nothing to judge"),
    ],
)
def test_what_cannot_be_judged_is_said(folder, arguments, message):
    command = [sys.executable, "-m", "benchmarks.shortcuts", "--folder", str(folder), *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert message in found.stderr
