"""How often 95 % intervals hold the truth: `python -m benchmarks.effort.coverage --data DIR`.

Runs are redrawn from rows that have both maps, whose means are the truth: additive means are those of all few-step
maps, corrected ones those of all maps to tolerance. Slices of 50 and more accurate maps correct themselves; those of
fewer borrow from classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import table, write_json
from benchmarks.effort import rows as pools
from transforms.core.statistics.corrected import corrected, pooled_bias
from transforms.core.statistics.interval import Estimate, controlled, estimates
from transforms.core.statistics.joint import JointMoments
from transforms.core.statistics.moments import Groups, Moments
from transforms.core.vocabulary import CORRECTED, REFERENCE
from transforms.store.schema import matrix, shape_of

SCALARS = ("gini", "entropy", "border_share", "positive_share", "center_row", "center_col")
BORROWING_ROWS = 100
"""Of each class, in the runs whose slices borrow; two in a hundred have an accurate map."""


@dataclass(frozen=True)
class Values:
    """A number or a vector of rows, float64 `[rows, elements]`, of few steps and of maps to tolerance."""

    few: np.ndarray
    accurate: np.ndarray


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    pools.add_arguments(parser)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 500, 5000], help="of a slice")
    parser.add_argument("--known", type=int, nargs="+", default=[60, 60, 100], help="accurate maps of such a slice")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    _, stored = pools.pool(options)
    plain = stored.filter(pa.compute.starts_with(stored.column("image_id"), "plain"))
    found = [*_slices(plain, options), *_borrowing(plain, options)]
    print(table(found))
    write_json(options.json, found)


def _slices(stored: pa.Table, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    values = {name: _values(stored, name) for name in CORRECTED if name in ("cells", "grid", *SCALARS)}
    residual = stored.column("convergence_delta").to_numpy().astype(np.float64)
    cells = values["cells"].few
    for count, known in zip(options.rows, options.known, strict=True):
        rng = np.random.default_rng(count)
        draws = [rng.integers(0, len(stored), count) for _ in range(options.draws)]
        yield _row("cells", count, draws, cells, lambda chosen: estimates(_moments(cells[chosen])))
        yield _row(
            "cells, controlled", count, draws, cells, lambda chosen: controlled(_pair(cells[chosen], residual[chosen]))
        )
        for name, value in values.items():
            if name != "cells":
                yield _row(f"corrected {name}", count, draws, value.accurate, _corrector(value, known), known)


def _borrowing(stored: pa.Table, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the coverage in a class of a run of all classes, which borrows the bias of the others, and of its own."""
    labels = stored.column("label").to_numpy()
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for name in SCALARS:
        value, rng, held, widths = _values(stored, name), np.random.default_rng(7), [], []
        truths = [value.accurate[rows].mean() for rows in members]
        for _ in range(options.draws):
            few = [rng.choice(rows, BORROWING_ROWS) for rows in members]
            pairs = [_pair(*_masked(value, rows, 20)) for rows in few]  # as a share of 0.2 leaves of each class
            mine = int(rng.integers(len(members)))
            (found,) = corrected(_moments(value.few[few[mine]]), pairs[mine], pooled_bias(pairs))
            if found and found.error is not None:
                held.append(found.low <= truths[mine] <= found.high)  # type: ignore[operator]
                widths.append(found.error)
        yield {
            "mean": f"borrowed {name}",
            "rows": BORROWING_ROWS,
            "accurate maps": 20,
            "held, %": 100 * float(np.mean(held)),
            "least of an element, %": 100 * float(np.mean(held)),
            "standard error": f"{np.median(widths):.2g}",
        }


def _row(
    name: str,
    count: int,
    draws: Sequence[np.ndarray],
    truth: np.ndarray,
    estimator: Callable[[np.ndarray], Sequence[Estimate | None]],
    known: int = 0,
) -> dict[str, Any]:
    """Returns how often intervals hold the mean of `truth` `[rows, elements]`, over draws and elements."""
    means = truth.mean(axis=0)
    held, errors = [], []
    for chosen in draws:
        found = estimator(chosen)
        held.append(
            [each is not None and each.low <= mean <= each.high for each, mean in zip(found, means, strict=True)]
        )
        errors.append([each.error for each in found if each is not None])
    return {
        "mean": name,
        "rows": count,
        "accurate maps": known,
        "held, %": 100 * float(np.mean(held)),
        "least of an element, %": 100 * float(np.mean(held, axis=0).min()),
        "standard error": f"{np.median(errors):.2g}",
    }


def _corrector(value: Values, known: int) -> Callable[[np.ndarray], Sequence[Estimate | None]]:
    def correct(chosen: np.ndarray) -> Sequence[Estimate | None]:
        joint = _pair(*_masked(value, chosen, known))
        return corrected(_moments(value.few[chosen]), joint, [None] * value.few.shape[1])

    return correct


def _masked(value: Values, chosen: np.ndarray, known: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the accurate values of the first rows, and those of few steps; rows are in no order."""
    has = np.arange(len(chosen)) < known
    return np.where(has[:, None], value.accurate[chosen], np.nan), value.few[chosen]


def _values(stored: pa.Table, name: str) -> Values:
    return Values(*(_matrix(stored, column) for column in (name, REFERENCE + name)))


def _matrix(stored: pa.Table, name: str) -> np.ndarray:
    if shape_of(stored.field(name)):
        return matrix(stored, name).astype(np.float64)
    return stored.column(name).to_numpy().astype(np.float64)[:, None]


def _moments(values: np.ndarray) -> Moments:
    return Moments.grouped(values, _one(values))[0]


def _pair(one: np.ndarray, other: np.ndarray) -> JointMoments:
    return JointMoments.grouped(one, other.reshape(len(other), -1), _one(one))[0]


def _one(values: np.ndarray) -> Groups:
    return Groups.of([range(len(values))])


if __name__ == "__main__":
    main()
