"""Tails in memory count what `compare` counts of the same rows."""

from __future__ import annotations

import numpy as np
import pytest

from support.tail_flags import Flags, flags, stack, watched
from transforms.core.drift import monitor
from transforms.core.drift.evidence import Statistic
from transforms.core.drift.places import ANYWHERE, NUMBERS, Places
from transforms.core.drift.tails import LEVELS, Exceedances, Units

PLACES = Places(8)
CELLS = PLACES.side**2
POSITIONS, STATISTICS = watched(PLACES)


def values(count: int, seed: int) -> np.ndarray:
    """Returns rows with heavy tails, and cells in which next to nothing happens."""
    rng = np.random.default_rng(seed)
    scale = np.where(np.arange(CELLS) < 8, 1e-9, rng.uniform(0.5, 2, CELLS))
    columns = {"signed_grid": rng.standard_t(2.5, (count, CELLS)) * scale, "grid": rng.dirichlet(np.ones(CELLS), count)}
    return PLACES.values(columns | {name: rng.normal(size=count) for name in NUMBERS})


def usual(seed: int) -> Units:
    return Units.of(values(500, seed), PLACES)


@pytest.fixture
def pool() -> tuple[list[np.ndarray], Flags]:
    rows = [values(300, seed) for seed in (1, 2, 3)]
    return rows, stack([flags(each, usual(10 + kind), PLACES) for kind, each in enumerate(rows)])


def test_a_row_is_beyond_all_levels_up_to_its_own_on_its_side():
    units = usual(0)
    row = np.array(units.median)
    row[20] += 7 * units.spread[20]
    row[33] -= 4.5 * units.spread[33]
    found = flags(row[None], units, PLACES)[0]
    above, below = (STATISTICS.index(Statistic(*each)) for each in (("3,5", 1), ("5,2", -1)))
    assert found[above].tolist() == [level < 7 for level in LEVELS]
    assert found[below].tolist() == [level < 4.5 for level in LEVELS]


def test_cells_the_frame_numbers_and_any_place_are_watched_on_both_sides():
    cells = [f"{row},{col}" for row in range(1, 9) for col in range(1, 9)]
    names = [*cells, "frame", *NUMBERS, ANYWHERE]
    assert set(STATISTICS) == {Statistic(name, sign) for name in names for sign in (1, -1)}
    assert len(STATISTICS) == 2 * len(names)


def test_a_drawn_night_counts_as_compare_counts_its_rows(pool):
    rows, flagged = pool
    rng = np.random.default_rng(4)
    many = np.array([50, 0, 80])
    drawn = np.concatenate(
        [flagged.starts[kind] + rng.integers(0, 300, (2, each)) for kind, each in enumerate(many)], axis=1
    )
    tally = flagged.count(drawn, many)
    assert tally.counts.shape == (2, 3, len(STATISTICS), len(LEVELS))
    for night in range(2):
        counted = Exceedances.zero(3, PLACES)
        for kind, part in enumerate(np.split(drawn[night], np.cumsum(many)[:-1])):
            counted.add(kind, rows[kind][part - flagged.starts[kind]], usual(10 + kind), PLACES)
        assert (tally.counts[night] == counted.counts[:, POSITIONS]).all()
        assert (tally.rows[night] == counted.rows).all()
    assert tally.counts.sum() > 100  # the rows have tails


def test_quiet_nights_drawn_from_rows_add_up_to_less_than_their_number(pool):
    """The rows of a class have tails in many cells together, unlike the model: the average sum must not mind."""
    _, flagged = pool
    rng = np.random.default_rng(5)
    many, years, nights = np.full(3, 100), 50, 20

    def draw() -> np.ndarray:
        return np.concatenate([start + rng.integers(0, 300, (years, 100)) for start in flagged.starts[:-1]], axis=1)

    references = flagged.count(draw(), many)
    for _ in range(29):
        references = references + flagged.count(draw(), many)
    state, total = monitor.start(references, 30), 0.0
    for night in range(1, nights + 1):
        tally = flagged.count(draw(), many)
        total += float(monitor.e_values(monitor.predict(state, tally.rows), tally).mean())
        state = monitor.advance(state, tally)
        assert state.average.mean() <= night
    assert 0.1 < total / nights <= 1
