"""The rows that are compared: a bounded number of each slice, whatever the order of rows and parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from support.redraw import read_pool, take, write_night
from tests import stored_run
from tests.night_rows import draw, make_pool
from tests.stored_nights import write_rows
from transforms.core.drift.contrast import SCALARS, VECTORS
from transforms.core.maps.importance import Importance
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.vocabulary import CELLS
from transforms.store.placed import class_of
from transforms.store.run import Run
from transforms.store.sample import choose_rows

ALL, ONE = Slice("all"), Slice("label", "1", "class 1")
POOL = make_pool(300, classes=3)


def sampled(run: Run, most: int, *slices: Slice):
    sample = run.sample(slices, most)
    return sample, sample.read(slices)


def test_all_rows_of_a_slice_where_there_is_room(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    index, rows = sampled(run, 1000, ALL, ONE)
    assert index.images == {ALL: 300, ONE: 100}
    assert index.classes == {(str(code), f"class {code}"): 100 for code in range(3)}
    mine = POOL.take(POOL.classes == 1)
    for found, expected in ((rows.of(ALL), POOL), (rows.of(ONE), mine)):
        order = [np.argsort(side.scalars["gini"]) for side in (found, expected)]
        for name in POOL.vectors:
            np.testing.assert_array_equal(found.vectors[name][order[0]], expected.vectors[name][order[1]])
        for name in POOL.scalars:
            np.testing.assert_array_equal(found.scalars[name][order[0]], expected.scalars[name][order[1]])
    assert len(np.unique(rows.of(ONE).classes)) == 1
    assert len(np.unique(rows.of(ALL).classes)) == 3


@pytest.mark.parametrize("unknown", [0.0, np.nan])  # as version 0.1.0 stored it, and as this one does
def test_of_maps_that_are_zero_everywhere_nothing_is_known(tmp_path: Path, unknown: float):
    blank = np.arange(300) % 5 == 0
    vectors = {name: np.where(blank[:, None], np.float32(unknown), values) for name, values in POOL.vectors.items()}
    scalars = {
        name: np.where(blank, np.float32(unknown), POOL.scalars[name]) for name in vars(Importance()) if name in SCALARS
    }
    rows = dataclasses.replace(POOL, vectors=vectors, scalars=POOL.scalars | scalars)
    found = sampled(write_rows(tmp_path / "run", rows), 1000, ALL)[1].of(ALL)
    for name in set(vars(Importance())) - {CELLS}:
        values = found.vectors[name].T[0] if name in VECTORS else found.scalars[name]
        assert np.isnan(values).sum() == 60, name
    assert np.isfinite(found.scalars["score"]).all()


def test_no_more_than_the_most_chosen_by_id_and_not_by_order(tmp_path: Path):
    run = write_rows(tmp_path / "run", draw(POOL, 300, seed=0))
    rows = read_pool(run)
    turned = write_night(str(tmp_path / "turned"), take(rows, range(299, -1, -1)), stored_run.PROVENANCE, "2026")
    found = [np.sort(sampled(each, 20, ALL, ONE)[1].of(ALL).scalars["gini"]) for each in (run, turned)]
    assert len(found[0]) == 20
    np.testing.assert_array_equal(*found)
    few = np.sort(sampled(run, 5, ALL)[1].of(ALL).scalars["gini"])
    assert set(few) < set(found[0])
    assert not np.isin(few, np.sort(draw(POOL, 300, seed=0).scalars["gini"][:5])).all()


def test_memory_is_pruned_on_the_way_without_a_change(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    whole = sampled(run, 7, ALL, ONE)[0]
    pieces = choose_rows(lambda columns: run.rows(columns, most=30), Slicer(()), (ALL, ONE), 7)
    assert whole.images == pieces.images
    for key in (ALL, ONE):
        np.testing.assert_array_equal(whole.chosen[key], pieces.chosen[key])


def test_an_image_counts_once_by_its_highest_target(tmp_path: Path):
    stored_run.write_run(str(tmp_path / "run"), targets=3)
    run = Run.open(str(tmp_path / "run"))
    index, rows = sampled(run, 100, ALL)
    assert index.images[ALL] == sum(index.classes.values()) == 10
    ranks = [0, 1, 2]
    pool = read_pool(run)
    assert sorted(set(pool.column("target_rank").to_pylist())) == ranks
    top = pool.filter(pc.equal(pool.column("target_rank"), 0))
    np.testing.assert_array_equal(np.sort(rows.of(ALL).scalars["gini"]), np.sort(top.column("gini").to_numpy()))


def test_a_slice_that_a_run_has_not_is_empty(tmp_path: Path):
    run = write_rows(tmp_path / "run", POOL)
    index, rows = sampled(run, 100, Slice("label", "99", "none"))
    assert len(rows.of(Slice("label", "99", "none"))) == 0
    assert set(index.images.values()) == {0}


def test_a_class_is_the_label_or_else_the_prediction():
    assert class_of(3, "cat", 4, "dog") == ("3", "cat")
    assert class_of(None, "unicorn", 4, "dog") == ("unicorn", "unicorn")
    assert class_of(None, None, 4, "dog") == ("4", "dog")
