"""Tails: pictures that look where the reference's hardly ever do are counted, and only these are a change.

Rows are drawn with heavy tails that differ from cell to cell, as those of networks do.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from transforms.core.drift.places import AGAINST, ANYWHERE, FOR, SHARE, Places
from transforms.core.drift.power import ClassTest
from transforms.core.drift.tails import (
    LEVELS,
    Exceedances,
    Rates,
    TailLimits,
    Units,
    beyond,
    count_tests,
    judge_tails,
)

SIDE = 8
PLACES = Places(SIDE)
CLASSES = 6
LIMITS = TailLimits(p_value=0.002, pictures=4, share=0.003, ratio=2.0)
CORNER = (7, 0)
CELL = CORNER[0] * SIDE + CORNER[1]


def make_values(rows: int, seed: int) -> np.ndarray:
    """Returns the values of a class's rows; cells differ in spread, and in how heavy their tails are."""
    rng = np.random.default_rng(seed)
    spreads, freedom = np.random.default_rng(5).lognormal(-6, 0.5, SIDE**2), 4 + 8 * np.random.default_rng(6).random(64)
    return describe(rng.standard_t(freedom, (rows, SIDE**2)) * spreads, rng)


def describe(signed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grid = rng.dirichlet(np.full(SIDE**2, 20), len(signed))
    numbers = {"border_share": rng.normal(0.4, 0.05, len(signed)), "gini": rng.normal(0.6, 0.05, len(signed))}
    return PLACES.values({"signed_grid": signed, "grid": grid, **numbers})


def plant(values: np.ndarray, pictures: int, by: float = 0.1) -> np.ndarray:
    """Returns the values with some pictures resting on the corner."""
    signed = values[:, : SIDE**2].copy()
    signed[:pictures, CELL] += by
    return describe(signed, np.random.default_rng(1))


def count(nights: list[list[np.ndarray]], units: list[Units]) -> list[Exceedances]:
    counted = []
    for night in nights:
        counts = Exceedances.zero(CLASSES, PLACES)
        for number, values in enumerate(night):
            counts.add(number, values, units[number], PLACES)
        counted.append(counts)
    return counted


def draw(rows: int, seed: int, references: int = 1) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """Returns reference nights and a candidate, by class."""
    nights = [
        [make_values(rows, 1000 * seed + 100 * night + number) for number in range(CLASSES)]
        for night in range(references + 1)
    ]
    return nights[1:], nights[0]


def find(references: list[list[np.ndarray]], candidate: list[np.ndarray]):  # type: ignore[no-untyped-def]
    units = [Units.of(np.concatenate([night[number] for night in references]), PLACES) for number in range(CLASSES)]
    here, *there = count([candidate, *references], units)
    return judge_tails(there, here, PLACES, LIMITS)


def test_places_add_up_the_cells_that_they_name() -> None:
    signed = np.random.default_rng(0).normal(size=(3, SIDE**2)).astype(np.float32)
    values = describe(signed, np.random.default_rng(0))
    assert len(PLACES.all) == len(PLACES.kinds) == 2 * (64 + 49 + 1) + 64 + 2 * 2 + 2
    for position, place in enumerate(PLACES.all[: values.shape[1]]):
        if place.side == FOR:
            cells = [row * SIDE + col for row, col in place.cells]
            np.testing.assert_allclose(values[:, position], signed[:, cells].sum(axis=1), rtol=0, atol=1e-5)
    against = [place for place in PLACES.all if place.side == AGAINST and place.cells]
    assert [place.cells for place in against] == [
        place.cells for place in PLACES.all if place.side == FOR and place.cells
    ]


def test_pictures_beyond_a_level_are_those_that_a_loop_finds() -> None:
    values = make_values(200, 3)
    values[7] = np.nan
    units = Units.of(make_values(300, 4), PLACES)
    counts = Exceedances.zero(1, PLACES)
    counts.add(0, values, units, PLACES)
    away = np.delete((values - units.median) / units.spread, 7, axis=0)
    high = 0
    for position, place in enumerate(PLACES.all):
        if place.name == ANYWHERE:
            cells = away[:, : SIDE**2]
            distance = cells.max(axis=1) if place.side == FOR else -cells.min(axis=1)
        elif position < away.shape[1]:
            distance = away[:, position]
        else:
            matching = next(
                number
                for number, other in enumerate(PLACES.all)
                if (other.name, other.cells) == (place.name, place.cells) and other.side != SHARE
            )
            distance = -away[:, matching]
        for level, least in enumerate(LEVELS):
            assert counts.counts[0, position, level] == (distance > least).sum(), (place, least)
            high += counts.counts[0, position, level]
    assert counts.rows[0] == 199 and high > 100


def test_counts_of_parts_are_those_of_all_rows() -> None:
    values, units = make_values(300, 5), [Units.of(make_values(300, 6), PLACES)] * CLASSES
    (whole,) = count([[values] * CLASSES], units)
    parts = count([[values[:120]] * CLASSES, [values[120:]] * CLASSES], units)
    joined = parts[0].join(parts[1])
    np.testing.assert_array_equal(joined.counts, whole.counts)
    np.testing.assert_array_equal(joined.rows, whole.rows)


def test_a_place_where_nothing_happens_has_the_spread_of_the_median_place() -> None:
    values = make_values(300, 7)
    values[:, 0] = 0
    units = Units.of(values, PLACES)
    cells = values[:, : SIDE**2]
    spreads = 1.4826 * np.median(np.abs(cells - np.median(cells, axis=0)), axis=0)
    assert spreads[0] == 0
    np.testing.assert_allclose(units.spread[0], np.median(spreads), rtol=1e-6)  # float32
    assert (beyond(values, units, PLACES)[1] != 0).all()


def test_units_of_no_known_row_are_refused() -> None:
    with pytest.raises(ValueError, match="no row of the class"):
        Units.of(np.full((5, 180), np.nan), PLACES)


def test_p_values_are_those_of_a_negative_binomial_distribution() -> None:
    shape, size, rows = 1.7, 900.0, 400
    rates = Rates(np.full((1, 3, 2), shape), np.full((1, 3, 2), size))
    night = Exceedances(np.array([rows]), np.array([[[5, 4], [9, 3], [0, 30]]]))
    expected = stats.nbinom.sf(night.counts - 1, shape, size / (size + rows))
    found = rates.p_values(night, least=4)
    assert found[0, 1, 1] == found[0, 2, 0] == 1  # fewer than the least
    enough = night.counts >= 4
    np.testing.assert_allclose(found[enough], expected[enough], rtol=1e-10)


@pytest.mark.parametrize("references", [1, 3])
def test_a_few_pictures_that_rest_on_a_corner_are_found_there(references: int) -> None:
    there, here = draw(400, 1, references)
    here[2] = plant(here[2], 12)
    found = find(there, here)
    (first, *_) = found[2]
    assert first.cells == [list(CORNER)] and first.side == FOR
    assert (first.candidate, first.candidate_rows) == (12, 400)
    assert (first.reference, first.reference_rows) == (0, 400 * references)
    assert first.p_value < 1e-6 and first.expected < 1
    assert not any(tail.name == ANYWHERE or list(CORNER) in tail.cells for tail in found[2][1:])
    assert not any(found[:2] + found[3:])


def test_pictures_that_each_rest_on_another_place_are_found_without_one() -> None:
    there, here = draw(400, 2)
    signed = here[4][:, : SIDE**2].copy()
    signed[np.arange(24), np.arange(24) * 2] += 0.1
    here[4] = describe(signed, np.random.default_rng(1))
    assert [tail.name for tail in find(there, here)[4]] == [ANYWHERE]


def test_quiet_nights_raise_nothing() -> None:
    """At 0.002 for all tails together, 40 nights show one with probability 8 %; these do not."""
    assert not any(any(find(*draw(200, seed))) for seed in range(10, 50))


def test_a_significant_trifle_is_no_change() -> None:
    """5 of 400 beyond what is usual are 1.2 %: a change at a least share of 0.3 %, none at one of 2 %."""
    there, here = draw(400, 3)
    here[1] = plant(here[1], 5)
    units = [Units.of(there[0][number], PLACES) for number in range(CLASSES)]
    candidate, reference = count([here, there[0]], units)
    strict = TailLimits(LIMITS.p_value, LIMITS.pictures, 0.02, LIMITS.ratio)
    assert judge_tails([reference], candidate, PLACES, LIMITS)[1]
    assert not judge_tails([reference], candidate, PLACES, strict)[1]


def test_nights_that_differ_widen_what_is_usual() -> None:
    """Two nights of four show the corner in 12 pictures: a third such night is no surprise, as it is without them."""
    there, here = draw(400, 4, references=4)
    here[0] = plant(here[0], 12)
    assert find(there, here)[0]
    for night in there[:2]:
        night[0] = plant(night[0], 12)
    assert not any(list(CORNER) in tail.cells for tail in find(there, here)[0])


@pytest.mark.parametrize("part", [0.02, 0.25])
def test_the_power_stated_is_that_of_planted_changes(part: float) -> None:
    """Shares of 1, 2 and 5 % are planted 40 times each in random cells: their standard error is at most 0.08."""
    there, (_, *others) = draw(400, 5)
    units = [Units.of(there[0][number], PLACES) for number in range(CLASSES)]
    (reference,) = count(there, units)
    rates = Rates.of([reference], PLACES)
    signed = there[0][0][:, : SIDE**2]
    test = ClassTest(signed, units[0], rates, 0, 400, CLASSES * reference.counts[0].size, LIMITS)
    assert count_tests(reference) == test.tests
    shares = (0.01, 0.02, 0.05)
    stated, rng = test.noticed(part, shares), np.random.default_rng(8)
    assert (np.diff(stated) >= 0).all()
    for share, expected in zip(shares, stated, strict=True):
        noticed = 0
        for trial in range(40):
            drawn = make_values(400, 60 + trial)
            cell, cells = int(rng.integers(SIDE**2)), drawn[:, : SIDE**2].copy()
            rows = slice(0, round(share * 400))
            cells[rows] *= 1 - part
            cells[rows, cell] += part
            (candidate,) = count([[describe(cells, rng), *others]], units)
            tails = judge_tails([reference], candidate, PLACES, LIMITS)[0]
            noticed += any([cell // SIDE, cell % SIDE] in tail.cells for tail in tails)
        assert abs(noticed / 40 - expected) <= 0.25, (share, noticed, expected)
