"""Which parts of earlier runs are taken, and why others are not; what a fingerprint covers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.stored_run import CHUNKS, PROVENANCE, SETTINGS, SHAPE, make_failure, make_rows
from transforms import store
from transforms.core.record import Chunk, Failure, Image
from transforms.formats.fingerprint import fingerprint
from transforms.store.parts import ATTRIBUTIONS, part_name
from transforms.store.reuse import NEW, OTHER_BYTES, OTHER_OPTIONS, OTHER_RANGE, UNSOUND, WITHOUT_FINGERPRINT, take_part

CHUNK = CHUNKS[0]
IMAGE = Image("a.tar#0", "/in/a.tar", 0, b"bytes", 3, (("camera", "north"),), b"mask", ("cat", "dog"), "")


def write(uri: Path, read: str = "f00d", failure: Failure | None = None, chunk: Chunk = CHUNK) -> store.PartSummary:
    with store.write_part(str(uri), chunk, PROVENANCE, SETTINGS, SHAPE) as part:
        for position in range(chunk.count):
            part.add(make_rows(chunk, position))
        if failure:
            part.fail(failure)
        part.fingerprint = read
    return part.summary


def take(uri: Path, *earlier: Path, chunk: Chunk = CHUNK, provenance=PROVENANCE, read: str = "f00d"):
    names = {part_name(ATTRIBUTIONS, CHUNK.id)}
    return take_part(str(uri), [(str(each), names) for each in earlier], chunk, provenance, lambda: read)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.mark.parametrize("failure", [None, make_failure(CHUNK, 2)])
def test_a_part_is_copied_with_its_errors(tmp_path, failure):
    written = write(tmp_path / "first", failure=failure)
    taken, origin = take(tmp_path / "second", tmp_path / "first")
    assert taken == written and (origin.run, origin.reason) == (str(tmp_path / "first"), "")
    assert files_below(tmp_path / "second") == files_below(tmp_path / "first")
    assert store.finished_part(str(tmp_path / "second"), CHUNK, PROVENANCE.config_digest) == written


@pytest.mark.parametrize("failure", [None, make_failure(CHUNK, 2)])
def test_a_part_of_a_shard_that_has_moved_is_what_its_new_place_would_give(tmp_path, failure):
    moved = dataclasses.replace(CHUNK, shard="/elsewhere/a.tfrecord", offset=77)
    elsewhere = failure and dataclasses.replace(failure, shard=moved.shard)
    provenance = dataclasses.replace(PROVENANCE, model="models/moved")
    write(tmp_path / "first", failure=failure)
    with store.write_part(str(tmp_path / "wanted"), moved, provenance, SETTINGS, SHAPE) as part:
        for position in range(moved.count):
            part.add(make_rows(moved, position))
        if elsewhere:
            part.fail(elsewhere)
        part.fingerprint = "f00d"
    taken, _ = take(tmp_path / "second", tmp_path / "first", chunk=moved, provenance=provenance)
    assert taken == part.summary
    assert files_below(tmp_path / "second") == files_below(tmp_path / "wanted")
    assert len(files_below(tmp_path / "second")) == (2 if failure else 1)


def test_the_shard_is_not_read_for_a_part_that_cannot_be_the_same(tmp_path):
    write(tmp_path / "first")

    def read() -> str:
        raise AssertionError("read")

    names = {part_name(ATTRIBUTIONS, CHUNK.id)}
    earlier = [(str(tmp_path / "first"), names)]
    other = dataclasses.replace(PROVENANCE, config_digest="0ther")
    newer = dataclasses.replace(PROVENANCE, versions={"numpy": "3"})
    for provenance in (other, newer):
        assert take_part(str(tmp_path / "run"), earlier, CHUNK, provenance, read)[1].reason == OTHER_OPTIONS
    shorter = dataclasses.replace(CHUNK, count=CHUNK.count - 1)
    assert take_part(str(tmp_path / "run"), earlier, shorter, PROVENANCE, read)[1].reason == OTHER_RANGE
    assert take_part(str(tmp_path / "run"), [(str(tmp_path), set())], CHUNK, PROVENANCE, read)[1].reason == NEW
    write(tmp_path / "old", read="")
    earlier = [(str(tmp_path / "old"), names)]
    assert take_part(str(tmp_path / "run"), earlier, CHUNK, PROVENANCE, read)[1].reason == WITHOUT_FINGERPRINT
    assert not (tmp_path / "run").exists()


def test_the_first_run_that_has_the_part_gives_it_and_the_reason_is_that_of_the_last(tmp_path):
    write(tmp_path / "other", read="beef")
    refused = Failure("a.tfrecord#3", "/in/a.tfrecord", 3, "read", "RefusedError", "no permission")
    write(tmp_path / "refused", failure=refused)
    assert take(tmp_path / "run", tmp_path / "other")[1].reason == OTHER_BYTES
    assert take(tmp_path / "run", tmp_path / "other", tmp_path / "refused")[1].reason == UNSOUND
    write(tmp_path / "good")
    taken, origin = take(tmp_path / "run", tmp_path / "other", tmp_path / "refused", tmp_path / "good")
    assert taken and origin.run == str(tmp_path / "good")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b.tar#0"},
        {"index": 1},
        {"data": b"other"},
        {"label": "3"},
        {"label": None},
        {"fields": ()},
        {"mask": b"m"},
        {"mask": None},
        {"data": b"bytesma", "mask": b"sk"},
        {"label_names": ("dog", "cat")},
        {"label_problem": "none"},
    ],
)
def test_a_fingerprint_covers_all_that_shapes_rows(change):
    assert fingerprint([dataclasses.replace(IMAGE, **change)]) != fingerprint([IMAGE])


def test_a_fingerprint_covers_order_and_failures_but_no_place():
    failure = Failure("a.tar#1", "/in/a.tar", 1, "read", "RecordError", "bad")
    found = fingerprint([IMAGE, failure])
    assert found != fingerprint([failure, IMAGE]) != fingerprint([IMAGE])
    assert found != fingerprint([IMAGE, dataclasses.replace(failure, message="worse")])
    moved = [dataclasses.replace(each, shard="gs://data/a.tar") for each in (IMAGE, failure)]
    assert found == fingerprint(moved)
