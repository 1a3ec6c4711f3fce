"""The class mix: a shift is told, chance is not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from pipeline.audit.thresholds import load_thresholds
from transforms.core.drift.class_mix import judge_mix

THRESHOLDS = load_thresholds()
SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.1])


def night(seed: int, shares: np.ndarray = SHARES, images: int = 512) -> dict[tuple[str, str], int]:
    counts = np.random.default_rng(seed).multinomial(images, shares / shares.sum())
    return {(str(value), f"class {value}"): int(count) for value, count in enumerate(counts) if count}


@pytest.mark.parametrize("seed", range(10))
def test_chance_is_no_change(seed):
    assert not judge_mix([night(100)], night(seed), THRESHOLDS).drift


def test_a_shift_is_told_with_its_classes():
    mix = judge_mix([night(100)], night(1, np.array([0.1, 0.25, 0.2, 0.15, 0.3])), THRESHOLDS)
    assert mix.drift
    assert {one.value for one in mix.classes[:2]} == {"0", "4"}
    assert sum(one.reference for one in mix.classes) == pytest.approx(1)
    assert sum(one.candidate for one in mix.classes) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_that_of_contingency_tables(seed):
    reference, candidate = night(100), night(seed, SHARES * [1, 1 + 0.2 * seed, 1, 1, 1])
    table = np.array([[side[str(value), f"class {value}"] for value in range(5)] for side in (reference, candidate)])
    single = [np.column_stack([table[:, k], table.sum(axis=1) - table[:, k]]) for k in range(5)]
    whole, *each = (scipy.stats.chi2_contingency(one, correction=False).pvalue for one in [table, *single])
    expected = min(1, 2 * min(whole, 5 * min(each)))
    assert judge_mix([reference], candidate, THRESHOLDS).p_value == pytest.approx(expected)


def test_one_class_among_many_is_found():
    even, more = np.full(40, 1 / 40), np.array([6 / 40, *np.full(39, 1 / 40)])
    assert judge_mix([night(1, even)], night(2, more), THRESHOLDS).drift


def test_chance_seldom_looks_like_a_change():
    values = [judge_mix([night(seed)], night(1000 + seed), THRESHOLDS).p_value for seed in range(1000)]
    assert np.mean(np.array(values) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_chance_moves_as_much_as_is_said():
    distances = [judge_mix([night(seed)], night(1000 + seed), THRESHOLDS).distance for seed in range(200)]
    expected = judge_mix([night(0)], night(1), THRESHOLDS).self_distance
    assert np.mean(distances) == pytest.approx(expected, rel=0.1)  # 200 nights, a third of spread: 2.5 %


def test_many_rare_classes_are_taken_together():
    rare = np.full(2000, 1 / 2000)
    assert not judge_mix([night(1, rare)], night(2, rare), THRESHOLDS).drift


def test_nights_of_restless_mixes_make_a_shift_ordinary():
    one, other = np.array([0.4, 0.15, 0.2, 0.15, 0.1]), np.array([0.1, 0.45, 0.2, 0.15, 0.1])
    assert judge_mix([night(1, one)], night(2, other), THRESHOLDS).drift
    restless = [night(seed, one if seed % 2 else other) for seed in range(6)]
    assert not judge_mix(restless, night(9, other), THRESHOLDS).drift


def test_a_class_that_is_new_counts():
    mix = judge_mix([{("1", "a"): 200}], {("1", "a"): 100, ("2", "b"): 100}, THRESHOLDS)
    assert mix.drift
    assert mix.distance == 0.5


def test_nothing_has_no_mix():
    assert not judge_mix([{}], {("1", "a"): 9}, THRESHOLDS).drift
