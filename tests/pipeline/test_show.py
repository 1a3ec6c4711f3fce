"""`show` draws one image's attribution from stored data, and helps where the image isn't there."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from pipeline import show as show_module
from pipeline.show import show
from tests import stored_run
from tests.stored_run import CHUNKS, make_image, make_values, write_chunk, write_run
from transforms import store
from transforms.core.baseline import parse_baselines
from transforms.core.decode import decode
from transforms.core.render import Panel
from transforms.core.settings import Settings

SECOND_OF_MIDDLE = "a.tfrecord#5"


@pytest.fixture
def run(tmp_path) -> str:
    write_run(str(tmp_path / "run"), targets=2)
    return str(tmp_path / "run")


@pytest.fixture
def drawn(monkeypatch) -> list[Panel]:
    """The panels that `show` draws."""
    panels: list[Panel] = []
    monkeypatch.setattr(show_module, "draw_panels", lambda given, caption: panels.extend(given) or caption.encode())
    return panels


def use_baseline(monkeypatch, text: str, pictures: tuple[bytes, ...] = ()) -> None:
    provenance = dataclasses.replace(
        stored_run.PROVENANCE, config={"baseline": text, "resize": "pad", "channels": "all"}, baseline_images=pictures
    )
    monkeypatch.setattr(stored_run, "PROVENANCE", provenance)


def test_a_png_of_four_panels_is_written(run, tmp_path):
    show(run, SECOND_OF_MIDDLE, str(tmp_path / "panels.png"))
    with PIL.Image.open(tmp_path / "panels.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 800


def test_the_panels_hold_what_was_stored(run, tmp_path, drawn):
    show(run, SECOND_OF_MIDDLE, str(tmp_path / "caption"), cmap="gray", alpha=0.25, percentile=100)
    original, baseline, mask, overlay = (panel.picture for panel in drawn)
    assert [panel.title for panel in drawn] == ["Original: class 1", "Baseline: black", "Attribution mask", "Overlay"]
    np.testing.assert_allclose(original, make_image(CHUNKS[1], 1), atol=0.06)  # JPEG at quality 85
    assert not baseline.any()
    expected = np.abs(make_values(CHUNKS[1], 1)).sum(axis=2)
    np.testing.assert_allclose(mask[:, :, 0], expected / expected.max(), atol=1 / 256 + 1e-3)  # 256 grays, float16
    np.testing.assert_allclose(overlay, 0.25 * original + 0.75 * mask, atol=1e-6)  # float32 pixels
    assert (tmp_path / "caption").read_text().splitlines()[0] == SECOND_OF_MIDDLE


def test_the_highest_ranked_target_is_shown_unless_another_is_named(run, tmp_path, drawn):
    show(run, SECOND_OF_MIDDLE, str(tmp_path / "first"))
    show(run, SECOND_OF_MIDDLE, str(tmp_path / "second"), target=2)
    assert "class 1: score 0.5000" in (tmp_path / "first").read_text()
    assert "class 2: score 0.2500" in (tmp_path / "second").read_text()
    with pytest.raises(ValueError, match=r"target: 4 was not attributed .* 1 \(class 1\), 2 \(class 2\)"):
        show(run, SECOND_OF_MIDDLE, str(tmp_path / "third"), target=4)


@pytest.mark.parametrize("text", ["color:10,200,30", "blur:2", "uniform:3", "gaussian:2"])
def test_the_baseline_is_made_again(text, tmp_path, monkeypatch, drawn):
    use_baseline(monkeypatch, text)
    write_chunk(str(tmp_path), CHUNKS[0])
    show(str(tmp_path), "a.tfrecord#1", str(tmp_path / "x.png"))
    (baseline,) = parse_baselines(text)
    np.testing.assert_array_equal(drawn[1].picture, baseline.make(drawn[0].picture, "a.tfrecord#1")[0])
    assert drawn[1].title == f"Baseline: {text}" + ("" if baseline.count == 1 else f", the first of {baseline.count}")


def test_a_picture_as_baseline_comes_from_the_part(tmp_path, monkeypatch, drawn):
    stream = io.BytesIO()
    PIL.Image.new("RGB", (40, 40), (250, 10, 20)).save(stream, "PNG")
    use_baseline(monkeypatch, "image:/gone.png", (stream.getvalue(),))
    write_chunk(str(tmp_path), CHUNKS[0])
    show(str(tmp_path), "a.tfrecord#1", str(tmp_path / "x.png"))
    height, width = stored_run.SHAPE[:2]
    np.testing.assert_array_equal(drawn[1].picture, decode(stream.getvalue(), (height, width)).array)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_reduced_channels_are_shown_and_named(tmp_path, monkeypatch, drawn, dtype):
    provenance = dataclasses.replace(stored_run.PROVENANCE, config={"baseline": "black", "channels": "sum"})
    monkeypatch.setattr(stored_run, "PROVENANCE", provenance)
    write_chunk(str(tmp_path), CHUNKS[0], Settings(channels="sum", dtype=dtype))
    show(str(tmp_path), "a.tfrecord#1", str(tmp_path / "x.png"), cmap="gray", percentile=100)
    expected = np.abs(make_values(CHUNKS[0], 1).sum(axis=2))
    np.testing.assert_allclose(drawn[2].picture[:, :, 0], expected / expected.max(), atol=0.02)  # int8's step at 1
    assert drawn[2].title == "Attribution mask: |sum of channels|"


def test_an_image_that_failed_tells_why(run, tmp_path):
    with pytest.raises(ValueError, match=r"b\.tfrecord#2: could not be attributed; stage decode, DecodeError: not an"):
        show(run, "b.tfrecord#2", str(tmp_path / "x.png"))


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("tfrecord#6", r"did you mean a\.tfrecord#6\?"),
        ("b.tfrecrd#1", r"did you mean b\.tfrecord#1 or "),
        ("zzz", r"no such image in [^;]*$"),
    ],
)
def test_an_unknown_image_names_those_like_it(run, tmp_path, asked, hint):
    with pytest.raises(ValueError, match=hint):
        show(run, asked, str(tmp_path / "x.png"))
    assert not (tmp_path / "x.png").exists()


def test_a_directory_without_parts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no parts"):
        show(str(tmp_path / "nothing"), "a", str(tmp_path / "x.png"))


def test_attributions_come_back_in_units_of_the_score(run):
    rows = store.find_rows(run, SECOND_OF_MIDDLE, ["attribution", "score"])
    assert [row["target_rank"] for row in rows] == [0, 1]
    for row in rows:
        values = make_values(CHUNKS[1], 1, row["target_rank"])
        np.testing.assert_allclose(row["attribution"], values, rtol=2.0**-11, atol=2.0**-25)  # float16


def test_show_loads_neither_beam_nor_tensorflow():
    code = "import sys, pipeline.show; print(sorted({'apache_beam', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
