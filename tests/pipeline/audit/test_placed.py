"""Rows by class: an image once in a class, by its first row; a bounded number, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.audit import placed
from pipeline.audit.placed import Placer, read_classes
from tests import stored_run
from tests.night_rows import draw, make_pool
from tests.stored_nights import write_rows
from transforms.core.stable_hash import stable_hash
from transforms.store.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_rows(tmp_path_factory.mktemp("runs") / "night", draw(make_pool(900, classes=3), 600, seed=2))


def test_classes_hold_their_rows_in_order(run):
    rows = draw(make_pool(900, classes=3), 600, seed=2)
    for one in read_classes(run):
        mine = np.flatnonzero(rows.classes == int(one.key.value))
        assert one.block.rows.tolist() == mine.tolist()
        assert one.block.ids.to_pylist() == [f"pool#{number}" for number in mine]
        np.testing.assert_array_equal(one.block.signed, rows.vectors["signed_grid"][mine].astype(np.float32))


@pytest.mark.parametrize("block", [7, 100, 65_536])
def test_the_rows_with_the_least_hashes_are_held_whatever_the_blocks(run, monkeypatch, block):
    monkeypatch.setattr(placed, "_BLOCK_ROWS", block)
    monkeypatch.setattr(placed, "_LEAST_ROWS", 10)
    whole = {one.key: one for one in read_classes(run)}
    for one in read_classes(run, most=40):
        ids = whole[one.key].block.ids.to_pylist()
        assert one.count == len(ids)
        assert 40 <= len(one.block.rows) <= 80
        least = sorted(ids, key=stable_hash)[: len(one.block.rows)]
        assert set(sorted(ids, key=stable_hash)[:40]) <= set(one.block.ids.to_pylist())
        assert len(least) == len(one.block.rows)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_an_image_with_several_targets_counts_once_in_its_class(tmp_path, monkeypatch, block):
    monkeypatch.setattr(placed, "_BLOCK_ROWS", block)
    stored_run.write_run(str(tmp_path / "run"), targets=3)
    classes = read_classes(Run.open(str(tmp_path / "run")))
    images = sum(one.count for one in classes)
    ids = [name for one in classes for name in one.block.ids.to_pylist()]
    assert len(ids) == len(set(ids)) == images == Run.open(str(tmp_path / "run")).manifest.images - 1  # one failed
    assert {one.key.kind for one in classes} == {"label", "predicted"}  # one image has no label


def test_maps_that_are_zero_everywhere_are_unknown(tmp_path):
    rows = draw(make_pool(900, classes=3), 60, seed=2)
    rows.vectors["signed_grid"][5] = 0
    run = write_rows(tmp_path / "run", rows)
    block = next(one.block for one in read_classes(run) if 5 in one.block.rows)
    assert np.isnan(block.signed).all(axis=1).sum() == 1


def test_classes_are_numbered_alike_each_time(run):
    first, second = Placer(), Placer()
    assert [block.classes.tolist() for block in first.blocks(run)] == [b.classes.tolist() for b in second.blocks(run)]
    assert first.classes == second.classes
