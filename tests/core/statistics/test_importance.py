"""Statistics are exact: the same bits from the same rows in any order and partition, and right.

The theory: each value is rounded to a multiple of 2**-44 and only integers are added, so any tree of
merges gives the sum that one pass gives. Float sums do not: the first test shows that for these rows.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.random_rows import make_rows, merge_slices
from transforms.core.statistics import moments
from transforms.core.statistics.histogram import FINE
from transforms.core.statistics.importance import (
    STORED_SCALARS,
    ImportanceStatistics,
    statistics_columns,
    summarize_rows,
)
from transforms.core.statistics.moments import Distribution, Groups, Moments
from transforms.core.statistics.slices import Slice, Slicer
from transforms.core.vocabulary import VECTORS

ROWS_AT_ONCE = moments.blocks(10**6)[0].stop
ROUNDED = 2.0**-45  # half a unit of the fixed point


def take(rows: dict, positions) -> dict:
    return {
        name: column[list(positions)]
        if isinstance(column, np.ndarray)
        else [column[position] for position in positions]
        for name, column in rows.items()
    }


def vectors_of(statistics: ImportanceStatistics) -> dict:
    return {name: statistics.values[name] for name in VECTORS}


def states(statistics: dict) -> dict:
    return {key: value.state() for key, value in statistics.items()}


ROWS = make_rows(97)
WHOLE = states(summarize_rows(ROWS))


def test_float_sums_depend_on_the_order_so_there_is_something_to_get_right():
    values = ROWS["score"].astype(np.float32)
    assert len({float(np.add.reduce(np.roll(values, shift))) for shift in range(30)}) > 1


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(97)), cuts=st.lists(st.integers(0, 97), max_size=6), data=st.data())
def test_any_order_partition_and_tree_of_merges_gives_the_same_bits(order, cuts, data):
    edges = sorted({0, 97, *cuts})
    parts = [summarize_rows(take(ROWS, order[low:high])) for low, high in itertools.pairwise(edges)]
    while len(parts) > 1:
        one = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        other = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(merge_slices([one, other]))
    assert states(parts[0]) == WHOLE


def test_blocks_do_not_show(monkeypatch):
    monkeypatch.setattr(moments, "MOST_ROWS", 8)
    monkeypatch.setattr("transforms.core.statistics.importance._SLICES", 2)
    assert states(summarize_rows(ROWS)) == WHOLE


SMALL = st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1.1754943e-38, -1e-40, 1.0, -1.0, math.nan])


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=4), st.randoms())
def test_the_sign_of_zero_does_not_show_whatever_the_order_and_the_parts(values, cuts, random):
    def state(found: Distribution) -> str:  # unlike ==, repr tells 0 and −0 apart
        return repr((found, found.quantiles([0, 0.5, 1])))

    shuffled = np.array(random.sample(values, len(values)), np.float32)
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [
        Distribution.grouped(shuffled[low:high], Groups.of([range(high - low)]))[0]
        for low, high in itertools.pairwise(edges)
    ]
    merged = functools.reduce(Distribution.merge, parts)
    without_signs = np.array([abs(value) if value == 0 else value for value in values], np.float32)
    (whole,) = Distribution.grouped(without_signs, Groups.of([range(len(values))]))
    assert state(merged) == state(whole)


def test_the_sign_of_zero_in_an_earlier_state_does_not_show():
    (zero,) = Distribution.grouped(np.zeros(1, np.float32), Groups.of([[0]]))
    some = ImportanceStatistics.of(take(ROWS, [0]))
    text = ImportanceStatistics({**some.values, "entropy": zero}).state()
    earlier = text.replace('"high":0.0,', '"high":-0.0,').replace('"low":0.0,', '"low":-0.0,')
    assert earlier != text
    assert ImportanceStatistics.from_state(earlier).state() == text


def test_a_changed_row_shows():
    changed = take(ROWS, range(97))
    changed["grid"][3, 5] = np.nextafter(changed["grid"][3, 5], np.float32(1))
    assert states(summarize_rows(changed)) != WHOLE


def test_variance_known_answer():
    values = np.array([[1, 2, 3, 4], [2, 1, 2, 4], [3, 3, 1, 4]], np.float32) / 4
    (found,) = Moments.grouped(values, Groups.of([range(3)]))
    assert found.mean == [0.5, 0.5, 0.5, 1]
    assert found.std == [math.sqrt(2 / 3) / 4] * 3 + [0]


def exactly(values) -> list[Fraction]:
    return [Fraction(round(Fraction(float(value)) * 2**44), 2**44) for value in values]


def mean_and_std(values) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return float(mean), math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


@pytest.mark.parametrize("unit", [2.0**-44, 2.0**-20, 0.4, 1.0, 2.0**20, 2.0**100])
def test_moments_equal_rational_arithmetic(unit):
    values = (np.random.default_rng(1).normal(size=(50, 3)) * unit).astype(np.float32)
    groups = [list(range(0, 50, 2)), [49], list(range(50))]
    for members, found in zip(groups, Moments.grouped(values, Groups.of(groups)), strict=True):
        wanted = [mean_and_std(exactly(values[members, element])) for element in range(3)]
        assert list(zip(found.mean, found.std, strict=True)) == wanted


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 2.0**30, 2.0**100])
def test_distributions_equal_rational_arithmetic(unit):
    values = (np.random.default_rng(1).normal(size=50) * unit).astype(np.float32)
    groups = [list(range(0, 50, 2)), [49], list(range(50))]
    for members, found in zip(groups, Distribution.grouped(values, Groups.of(groups)), strict=True):
        assert (found.mean, found.std) == mean_and_std(exactly(values[members]))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-(2**70), 2**70), min_size=2, max_size=2), min_size=1), st.integers(1, 60))
def test_moments_are_integers_of_any_size(vectors, doublings):
    """Doubling moments again and again takes sums beyond 64 bits, of squares beyond 128."""
    columns = list(zip(*vectors, strict=True))
    sums, squares = ([sum(value**power for value in column) for column in columns] for power in (1, 2))
    doubling = Moments.of(len(vectors), sums, squares)
    for doubled in range(doublings):
        doubling = doubling.merge(doubling)
        assert doubling.sums == [total << doubled + 1 for total in sums]
        assert doubling.squares == [total << doubled + 1 for total in squares]
        assert doubling == Moments.of(doubling.count, doubling.sums, doubling.squares)


@pytest.mark.parametrize(
    ("count", "sums", "squares"), [(-1, [], []), (0, [1], [1]), (1, [1], []), (1, [2**46], [1]), (1, [1], [-1])]
)
def test_moments_of_no_vectors_are_refused(count, sums, squares):
    with pytest.raises(ValueError, match="vectors with"):
        Moments.of(count, sums, squares)


def test_equal_values_have_no_spread_however_many():
    (found,) = Moments.grouped(np.full((ROWS_AT_ONCE, 1), 0.1, np.float32), Groups.of([range(ROWS_AT_ONCE)]))
    assert found.std == [0]
    assert found.mean[0] == pytest.approx(float(np.float32(0.1)), abs=ROUNDED)


def test_the_largest_sums_do_not_overflow():
    values = np.full((ROWS_AT_ONCE, 2), np.nextafter(np.float32(2), np.float32(0)), np.float32)
    values[:, 1] *= -1
    (found,) = Moments.grouped(values, Groups.of([range(ROWS_AT_ONCE)]))
    assert found.sums[0] == ROWS_AT_ONCE * int(Fraction(float(values[0, 0])) * 2**44)
    assert found.sums[1] == -found.sums[0]
    assert found.squares[0] == found.squares[1] == ROWS_AT_ONCE * int(Fraction(float(values[0, 0])) * 2**44) ** 2


def test_moments_refuse_what_is_not_finite_and_vectors_of_another_length():
    with pytest.raises(ValueError, match="not finite"):
        Moments.grouped(np.array([[np.nan, 0]], np.float32), Groups.of([[0]]))
    with pytest.raises(ValueError, match="of 2 and of 3 elements"):
        Moments.of(1, (1, 2), (1, 4)).merge(Moments.of(1, (1, 2, 3), (1, 4, 9)))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), min_size=97, max_size=97), st.lists(st.integers(0, 97), max_size=5))
def test_unknown_vectors_are_not_counted_whatever_the_parts(unknown, cuts):
    rows = take(ROWS, range(97))
    for name in VECTORS:
        rows[name][np.array(unknown)] = np.nan
    edges = sorted({0, 97, *cuts})
    parts = [summarize_rows(take(rows, range(low, high))) for low, high in itertools.pairwise(edges)]
    found = merge_slices(parts)
    known = summarize_rows(take(ROWS, [row for row in range(97) if not unknown[row]]))
    for key, statistics in found.items():
        expected = known.get(key, ImportanceStatistics.zero())
        assert vectors_of(statistics) == vectors_of(expected)
        assert statistics.count == int(json.loads(WHOLE[key])["count"])
        row = statistics.finish()
        assert (row["mean_grid"] is row["std_grid"] is None) == (not expected.count)
    assert states(found) == states(summarize_rows(rows))


def test_vectors_of_which_none_is_known_have_no_length():
    rows = take(ROWS, range(5)) | {name: np.zeros((5, 0), np.float32) for name in VECTORS}
    (some,) = summarize_rows(rows, lambda *_: (Slice("all"),)).values()
    whole = ImportanceStatistics.of(ROWS)
    assert (some.count, vectors_of(some)) == (5, vectors_of(ImportanceStatistics.zero()))
    assert vectors_of(whole.merge(some)) == vectors_of(whole) == vectors_of(some.merge(whole))


def test_quantiles_are_within_a_bucket_of_the_exact_ones():
    values = np.random.default_rng(2).normal(0.1, 1, size=5000).astype(np.float32)
    (found,) = Distribution.grouped(values, Groups.of([range(5000)]), [FINE])
    shares = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]
    assert found.quantiles(shares) == pytest.approx(
        np.quantile(values, shares).tolist(), rel=2.0**-6
    )  # a bucket's width
    assert Distribution().quantiles([0.5]) == [None]


def test_numbers_that_are_not_finite_are_left_out_of_distributions():
    values = np.array([1, np.nan, 3, np.inf, -np.inf], np.float32)
    mixed, nothing = Distribution.grouped(values, Groups.of([range(5), [1, 3]]))
    assert (mixed.count, mixed.mean, mixed.std, mixed.low, mixed.high) == (2, 2, 1, 1, 3)
    assert nothing == Distribution()


def test_zero_changes_nothing_and_finishes():
    zero = ImportanceStatistics.zero()
    some = ImportanceStatistics.of(ROWS)
    assert zero.merge(some) == some == some.merge(zero)
    row = zero.finish()
    assert row["count"] == 0
    assert row["mean_score"] is None
    assert row["mean_grid"] is None


def test_finish_agrees_with_numpy():
    row = ImportanceStatistics.of(ROWS).finish()
    assert row["count"] == 97
    assert row["converged"] == ROWS["converged"].sum()
    for name in ("grid", "signed_grid", "channel_share"):
        np.testing.assert_allclose(row[f"mean_{name}"], ROWS[name].mean(axis=0, dtype=np.float64), atol=1e-12)
        np.testing.assert_allclose(row[f"std_{name}"], ROWS[name].std(axis=0, dtype=np.float64), atol=1e-12)
    for name in STORED_SCALARS:  # the fixed point rounds 1e-6 by 3e-8 of itself, numpy's sum far less
        assert row[f"mean_{name}"] == pytest.approx(np.nanmean(ROWS[name], dtype=np.float64), rel=1e-6)
        assert row[f"std_{name}"] == pytest.approx(np.nanstd(ROWS[name], dtype=np.float64), rel=1e-6)
        assert row[f"min_{name}"] == np.nanmin(ROWS[name])
        assert sum(row[f"histogram_{name}"].counts) == np.isfinite(ROWS[name]).sum()
    delta = np.abs(ROWS["convergence_delta"] / (ROWS["score"].astype(float) - ROWS["baseline_score"]))
    assert row["mean_relative_delta"] == pytest.approx(delta.mean(), rel=1e-6)


def test_a_state_comes_back_and_nonsense_is_refused():
    some = ImportanceStatistics.of(ROWS)
    assert ImportanceStatistics.from_state(some.state()) == some
    zero = ImportanceStatistics.zero()
    assert ImportanceStatistics.from_state(zero.state()) == zero
    for text in ("", "[]", "{}", some.state().replace('"version":4', '"version":99'), some.state()[:-9]):
        with pytest.raises(ValueError, match="not the state of importance statistics"):
            ImportanceStatistics.from_state(text)


def test_slices_hold_the_rows_that_belong_to_them():
    found = summarize_rows(ROWS, Slicer(("camera", "no such field")))
    assert list(found) == sorted(found)
    kinds = {key.kind for key in found}
    assert kinds == {"all", "predicted", "label", "wrong", "confusion", "shard", "field:camera"}
    labels, predicted = ROWS["label"], ROWS["predicted"]
    for key, statistics in found.items():
        expected = {
            "all": lambda row: True,
            "predicted": lambda row, key=key: str(predicted[row]) == key.value,
            "label": lambda row, key=key: str(labels[row]) == key.value,
            "wrong": lambda row: labels[row] is not None and labels[row] != predicted[row],
            "confusion": lambda row, key=key: (
                labels[row] != predicted[row] and f"{labels[row]}>{predicted[row]}" == key.value
            ),
            "shard": lambda row, key=key: f"{'ab'[row % 2]}-*.tar" == key.value,
            "field:camera": lambda row, key=key: f"{row % 4}" == key.value,
        }[key.kind]
        members = [row for row in range(97) if expected(row)]
        assert statistics == summarize_rows(take(ROWS, members), lambda *_, key=key: (key,))[key]
        if key.kind in ("label", "predicted"):
            assert key.name == f"class {key.value}"


def test_only_slices_of_which_a_run_has_one_have_fine_histograms():
    rows = make_rows(2000, classes=2)
    for key, statistics in summarize_rows(rows).items():
        taken = len(statistics.values["score"].histogram.buckets)
        assert taken > 64 if key.kind in ("all", "wrong") else 0 < taken <= 64, key


def test_no_rows_have_no_slices():
    assert summarize_rows(take(ROWS, [])) == {}
    assert ImportanceStatistics.of(take(ROWS, [])) == ImportanceStatistics.zero()
    assert Slice("all") not in summarize_rows(take(ROWS, []))


class TestDifferencesFromLabels:
    def test_rows_without_them_make_the_same_state_as_ever(self):
        statistics = ImportanceStatistics.of(make_rows(9, seed=1))
        assert "label_difference" not in statistics.state()
        assert not any("label_difference" in column for column in statistics.finish())
        assert not any("label_difference" in column for column in statistics_columns())
        assert ImportanceStatistics.from_state(statistics.state()) == statistics

    def test_their_distribution_is_kept_and_merges(self):
        rows = make_rows(9, seed=1)
        differences = np.array([0.5, -1.5, np.nan, 2.0, 0.0, -0.25, np.nan, 4.0, 1.0], np.float32)
        some = {name: column[:4] for name, column in rows.items()} | {"label_difference": differences[:4]}
        more = {name: column[4:] for name, column in rows.items()} | {"label_difference": differences[4:]}
        merged = ImportanceStatistics.of(some).merge(ImportanceStatistics.of(more))
        assert merged == ImportanceStatistics.of({**rows, "label_difference": differences})
        finished = merged.finish()
        assert finished.keys() - {"state"} == statistics_columns({"label_difference"}).keys()
        assert finished["count_label_difference"] == 7
        assert finished["mean_label_difference"] == pytest.approx(np.nanmean(differences))
        assert finished["std_label_difference"] == pytest.approx(np.nanstd(differences))
        assert ImportanceStatistics.from_state(merged.state()) == merged
