"""Columns that follow from several statistics: cells narrowed by completeness, quadrature's share, corrected means."""

from __future__ import annotations

import numpy as np
import pytest

from support.random_rows import make_rows, merge_slices
from transforms.core.statistics.importance import (
    ImportanceStatistics,
    class_biases,
    optional_in,
    statistics_columns,
    summarize_rows,
)
from transforms.core.statistics.slices import Slice
from transforms.store.tables import statistics_table

ROWS, SIDE = 3000, 4
ROUNDED = 1e-5  # float32 rounds the difference of each row by 6e-8, and weights near 1 multiply what rows differ by


def shifted_rows(seed: int = 0, classes: int = 6, share: float = 0.3) -> dict:
    """Rows of rule shifted: their quadrature's noise is their residual, and has the variance of the rows."""
    rows = dict(make_rows(ROWS, seed=seed, classes=classes, grid=SIDE))
    rng = np.random.default_rng(seed)
    true = rng.normal(2, 1, (ROWS, SIDE * SIDE))
    noise, again = rng.normal(0, 1, (2, ROWS, SIDE * SIDE))
    chosen = rng.random(ROWS)[:, None]
    rows["cells"] = (true + noise).astype(np.float32)
    rows["second_cells"] = np.where(chosen < share, true + again, np.nan).astype(np.float32)
    rows["convergence_delta"] = noise.sum(axis=1).astype(np.float32)
    rows["error_estimate"] = np.full(ROWS, np.nan, np.float32)
    rows["reference_extra"] = np.zeros(ROWS, bool)
    rows["reference_cells"] = np.where(chosen < share, true, np.nan).astype(np.float32)
    rows["gini"] = (0.5 + 0.1 * rng.random(ROWS)).astype(np.float32)
    rows["reference_gini"] = np.where(chosen[:, 0] < share, rows["gini"] + 0.2, np.nan).astype(np.float32)
    return rows


def whole(rows: dict) -> dict:
    found = summarize_rows(rows)
    return found[Slice("all")].finish(biases=class_biases(found))


def test_completeness_narrows_the_cells_of_rule_shifted_alone():
    found = whole(shifted_rows())
    # of the variance 2 of a cell, 1 is noise, of which the residual, a sum of 16 such, tells a sixteenth
    narrower = np.divide(found["se_controlled_cells"], found["se_cells"])
    assert np.median(narrower) == pytest.approx(np.sqrt(31 / 32), abs=0.005)
    low, high = (np.array(found[f"{end}95_controlled_cells"]) for end in ("low", "high"))
    assert np.mean((low <= 2) & (high >= 2)) > 0.7  # sixteen cells: 95 % of them, give or take
    rows = shifted_rows() | {"error_estimate": np.full(ROWS, 0.01, np.float32)}
    assert "mean_controlled_cells" not in whole(rows)


def test_the_share_of_quadrature_is_that_of_the_noise():
    found = whole(shifted_rows())
    assert np.median(found["quadrature_cells"]) == pytest.approx(0.5, abs=0.05)
    assert found["count_second_cells"] == pytest.approx(0.3 * ROWS, rel=0.1)


def test_means_are_those_of_maps_to_tolerance():
    found = whole(shifted_rows())
    assert found["mean_corrected_gini"] == pytest.approx(found["mean_gini"] + 0.2, abs=ROUNDED)
    assert found["low95_corrected_gini"] < found["mean_corrected_gini"] < found["high95_corrected_gini"]
    assert np.mean(found["mean_corrected_cells"]) == pytest.approx(2, abs=0.05)


def test_small_slices_borrow_from_the_classes():
    rows = shifted_rows(share=0.05)
    found = summarize_rows(rows)
    small = [key for key, value in found.items() if 0 < value.values["reference_gini"].count < 50]
    assert small
    for key in small:
        own = found[key].finish(biases=class_biases(found))
        assert own["mean_corrected_gini"] == pytest.approx(own["mean_gini"] + 0.2, abs=ROUNDED)
        assert found[key].finish()["mean_corrected_gini"] is None  # no classes, no bias


def test_all_slices_have_the_columns_that_one_has():
    rows = shifted_rows()
    one = {name: column[:1] for name, column in rows.items()}
    for name in ("second_cells", "reference_cells", "reference_gini"):
        one[name] = np.full_like(one[name], np.nan)
    statistics = merge_slices([summarize_rows(rows), summarize_rows(one, lambda *_: (Slice("shard", "lone"),))])
    table = statistics_table(statistics)
    optional = optional_in(statistics.values())
    assert {"cells", "residual_cells", "second_cells", "reference_cells", "reference_gini"} == optional
    assert table.column_names[3:-1] == list(statistics_columns(optional))
    (row,) = (each for each in table.to_pylist() if each["value"] == "lone")
    assert row["count_second_cells"] == row["count_reference_gini"] == 0
    assert row["quadrature_cells"] is None


def test_states_come_back_and_parts_merge_to_the_same():
    rows = shifted_rows()
    found = ImportanceStatistics.of(rows)
    assert ImportanceStatistics.from_state(found.state()) == found
    halves = [{name: column[part] for name, column in rows.items()} for part in (slice(0, 999), slice(999, None))]
    assert ImportanceStatistics.of(halves[1]).merge(ImportanceStatistics.of(halves[0])).state() == found.state()


def test_rows_that_a_small_class_has_in_addition_count_for_its_label_alone():
    rows = shifted_rows()
    chosen = ~np.isnan(rows["reference_gini"])
    extra = chosen & (np.array([label == 1 for label in rows["label"]]))
    rows["reference_extra"] = extra
    found = summarize_rows(rows)
    counts = {key: value.values["reference_gini"].count for key, value in found.items()}
    assert counts[Slice("all")] == (chosen & ~extra).sum()
    assert counts[Slice("label", "1", "class 1")] == extra.sum() > 0
    assert counts[Slice("label", "2", "class 2")] == sum(
        one and label == 2 for one, label in zip(chosen, rows["label"], strict=True)
    )
