"""A report of Evidently says of each column what the benchmark takes its tests to say.

The same functions compute both, so that they are equal but for the last bits of a sum in another order: 1e-9.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evidently import Report
from evidently.presets import DataDriftPreset

from benchmarks.contenders.evidently import drift
from benchmarks.contenders.two_samples import Sample

ROWS, CELLS = 120, 4


def sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    cells = (2 * ROWS, CELLS)
    return Sample(np.repeat([3, 5], ROWS), rng.normal(size=cells), rng.random(cells), rng.normal(size=(2 * ROWS, 2)))


@pytest.mark.parametrize("name", ["", "wasserstein", "jensenshannon"])
def test_a_report_says_the_same_of_each_column_of_a_class(name: str) -> None:
    reference, candidate = sample(0), sample(1)
    candidate.signed[:ROWS, 1] += 1
    scores = drift(reference, candidate, name).reshape(2, -1)
    for code, of_class in zip((3, 5), scores, strict=True):
        frames = [
            pd.DataFrame(np.concatenate([side.signed, side.absolute, side.scalars], axis=1)[side.labels == code])
            for side in (reference, candidate)
        ]
        frames = [frame.rename(columns=str) for frame in frames]
        preset = DataDriftPreset(num_method=name) if name else DataDriftPreset()
        found = Report([preset]).run(frames[1], frames[0]).dict()["metrics"]
        values = {one["config"]["column"]: one["value"] for one in found if "column" in one["config"]}
        reported = np.array([values[str(column)] for column in range(len(of_class))], float)
        expected = reported if name else -np.log10(reported)
        np.testing.assert_allclose(of_class, expected, rtol=1e-9)
    assert scores[0].argmax() == 1
