"""What the page is made of, against answers by hand or by brute force: gallery, charts, maps, words."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from pipeline.report import charts, figures, words
from pipeline.report.charts import Histogram
from pipeline.report.gallery import (
    FarFromMean,
    find_picks,
    highest_border,
    least_converged,
    read_picks,
    wrong_and_confident,
)
from tests.report_run import write_night
from transforms.core.maps.render import BLUE, ORANGE
from transforms.store.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = str(tmp_path_factory.mktemp("report") / "run")
    write_night(folder, 200, chunk_images=37)
    return Run.open(folder)


@pytest.fixture(scope="module")
def rows(run) -> list[dict]:
    tables = [pq.ParquetFile(run.uri_of(part.attributions.name)).read() for part in run.manifest.parts]
    return [row for table in tables for row in table.drop_columns(["attribution"]).to_pylist()]


def pixels(uri: str) -> np.ndarray:
    header, _, content = uri.partition(",")
    assert header in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content))))


MEANS = np.random.default_rng(5).dirichlet(np.ones(64), 4)


def distance_from_mean(row: dict) -> float | None:
    if row["target"] not in (1, 2, 5, 6):
        return None
    return float(np.abs(np.array(row["grid"]) - MEANS[(1, 2, 5, 6).index(row["target"])]).sum() / 2)


@pytest.mark.parametrize(
    ("ranking", "value"),
    [
        (least_converged, lambda row: row["error_estimate"]),
        (highest_border, lambda row: row["border_share"]),
        (wrong_and_confident, lambda row: row["score"] if row["label"] != row["target"] else None),
        (FarFromMean(np.array([1, 2, 5, 6]), MEANS), distance_from_mean),
    ],
)
def test_picks_are_the_highest_of_all_rows(run, rows, ranking, value):
    picks = find_picks(run, {"x": ranking}, 7)["x"]
    expected = sorted((found for row in rows if (found := value(row)) is not None), reverse=True)[:7]
    np.testing.assert_allclose([pick.value for pick in picks], expected, rtol=1e-6)  # float32
    found = read_picks(run, picks)
    for pick in picks:
        drawn = found[pick.part, pick.position]
        row = drawn.row
        assert value(next(r for r in rows if r["image_id"] == row["image_id"])) == pytest.approx(pick.value, rel=1e-6)
        assert row["attribution"].dtype == np.float32


def test_only_some_classes_may_count(run):
    ranking = FarFromMean(np.array([1, 2, 5, 6]), MEANS, only=frozenset({5}))
    picks = find_picks(run, {"x": ranking}, 7)["x"]
    assert {drawn.row["target"] for drawn in read_picks(run, picks).values()} == {5}
    nothing = FarFromMean(np.zeros(0, int), np.zeros((0, 64)))
    assert find_picks(run, {"x": nothing}, 7)["x"] == []


def test_a_map_s_opacity_is_the_share():
    cells = [0.0, 0.1, 0.2, 0.4]
    picture = pixels(figures.map_image(cells, 0.2))
    np.testing.assert_array_equal(picture[:, :, 3].ravel(), [0, 128, 255, 255])
    assert {tuple(color) for color in picture[:, :, :3].reshape(-1, 3)} == {tuple(np.rint(np.array(ORANGE) * 255))}


def test_a_difference_is_orange_for_more_and_blue_for_less():
    picture = pixels(figures.signed_image([-0.2, 0.1, 0.0, 0.2], 0.2))
    np.testing.assert_array_equal(picture[:, :, 3].ravel(), [255, 128, 0, 255])
    np.testing.assert_array_equal(picture[0, 0, :3], np.rint(np.array(BLUE) * 255))
    np.testing.assert_array_equal(picture[1, 1, :3], np.rint(np.array(ORANGE) * 255))


@pytest.mark.parametrize("cells", [[0.0] * 4, [0.25] * 4])
def test_maps_without_change_are_empty(cells):
    assert not pixels(figures.signed_image(np.zeros(4), 0.0))[:, :, 3].any()
    assert pixels(figures.map_image(cells, max(cells)))[:, :, 3].max() == (255 if any(cells) else 0)


def test_bins_hold_every_row_in_its_place():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 10_000)
    edges = np.linspace(-6, 6, 1201)
    counts, _ = np.histogram(values, edges)
    fine = Histogram(edges[:-1], edges[1:], counts.astype(float))
    coarse = np.linspace(-2, 2, 9)
    wanted, _ = np.histogram(np.clip(values, -2, 2 - 1e-9), coarse)
    np.testing.assert_allclose(charts._rebin(fine, coarse), wanted / 10_000, atol=1e-12)


def test_bins_finer_than_buckets_have_no_gaps():
    histogram = Histogram(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(charts._rebin(histogram, np.linspace(0, 2, 9)), [3 / 16] * 4 + [1 / 16] * 4)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.65, 0.78), (24, 89), (7.6, 8.4), (1e-6, 3e-6), (-1e4, 2e6), (0.82, 0.9)]
)
def test_ticks_are_few_round_and_inside(low, high):
    ticks = charts._ticks(low, high)
    assert 3 <= len(ticks) <= 7
    assert low <= min(ticks) and max(ticks) <= high
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_charts_know_constant_numbers_and_marks():
    constant = Histogram(np.array([8.0]), np.array([8.125]), np.array([50.0]))
    svg = str(charts.histogram_chart(constant, None, None))
    assert svg.count("<path") == 1 and "nan" not in svg
    marked = str(charts.histogram_chart(constant, constant, 2.0))
    assert marked.count("<path") == 2
    assert 0 <= float(marked.split('class="mark" x1="')[1].split('"')[0]) < 140  # 2 is left of 8


def test_a_spark_line_has_gaps_and_ends_in_a_dot():
    svg = str(charts.spark_line([0.1, None, 0.5, 0.4]))
    assert svg.count("M") == 2 and svg.count("<circle") == 1
    assert "<circle" not in str(charts.spark_line([0.1, None]))
    assert str(charts.spark_line([None, None])) == ""


def test_noise_looks_like_noise():
    path = str(charts.spark_line([1.0, 1.001, 0.999, 1.0]))
    heights = [float(pair.split()[1]) for pair in path.split('d="M')[1].split('"')[0].split("L")]
    assert max(heights) - min(heights) < 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (-0.0, "0"),
        (512.0, "512"),
        (0.36, "0.360"),
        (-0.25, "−0.250"),
        (12.345, "12.3"),
        (12345.6, "12,346"),
        (0.00023, "2.3e−04"),
    ],
)
def test_numbers_as_people_read_them(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.1234, "12.3%"), (-0.1234, "−12.3%"), (-0.0, "0.0%"), (-0.0004, "0.0%")]
)
def test_shares_as_people_read_them(value, text):
    assert words.percent(value) == text


def test_places_are_named_and_added_up():
    def cell(row: int, col: int, reference: float, candidate: float) -> dict:
        return {"row": row, "col": col, "reference": reference, "candidate": candidate}

    changed = [cell(7, 7, 0.01, 0.06), cell(6, 7, 0.01, 0.03), cell(4, 4, 0.1, 0.02), cell(0, 3, 0.01, 0.02)]
    places = words.where(changed, 8)
    assert [place for place, _ in places] == ["center", "bottom right corner", "top edge"]
    np.testing.assert_allclose([by for _, by in places], [-0.08, 0.07, 0.01])


def test_text_is_made_plain():
    assert words.plain("a\nb\u202ec") == "a⟨0A⟩b⟨202E⟩c"
    assert words.plain("naïve 猫") == "naïve 猫"
    assert words.plain("x" * 50 + "y" * 50, 11) == "xxxxx…yyyyy"
    assert str(words.isolated("<b>&")) == '<bdi dir="auto">&lt;b&gt;&amp;</bdi>'


def test_times_are_told_to_the_minute():
    assert words.moment("2026-11-21T23:17:05+01:00") == "2026-11-21 22:17 UTC"
    assert words.moment("2026-11-21T22:17:05Z") == "2026-11-21 22:17 UTC"
    assert words.moment("tonight") == "tonight"
