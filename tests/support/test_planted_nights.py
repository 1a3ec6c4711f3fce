"""Nights and references are disjoint, a share is exact, and `compare` finds what was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.audit.compare import compare
from pipeline.audit.thresholds import load_thresholds
from support import redraw
from support.planted_nights import Pool, draw_night, draw_references, planted_rows, to_arrays, uses
from tests.night_rows import CORNER, SIDE, make_pool, stamp
from tests.stored_nights import write_rows
from tests.stored_run import PROVENANCE

CLASSES, TARGET = 3, 2
ROWS = 60


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    plain = make_pool(900, CLASSES)
    mine = np.flatnonzero(plain.classes == TARGET)
    stamped = stamp(plain, np.ones(len(plain), bool)).take(mine)
    return Pool.of(
        pa.concat_tables(
            [
                named(redraw.read_pool(write_rows(folder / "plain", plain)), "plain#", np.arange(900)),
                named(redraw.read_pool(write_rows(folder / "stamped", stamped)), "planted#", mine),
            ]
        )
    )


def named(rows: pa.Table, prefix: str, numbers: np.ndarray) -> pa.Table:
    ids = pa.array([f"{prefix}{number}" for number in numbers], rows.schema.field("image_id").type)
    rows = rows.set_column(0, rows.schema.field("image_id"), ids)
    return rows.set_column(1, rows.schema.field("index"), pa.array(numbers))


def ids(rows: pa.Table) -> list[str]:
    return rows.column("image_id").to_pylist()


def numbers(rows: pa.Table) -> set[str]:
    return {image_id.partition("#")[2] for image_id in ids(rows)}


def test_a_night_has_as_many_different_pictures_of_each_class(pool):
    night = draw_night(pool, ROWS, 0.1, np.random.default_rng(0))
    assert len(numbers(night)) == len(night) == CLASSES * ROWS
    assert np.bincount(night.column("label").to_numpy()).tolist() == [ROWS] * CLASSES


def test_no_night_shares_a_picture_with_a_reference(pool):
    nights = [draw_night(pool, ROWS, 0.1, np.random.default_rng(seed)) for seed in range(5)]
    references = [one for seed in range(5) for one in draw_references(pool, ROWS, 3, np.random.default_rng(seed))]
    assert set.union(*map(numbers, nights)).isdisjoint(set.union(*map(numbers, references)))
    assert set.union(*map(numbers, nights)) != numbers(nights[0])  # nights do differ


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.005, 0), (0.02, 1), (0.05, 3), (0.1, 6), (1, 60)])
def test_planted_rows_replace_those_of_the_same_pictures_of_one_class(pool, share, count):
    quiet, night = (draw_night(pool, ROWS, each, np.random.default_rng(1)) for each in (0, share))
    planted = [image_id for image_id in ids(night) if image_id.startswith("planted#")]
    assert len(planted) == planted_rows(ROWS, share) == count
    assert numbers(night) == numbers(quiet)
    labels = dict(zip(ids(night), night.column("label").to_pylist(), strict=True))
    assert all(labels[image_id] == TARGET for image_id in planted)
    assert night.column("index").to_pylist() == sorted(night.column("index").to_pylist())
    assert not any(image_id.startswith("planted#") for image_id in ids(quiet))


def test_half_a_picture_is_one():
    assert [planted_rows(rows, 0.005) for rows in (100, 500, 99)] == [1, 3, 0]


def test_references_share_no_picture_before_the_pool_is_used_up(pool):
    most = pool.most(for_nights=False)
    count = most // ROWS
    assert count >= 2
    few = draw_references(pool, ROWS, count, np.random.default_rng(2))
    assert len(set.union(*map(numbers, few))) == sum(map(len, few))
    assert uses(pool, ROWS, count) == 1
    many = draw_references(pool, ROWS, 3 * count, np.random.default_rng(2))
    assert all(len(numbers(one)) == len(one) for one in many)
    assert uses(pool, ROWS, 3 * count) == pytest.approx(3 * count * ROWS / most)


def test_too_few_pictures_are_an_error(pool):
    with pytest.raises(ValueError, match="rows: 200 of class 0; nights have"):
        draw_night(pool, 200, 0, np.random.default_rng(0))
    bare = Pool(pool.plain, pool.planted.slice(0, 1))
    with pytest.raises(ValueError, match=r"share: 0\.1 of 60 rows are 6 pictures with the plant; there are [01]$"):
        draw_night(bare, ROWS, 0.1, np.random.default_rng(0))


def test_arrays_are_the_columns_that_every_row_has(pool):
    night = draw_night(pool, ROWS, 0.1, np.random.default_rng(3))
    arrays = to_arrays(night)
    assert arrays.signed.shape == arrays.absolute.shape == (len(night), SIDE * SIDE)
    assert arrays.scalars.shape == (len(night), len(arrays.names))
    assert "score" in arrays.names
    assert "mask_share" not in arrays.names  # a third has no mask
    assert arrays.labels.tolist() == night.column("label").to_pylist()
    np.testing.assert_array_equal(arrays.scalars[:, arrays.names.index("gini")], night.column("gini").to_numpy())


def test_a_comparison_finds_what_was_planted_and_nothing_else(pool, tmp_path: Path):
    rng = np.random.default_rng(4)
    (reference,) = draw_references(pool, ROWS, 1, rng)
    nights = {name: draw_night(pool, ROWS, share, np.random.default_rng(5)) for name, share in (("q", 0), ("p", 0.3))}
    written = {
        name: redraw.write_night(str(tmp_path / name), rows, PROVENANCE, "2026-11-02T22:00:00+00:00")
        for name, rows in {"reference": reference, **nights}.items()
    }
    audits = {name: compare(written[name], [written["reference"]], load_thresholds()) for name in nights}
    assert not any(one.state == "drift" for one in audits["q"].slices)
    drifted = {(one.kind, one.value): one for one in audits["p"].slices if one.state == "drift"}
    found = drifted["label", str(TARGET)].grid
    assert found is not None
    assert (found.changed[0].row, found.changed[0].col) == (0, CORNER)
    assert ("label", "0") not in drifted
