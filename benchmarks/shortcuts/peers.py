"""What others would say about the same nights: Evidently, alibi-detect, and the rule of SageMaker Clarify.

Each gives scores of its units: a class, or a column of it. Its largest score is compared with the largest one of quiet
nights that are drawn apart, so that all have the same false alarms. Distances are first standardized, unit by unit, by
the quiet nights: units differ in how far they stray. Peers are not asked to name a class or place.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.contenders.environment import make_drift_environment
from benchmarks.contenders.two_samples import Client, Sample, by_class
from benchmarks.shortcuts.trials import Cell, Outcome, Results, night_chance, reference_chance
from support.planted_nights import Pool, draw_night, draw_references, to_arrays
from transforms.core.drift.distance import ndcg

QUIET = 1_000_000
"""Number of the first of the quiet nights that set thresholds; those of the table begin with 0."""


@dataclass(frozen=True)
class Peer:
    """A detector of others.

    Attributes:
        program: its module in `benchmarks.contenders`; empty if it runs here.
        name: of the detector there.
        standardized: whether its scores are distances, whose units differ.
    """

    program: str
    name: str
    standardized: bool


DETECTORS = {
    "evidently": Peer("evidently", "default", False),
    "evidently-wasserstein": Peer("evidently", "wasserstein", True),
    "evidently-jensenshannon": Peer("evidently", "jensenshannon", True),
    "mmd": Peer("alibi_detect", "mmd", True),
    "lsdd": Peer("alibi_detect", "lsdd", True),
    "classifier": Peer("alibi_detect", "classifier", False),
    "clarify": Peer("", "ndcg", False),
}
"""Detectors by the names of `--detector`."""


def judge(
    detector: str, cells: Sequence[Cell], pool: Pool, results: Results, nights: tuple[int, int], folder: Path
) -> None:
    """Scores what was not scored yet, all references together.

    Args:
        detector: one of DETECTORS.
        cells: rows of the table.
        pool: of the network.
        results: where scores are kept.
        nights: how many of each cell, and how many quiet ones to set the threshold by.
        folder: for files that are passed to the program.
    """
    wanted = [(cell, night) for cell in cells for night in range(nights[0])]
    wanted += [(quiet, QUIET + night) for quiet in dict.fromkeys(map(_quiet, cells)) for night in range(nights[1])]
    wanted = [(cell, night) for cell, night in wanted if not results.has(cell, night)]
    if not wanted:
        return
    score, close = _start(DETECTORS[detector], folder)
    for cell, night in wanted:
        references = draw_references(pool, cell.rows, cell.references, reference_chance(night))
        candidate = draw_night(pool, cell.rows, cell.share, night_chance(night))
        scores, seconds = score(_sample(pa.concat_tables(references)), _sample(candidate))
        results.add(cell, night, Outcome(scores=tuple(float(f"{each:.6g}") for each in scores), seconds=seconds))
    close()
    print(f"{detector}: {len(wanted)} nights scored", file=sys.stderr, flush=True)


def with_alarms(cell: Cell, outcomes: Sequence[Outcome], results: Results) -> list[Outcome]:
    """Returns the outcomes of a cell's nights with alarms, by the threshold that the quiet nights in `results` set."""
    kept = results.outcomes[_quiet(cell)]
    quiet = np.array([outcome.scores for night, outcome in kept.items() if night >= QUIET])
    scores = np.array([outcome.scores for outcome in outcomes])
    found = alarms(scores, quiet, DETECTORS[cell.detector].standardized)
    return [dataclasses.replace(one, alarm=alarm) for one, alarm in zip(outcomes, found.tolist(), strict=True)]


def alarms(scores: np.ndarray, quiet: np.ndarray, standardized: bool) -> np.ndarray:
    """Returns which nights have a score that is larger than all of all quiet nights, bool `[nights]`.

    Args:
        scores: of nights, float `[nights, units]`.
        quiet: of quiet nights, float `[quiet nights, units]`.
        standardized: whether units are first standardized by the quiet nights; those that hardly vary are left out.
    """
    if standardized:
        varies = [len(np.unique(unit)) > 2 for unit in quiet.T]  # without any one night, too
        scores, quiet = scores[:, varies], quiet[:, varies]
        # each quiet night by the others, as the nights that are judged: by itself it would be less far from usual
        others = (np.delete(quiet, night, axis=0) for night in range(len(quiet)))
        scores, quiet = _standardize(scores, quiet), np.array(list(map(_standardize, quiet, others)))
    return scores.max(axis=1) > quiet.max()


def _standardize(scores: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    return (scores - quiet.mean(axis=0)) / quiet.std(axis=0, ddof=1)


def clarify(reference: Sample, candidate: Sample) -> np.ndarray:
    """Returns 1 − nDCG of the ranking of the cells of each class, float `[classes]`: Clarify alerts over 0.1."""
    pairs = by_class(reference.labels, candidate.labels)
    return np.array(
        [
            1 - ndcg(reference.absolute[here].mean(axis=0), candidate.absolute[there].mean(axis=0))
            for here, there in pairs
        ]
    )


def _quiet(cell: Cell) -> Cell:
    return dataclasses.replace(cell, share=0)


def _sample(rows: pa.Table) -> Sample:
    arrays = to_arrays(rows)
    return Sample(arrays.labels, arrays.signed, arrays.absolute, arrays.scalars)


_Score = Callable[[Sample, Sample], tuple[Sequence[float], float]]


def _start(peer: Peer, folder: Path) -> tuple[_Score, Callable[[], None]]:
    """Returns what scores a night, and what ends it."""
    if peer.program:
        client = Client(peer.program, make_drift_environment(peer.program), folder)
        return lambda reference, candidate: client.scores(peer.name, reference, candidate), client.close

    def score(reference: Sample, candidate: Sample) -> tuple[Sequence[float], float]:
        start = time.perf_counter()
        return clarify(reference, candidate).tolist(), time.perf_counter() - start

    return score, lambda: None
