"""Years of nights: how often `ig-audit monitor` raises a false alarm, and how soon a true one.

`python -m benchmarks.years --rows runs/shortcuts/tag.parquet` takes attributions of real pictures that
`benchmarks.shortcuts.prepare` wrote, of a network that learned a tag as a shortcut. Whether a row lies beyond a level
is computed once; a night is a draw of rows, and what follows is the monitor's own code, for many years in step.

A class's rows are split into halves. The units of a class, and nothing else, come from the first half. From the second
come reference nights and nights alike, by drawing pictures with replacement: independent, and of one population, as the
guarantee assumes. Other ways of drawing break that in known ways:

- `halves`: references from the first half, nights from the second. Each is about 2,000 pictures of a class, which come
  again every few nights, so that what the halves differ in by chance lasts for the whole year;
- `halves, counted once`: the same, but the references say how many different pictures they are of;
- `again`: half of each night's pictures were there the night before;
- `weekdays`: on two of seven days, half as many pictures of every other class come, and more of low scores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.special import gammaincinv

from benchmarks.common import table, write_json
from support.tail_flags import Flags, flags, stack
from transforms.core.drift import monitor
from transforms.core.drift.evidence import Tally
from transforms.core.drift.places import COLUMNS, Places
from transforms.core.drift.tails import Units
from transforms.core.vocabulary import VECTORS
from transforms.store.schema import matrix

_WEEKEND = 5
_HARDER = 1.5  # exponent of a uniform number: the lower half of the scores makes up 63 % instead of 50 %
_AGAIN = 0.5
_QUIET_BEFORE = 10
_LONGEST = 60


@dataclass(frozen=True)
class Pool:
    """Rows of all classes with their flags, in units of the first half.

    Attributes:
        first: the rows of the first half, each class's in the order of their scores.
        second: the rows of the second half, the same way.
        both: the second half with rows of the target class that carry the plant behind it, as a class of their own.
        target: position of the class with the plant.
        place: statistic that the plant is expected at.
    """

    first: Flags
    second: Flags
    both: Flags
    target: int
    place: int


@dataclass(frozen=True)
class Scenario:
    """How nights are drawn.

    Attributes:
        name: of the row in the table.
        years: how many are simulated.
        halves: references come from the first half.
        once: the references count as the different pictures that they are of.
        again: share of a night's pictures that were there the night before.
        weekdays: weekends differ.
    """

    name: str
    years: int
    halves: bool = False
    once: bool = False
    again: float = 0.0
    weekdays: bool = False


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", required=True, help="Parquet file of benchmarks.shortcuts.prepare")
    parser.add_argument("--years", type=int, default=1000, help="quiet years with independent pictures")
    parser.add_argument("--other_years", type=int, default=200, help="of each way that breaks the assumption")
    parser.add_argument("--pictures", type=int, nargs="+", default=[500, 100], help="of a class and night")
    parser.add_argument("--references", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=200, help="of each delay")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.005, 0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--false_alarms_per_year", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    pool = read_pool(options.rows, options.seed)
    quiet = [_false_alarms(pool, scenario, options) for scenario in scenarios(options)]
    delays = [_delay(pool, share, rows, options) for rows in options.pictures for share in options.shares]
    for rows in (quiet, delays):
        print(table(rows) if rows else "", end="\n\n")
    write_json(options.json, {"quiet": quiet, "delays": delays})


def scenarios(options: argparse.Namespace) -> Iterator[Scenario]:
    """Yields the ways of drawing quiet years."""
    if options.years:
        yield Scenario("independent", options.years)
    if options.other_years:
        yield Scenario("halves", options.other_years, halves=True)
        yield Scenario("halves, counted once", options.other_years, halves=True, once=True)
        yield Scenario("again", options.other_years, again=_AGAIN)
        yield Scenario("weekdays", options.other_years, weekdays=True)


def read_pool(path: str, seed: int) -> Pool:
    """Returns the rows of a file that `benchmarks.shortcuts.prepare` wrote, split at random into halves."""
    rows = pq.read_table(path, columns=["image_id", "label", "score", *COLUMNS])
    plain = np.char.startswith(np.array(rows.column("image_id").to_pylist()), "plain#")
    labels, scores = rows.column("label").to_numpy(), rows.column("score").to_numpy()
    columns = {name: matrix(rows, name) if name in VECTORS else rows.column(name).to_numpy() for name in COLUMNS}
    places = Places(round(columns["grid"].shape[1] ** 0.5))
    values = places.values(columns)
    rng = np.random.default_rng(seed)
    target = int(labels[~plain][0])
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    planted = np.empty(0)
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(plain & (labels == label)))
        parts = np.array_split(mine, 2)
        usual = Units.of(values[parts[0]], places)
        for half, part in zip(halves, parts, strict=True):
            half.append(flags(values[part[np.argsort(scores[part])]], usual, places))
        if label == target:
            planted = flags(values[~plain], usual, places)
    place = int((planted[..., -1].mean(axis=0) - halves[0][target][..., -1].mean(axis=0)).argmax())
    return Pool(stack(halves[0]), stack(halves[1]), stack([*halves[1], planted]), target, place)


class Nights:
    """Draws of nights, for many years in step."""

    def __init__(self, source: Flags, years: int, pictures: int, scenario: Scenario, rng: np.random.Generator) -> None:
        self._source, self._years, self._scenario, self._rng = source, years, scenario, rng
        self._pictures = np.full(len(source.sizes), pictures)
        self._last: np.ndarray | None = None

    def draw(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions of rows, `[years, pictures]`, and how many are of each class."""
        weekend = self._scenario.weekdays and day % 7 >= _WEEKEND
        rows = np.where(weekend & (np.arange(len(self._pictures)) % 2 == 1), self._pictures // 2, self._pictures)
        chance = self._rng.random((self._years, int(rows.sum())), np.float32)
        if weekend:
            chance **= _HARDER
        size = np.repeat(self._source.sizes, rows)
        drawn = np.minimum((chance * size).astype(np.int32), size - 1) + np.repeat(self._source.starts[:-1], rows)
        if self._scenario.again and self._last is not None:
            drawn = np.where(self._rng.random(drawn.shape, np.float32) < self._scenario.again, self._last, drawn)
        self._last = drawn
        return drawn, rows

    def count(self, day: int) -> Tally:
        """Returns the counts of a night of every year."""
        return self._source.count(*self.draw(day))


def begin(nights: Nights, references: int, different: np.ndarray | None = None) -> monitor.State:
    """Returns the state after `references` approved nights, the days before day 0.

    Args:
        nights: where the references come from.
        references: how many.
        different: how many different pictures of each class they are of; None if that is not known.
    """
    tallies = [nights.count(day) for day in range(-references, 0)]
    total = tallies[0]
    for tally in tallies[1:]:
        total = total + tally
    if different is not None:
        share = np.minimum(different / total.rows, 1)
        total = Tally(total.counts * share[..., None, None], total.rows * share)
    return monitor.start(total, references)


def _blocks(count: int, size: int = 25) -> Iterator[tuple[int, int]]:
    for number, first in enumerate(range(0, count, size)):
        yield number, min(size, count - first)


def _false_alarms(pool: Pool, scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    started, alarms = time.process_time(), 0
    average = 0.0
    for number, years in _blocks(scenario.years):
        rng = np.random.default_rng([options.seed, number])
        source = pool.first if scenario.halves else pool.second
        different = source.sizes if scenario.once else None
        state = begin(Nights(source, years, options.pictures[0], scenario, rng), options.references, different)
        nights = Nights(pool.second, years, options.pictures[0], scenario, rng)
        for day in range(monitor.NIGHTS_PER_YEAR):
            state = monitor.advance(state, nights.count(day))
            raised = state.average >= monitor.threshold(options.false_alarms_per_year)
            if raised.any():
                alarms += int(raised.sum())
                state = monitor.restart(state, raised)
        average += float(state.average.sum())
        print(f"{scenario.name}: {alarms} alarms, {time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    low, high = interval(alarms)
    return {
        "pictures": scenario.name,
        "years": scenario.years,
        "false alarms": alarms,
        "a year": round(alarms / scenario.years, 4),
        "from": round(low / scenario.years, 4),
        "to": round(high / scenario.years, 4),
        "average sum at the end": round(average / scenario.years, 1),
        "processor seconds": round(time.process_time() - started),
    }


def interval(count: int) -> tuple[float, float]:
    """Returns the exact 95 % interval of a Poisson mean of which `count` was seen (Garwood 1936).

    >>> [round(float(end), 2) for end in interval(3)]
    [0.62, 8.77]
    """
    return (float(gammaincinv(count, 0.025)) if count else 0.0), float(gammaincinv(count + 1, 0.975))


def _delay(pool: Pool, share: float, pictures: int, options: argparse.Namespace) -> dict[str, Any]:
    """Returns how many nights pass from a change to its alarm, that of the first night with the change being 1."""
    delays, named, growth = [], [], []
    for number, repeats in _blocks(options.repeats):
        rng = np.random.default_rng([options.seed, number, pictures])
        nights = Nights(pool.second, repeats, pictures, Scenario("", 0), rng)
        state = begin(nights, options.references)
        for day in range(_QUIET_BEFORE):
            state = monitor.advance(state, nights.count(day))
        waited = np.full(repeats, _LONGEST + 1)
        for night in range(1, _LONGEST + 1):
            tally = _with_plants(pool, nights, share, rng)
            if night == 1:
                e_values = monitor.e_values(monitor.predict(state, tally.rows), tally)
                growth.append(np.log(e_values[:, pool.target]))
            state = monitor.advance(state, tally)
            raised = (state.average >= monitor.threshold(options.false_alarms_per_year)) & (waited > _LONGEST)
            waited[raised] = night
            named += [_names(pool, sums) for sums in state.sums[raised]]
            if (waited <= _LONGEST).all():
                break
        delays.append(waited)
    waited = np.concatenate(delays)
    best = float(np.concatenate(growth).mean(axis=0).max())
    needed = np.log(monitor.threshold(options.false_alarms_per_year) * state.sums[0].size)
    median = np.median(waited)
    print(f"{pictures} pictures, {share:.1%}: {median:g}", file=sys.stderr, flush=True)
    return {
        "pictures of a class": str(pictures),
        "share": f"{share:.1%}",
        "median nights": f"{median:g}" if median <= _LONGEST else f"> {_LONGEST}",
        "90 % within": f"{np.quantile(waited, 0.9):g}" if np.quantile(waited, 0.9) <= _LONGEST else f"> {_LONGEST}",
        "bound": f"{max(1.0, needed / best):.1f}" if best > 0 else "none",
        "class and place named": f"{np.mean(named):.0%}" if named else "-",
    }


def _with_plants(pool: Pool, nights: Nights, share: float, rng: np.random.Generator) -> Tally:
    """Returns the counts of a night in which a share of the target's pictures carries the plant."""
    drawn, rows = nights.draw(0)
    first = int(rows[: pool.target].sum())
    part = slice(first, first + int(rows[pool.target]))
    carry = rng.random((len(drawn), part.stop - part.start)) < share
    planted = pool.both.starts[-2] + rng.integers(0, pool.both.sizes[-1], carry.shape)
    drawn = drawn.copy()
    drawn[:, part] = np.where(carry, planted, drawn[:, part])
    return pool.both.count(drawn, rows)


def _names(pool: Pool, sums: np.ndarray) -> bool:
    """Returns whether the largest sum is that of the planted class and place."""
    kind, statistic, _ = np.unravel_index(sums.argmax(), sums.shape)
    return bool(kind == pool.target and statistic == pool.place)


if __name__ == "__main__":
    main()
