"""What few steps cost in precision, in the summary, and means with their intervals on the page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.precision import QuadratureVariance, quadrature_variance
from pipeline.report.means import Mean, with_interval
from tests.pipeline.job import pictures, png, rows_of, run
from tests.saved_models import smooth
from tests.shards import write_tar
from transforms.store.run import Run


def test_fewer_steps_take_more_pictures():
    known = QuadratureVariance(0.2, 100, 8)
    assert known.pictures(8) == pytest.approx(1)
    assert known.pictures(1e9) == pytest.approx(0.8)  # exact maps
    assert 1.3 < known.pictures(4) < 1.8
    assert "20% of the variance" in known.sentence
    assert "narrow the intervals of cells by 11%" in known.sentence  # 1 − √0.8
    assert "4 steps on about" in known.sentence


def test_one_step_cannot_be_halved():
    assert "times as many pictures" not in QuadratureVariance(0.7, 100, 1).sentence


def test_a_mean_is_the_corrected_one_if_there_is_one():
    row = {"mean_gini": 0.5, "low95_gini": 0.4, "high95_gini": 0.6}
    assert Mean.of(row, "gini") == Mean(0.5, 0.4, 0.6)
    corrected = {"mean_corrected_gini": 0.7, "low95_corrected_gini": 0.6, "high95_corrected_gini": 0.8}
    assert Mean.of(row | corrected, "gini") == Mean(0.7, 0.6, 0.8, raw=0.5)
    assert Mean.of({"mean_gini": 0.5}, "gini") == Mean(0.5)  # of version 0.1.0


def test_a_mean_is_shown_with_half_of_its_interval():
    shown = str(with_interval({"mean_gini": 0.5, "low95_gini": 0.375, "high95_gini": 0.625}, "gini"))
    assert shown.startswith("50.0% <span") and "± 12.5%" in shown and "37.5% to 62.5%" in shown
    assert str(with_interval({"mean_gini": None}, "gini")) == "–"


@pytest.fixture(scope="module")
def few_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    model, shard = smooth(folder / "smooth"), folder / "a.tar"
    write_tar(shard, {f"{number}.png": png(image) for number, image in enumerate(pictures(60))})
    few = {"rule": "shifted", "steps": 2, "second_share": 1, "reference_share": 1}
    assert run(folder / "run", input=shard, model=model, **few) == 0
    return folder / "run"


def test_the_share_of_quadrature_is_that_of_its_rows(few_steps):
    rows = rows_of(few_steps)
    known = quadrature_variance(Run.open(str(few_steps)))
    assert known is not None and known.rows <= len(rows) == 60 and known.steps == 2
    made = within = 0.0
    targets = Counter(row["target"] for row in rows)
    assert min(targets.values()) < 10 < max(targets.values())  # small classes do not count
    for target in (each for each, count in targets.items() if count >= 10):
        cells, again = (
            np.array([row[name] for row in rows if row["target"] == target], float)
            for name in ("cells", "second_cells")
        )
        made += len(cells) * ((cells - again) ** 2).mean(axis=0).sum() / 2
        within += len(cells) * cells.var(axis=0).sum()
    assert known.share == pytest.approx(made / within)


def test_the_page_has_the_intervals_and_the_sentence(few_steps, tmp_path):
    assert main(["report", str(few_steps), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Behind ± is half of a mean&#39;s 95 % interval" in page or "95 % interval" in page
    assert "of the variance between pictures of a class" in page
    (whole,) = Run.open(str(few_steps)).statistics(["mean_corrected_gini"], kind="all").to_pylist()
    shown = re.search(r"Concentration \(Gini\)</dt><dd>([0-9.]+) <span", page)
    assert shown and float(shown[1]) == pytest.approx(whole["mean_corrected_gini"], abs=1e-3)
