"""Pictures that come again are found by their content, or by id, and their rows read in one order."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from support.redraw import COLUMNS, write_night
from tests import stored_run
from tests.night_rows import draw, make_pool, retrain
from tests.stored_nights import write_rows
from tests.stored_run import write_run
from transforms.core.statistics.slices import Slice
from transforms.store.matched import KINDS, MOST_TRAININGS, list_pictures, match, trainings
from transforms.store.run import Run

POOL = make_pool(400, classes=4)
NIGHT = draw(POOL, 120, seed=1)
CONTENTS = [f"{number:032x}" for number in range(120)]


def without_content(run: Run, copy: Path) -> Run:
    """Returns a copy of a run as an earlier version wrote it."""
    rows = pa.concat_tables(run.rows([name for name in COLUMNS if name != "content"]))
    return write_night(str(copy), rows, run.manifest.provenance, run.manifest.created)


def test_pictures_are_matched_by_content_whatever_their_order_and_ids(tmp_path):
    order = np.random.default_rng(0).permutation(120)
    reference = write_rows(tmp_path / "reference", NIGHT, contents=CONTENTS)
    shuffled = [CONTENTS[number] for number in order[:80]] + [f"new {number}" for number in range(40)]
    candidate = write_rows(tmp_path / "candidate", NIGHT.take(order), contents=shuffled)
    again, paired = match(candidate, [reference], 1000)
    assert (again.images, again.pictures, again.changed_predictions) == (120, 80, 0)
    assert (again.same_model, again.trainings, again.by_content) == (True, 1, True)
    assert len(paired.slices[Slice("all")]) == 80
    assert {key.kind for key in paired.slices} == {"all", "label", "predicted"} <= set(KINDS)
    (training,) = paired.trainings
    for name in ("grid", "signed_grid"):
        np.testing.assert_array_equal(paired.candidate.vectors[name], training.vectors[name])
    np.testing.assert_array_equal(paired.candidate.scalars["score"], training.scalars["score"])
    sizes = {key.value: len(rows) for key, rows in paired.slices.items() if key.kind == "label"}
    codes = NIGHT.classes[order[:80]]
    assert sizes == {str(one): (codes == one).sum() for one in range(4)}


def test_a_run_without_content_is_matched_by_id(tmp_path):
    reference = write_rows(tmp_path / "reference", NIGHT, contents=CONTENTS)
    older = without_content(reference, tmp_path / "older")
    assert "content" not in list_pictures(older).keys
    again, paired = match(write_rows(tmp_path / "candidate", NIGHT.take(np.arange(60))), [older], 1000)
    assert (again.images, again.pictures, again.by_content) == (60, 60, False)
    np.testing.assert_array_equal(paired.candidate.vectors["grid"], paired.trainings[0].vectors["grid"])


def test_a_picture_that_is_explained_for_another_class_is_counted_and_not_compared(tmp_path):
    reference = write_rows(tmp_path / "reference", NIGHT, contents=CONTENTS)
    codes = np.where(np.arange(120) < 7, (NIGHT.classes + 1) % 4, NIGHT.classes)
    changed = dataclasses.replace(NIGHT, classes=codes)
    again, paired = match(write_rows(tmp_path / "candidate", changed, contents=CONTENTS), [reference], 1000)
    assert (again.pictures, again.changed_predictions) == (120, 7)
    assert len(paired.slices[Slice("all")]) == 113


def test_the_latest_row_of_each_training_counts_and_what_it_lacks_is_unknown(tmp_path):
    first = write_rows(tmp_path / "1", retrain(NIGHT, 1), 1, contents=CONTENTS, model_digest="one")
    second = write_rows(tmp_path / "2", retrain(NIGHT, 2), 2, contents=CONTENTS, model_digest="two")
    half = retrain(NIGHT, 3).take(np.arange(60))
    third = write_rows(tmp_path / "3", half, 3, contents=CONTENTS[:60], model_digest="one")
    candidate = write_rows(tmp_path / "c", NIGHT, 4, contents=CONTENTS, model_digest="new")
    again, paired = match(candidate, [first, second, third], 1000)
    assert (again.same_model, again.trainings, again.pictures) == (False, 2, 120)
    one, two = paired.trainings
    np.testing.assert_array_equal(one.vectors["grid"][:60], half.vectors["grid"])
    np.testing.assert_array_equal(one.vectors["grid"][60:], retrain(NIGHT, 1).vectors["grid"][60:])
    np.testing.assert_array_equal(two.vectors["grid"], retrain(NIGHT, 2).vectors["grid"])
    again, paired = match(candidate, [second, third], 1000)
    assert np.isnan(paired.trainings[0].vectors["grid"][60:]).all()
    assert set(paired.trainings[0].nights[60:]) == {-1}


def test_references_of_one_model_are_one_training_of_another_model_if_there_are_enough(tmp_path):
    runs = [write_rows(tmp_path / str(day), NIGHT, day, model_digest=digest) for day, digest in enumerate("abac", 1)]
    candidate = write_rows(tmp_path / "c", NIGHT, 9, model_digest="new")
    assert trainings(candidate, runs) == ([0, 1, 0, 3], True)
    assert trainings(candidate, runs[:3]) == ([0, 1, 2], False)
    assert trainings(runs[3], runs) == ([0, 1, 2, 3], False)


def test_the_same_model_is_compared_with_itself_alone(tmp_path):
    others = [
        write_rows(tmp_path / name, retrain(NIGHT, day), day, contents=CONTENTS, model_digest=name)
        for day, name in enumerate(["a", "b", "c"], 1)
    ]
    candidate = write_rows(tmp_path / "again", retrain(NIGHT, 2), 4, contents=CONTENTS, model_digest="b")
    again, paired = match(candidate, others, 1000)
    assert (again.same_model, again.trainings) == (True, 3)
    (same,) = paired.trainings
    np.testing.assert_array_equal(same.vectors["grid"], paired.candidate.vectors["grid"])


def test_no_more_pictures_of_a_slice_are_compared_than_asked_for_whatever_their_order(tmp_path):
    reference = write_rows(tmp_path / "reference", NIGHT, contents=CONTENTS)
    backwards = write_rows(tmp_path / "candidate", NIGHT.take(np.arange(120)[::-1]), contents=CONTENTS[::-1])
    chosen = [match(run, [reference], 20)[1] for run in (reference, backwards)]
    assert {len(rows) for rows in chosen[0].slices.values()} == {20}
    grids = [one.candidate.vectors["grid"][one.slices[Slice("all")]] for one in chosen]
    assert sorted(map(tuple, grids[0].tolist())) == sorted(map(tuple, grids[1].tolist()))


def test_no_more_trainings_are_read_than_memory_is_for(tmp_path):
    references = [
        write_rows(tmp_path / str(day), NIGHT, day, contents=CONTENTS, model_digest=f"digest {day}")
        for day in range(1, MOST_TRAININGS + 3)
    ]
    candidate = write_rows(tmp_path / "c", NIGHT, 20, contents=CONTENTS, model_digest="new")
    again, paired = match(candidate, references, 1000)
    assert (again.trainings, len(paired.trainings)) == (MOST_TRAININGS + 2, MOST_TRAININGS)


def test_without_pictures_that_come_again_nothing_is_read(tmp_path):
    reference = write_rows(tmp_path / "reference", NIGHT, contents=CONTENTS)
    other = write_rows(tmp_path / "other", NIGHT, contents=[f"other {number}" for number in range(120)])
    again, paired = match(other, [reference], 1000)
    assert (again.pictures, paired.slices, len(paired.candidate)) == (0, {}, 0)
    placed = [run.sample([Slice("all")], 10).placed for run in (other, reference)]
    for run in (other, reference):
        shutil.rmtree(Path(run.uri) / "attributions")
    assert match(other, [reference], 1000, placed)[0] == again  # by their hashes alone


@pytest.mark.parametrize("has_content", [True, False])
def test_one_picture_that_comes_again_is_found_by_its_hash(tmp_path, has_content):
    reference = write_rows(tmp_path / "reference", NIGHT.take(np.arange(60)), contents=CONTENTS[:60])
    other = write_rows(tmp_path / "other", NIGHT.take(np.arange(59, 120)), contents=CONTENTS[59:])
    if not has_content:
        reference = without_content(reference, tmp_path / "older")
    placed = [run.sample([Slice("all")], 10).placed for run in (other, reference)]
    expected, found = match(other, [reference], 1000)[0], match(other, [reference], 1000, placed)[0]
    assert found == expected and found.by_content == has_content and found.pictures > 0


def test_a_night_without_rows_has_no_pictures_that_come_again(tmp_path):
    run = write_rows(tmp_path / "run", NIGHT, contents=CONTENTS)
    rows = pa.concat_tables(run.rows(COLUMNS)).slice(0, 0)
    empty = write_night(str(tmp_path / "empty"), rows, run.manifest.provenance, run.manifest.created)
    assert len(list_pictures(empty)) == 0
    for candidate, reference, images in ((empty, run, 0), (run, empty, 120)):
        again, paired = match(candidate, [reference], 1000)
        assert (again.images, again.pictures, paired.slices) == (images, 0, {})


@pytest.mark.parametrize("targets", [1, 3])
def test_an_image_counts_once_by_its_highest_ranked_target(tmp_path, targets):
    write_run(str(tmp_path / "run"), targets=targets)
    listing = list_pictures(Run.open(str(tmp_path / "run")))
    assert len(listing) == len(set(listing.keys["content"].to_pylist())) == 10
    np.testing.assert_array_equal(listing.rows, np.arange(10) * targets)
    assert (
        listing.targets.tolist()
        == [position % 5 for chunk in stored_run.CHUNKS for position in range(chunk.count)][:10]
    )
