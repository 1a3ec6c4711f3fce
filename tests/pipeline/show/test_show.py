"""`show` draws one image's attribution from stored data, and helps where the image is not there."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from pipeline.cli import main
from pipeline.show import draw as show_module
from pipeline.show.draw import show
from pipeline.show.pictures import KINDS, Look
from tests import stored_run
from tests.stored_run import CHUNKS, make_image, make_values, write_chunk, write_run
from transforms.core.explain.settings import Settings
from transforms.core.image.baseline import parse_baselines
from transforms.core.image.decode import decode
from transforms.core.maps.render import attribution_mask, clip_percentile, colorize, colorize_signed
from transforms.core.maps.render.panels import Curve, Panel
from transforms.store.run import Run

SECOND_OF_MIDDLE = "a.tfrecord#5"


@pytest.fixture
def run(tmp_path) -> str:
    write_run(str(tmp_path / "run"), targets=2)
    return str(tmp_path / "run")


@pytest.fixture
def drawn(monkeypatch) -> list[Panel | Curve]:
    """The panels that `show` draws."""
    panels: list[Panel | Curve] = []
    monkeypatch.setattr(
        show_module, "draw_panels", lambda given, caption, columns: panels.extend(given) or caption.encode()
    )
    return panels


def use_baseline(monkeypatch, text: str, pictures: tuple[bytes, ...] = ()) -> None:
    provenance = dataclasses.replace(
        stored_run.PROVENANCE, config={"baseline": text, "resize": "pad", "channels": "all"}, baseline_images=pictures
    )
    monkeypatch.setattr(stored_run, "PROVENANCE", provenance)


def test_a_png_of_four_panels_is_written(run, tmp_path):
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "panels.png"))
    with PIL.Image.open(tmp_path / "panels.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 800


def test_the_panels_hold_what_was_stored(run, tmp_path, drawn):
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "caption"), look=Look(cmap="gray", alpha=0.25, percentile=100))
    original, baseline, mask, overlay = (panel.picture for panel in drawn)
    assert [panel.title for panel in drawn] == ["Original: class 1", "Baseline: black", "Attribution mask", "Overlay"]
    np.testing.assert_allclose(original, make_image(CHUNKS[1], 1), atol=0.06)  # JPEG at quality 85
    assert not baseline.any()
    expected = np.abs(make_values(CHUNKS[1], 1)).sum(axis=2)
    np.testing.assert_allclose(mask[:, :, 0], expected / expected.max(), atol=1 / 256 + 1e-3)  # 256 grays, float16
    np.testing.assert_allclose(overlay, 0.25 * original + 0.75 * mask, atol=1e-6)  # float32 pixels
    assert (tmp_path / "caption").read_text().splitlines()[0] == SECOND_OF_MIDDLE


def test_the_highest_ranked_target_is_shown_unless_another_is_named(run, tmp_path, drawn):
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "first"))
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "second"), target=2)
    assert "class 1: score 0.5000" in (tmp_path / "first").read_text()
    assert "class 2: score 0.2500" in (tmp_path / "second").read_text()
    with pytest.raises(ValueError, match=r"target: 4 was not attributed .* 1 \(class 1\), 2 \(class 2\)"):
        show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "third"), target=4)


@pytest.mark.parametrize("text", ["color:10,200,30", "blur:2", "uniform:3", "gaussian:2"])
def test_the_baseline_is_made_again(text, tmp_path, monkeypatch, drawn):
    use_baseline(monkeypatch, text)
    write_chunk(str(tmp_path), CHUNKS[0])
    show(Run.open(str(tmp_path)), "a.tfrecord#1", str(tmp_path / "x.png"))
    (baseline,) = parse_baselines(text)
    np.testing.assert_array_equal(drawn[1].picture, baseline.make(drawn[0].picture, "a.tfrecord#1")[0])
    assert drawn[1].title == f"Baseline: {text}" + ("" if baseline.count == 1 else f", the first of {baseline.count}")


def test_a_picture_as_baseline_comes_from_the_part(tmp_path, monkeypatch, drawn):
    stream = io.BytesIO()
    PIL.Image.new("RGB", (40, 40), (250, 10, 20)).save(stream, "PNG")
    use_baseline(monkeypatch, "image:/gone.png", (stream.getvalue(),))
    write_chunk(str(tmp_path), CHUNKS[0])
    show(Run.open(str(tmp_path)), "a.tfrecord#1", str(tmp_path / "x.png"))
    height, width = stored_run.SHAPE[:2]
    np.testing.assert_array_equal(drawn[1].picture, decode(stream.getvalue(), (height, width)).array)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_reduced_channels_are_shown_and_named(tmp_path, monkeypatch, drawn, dtype):
    provenance = dataclasses.replace(stored_run.PROVENANCE, config={"baseline": "black", "channels": "sum"})
    monkeypatch.setattr(stored_run, "PROVENANCE", provenance)
    write_chunk(str(tmp_path), CHUNKS[0], Settings(channels="sum", dtype=dtype))
    show(Run.open(str(tmp_path)), "a.tfrecord#1", str(tmp_path / "x.png"), look=Look(cmap="gray", percentile=100))
    expected = np.abs(make_values(CHUNKS[0], 1).sum(axis=2))
    np.testing.assert_allclose(drawn[2].picture[:, :, 0], expected / expected.max(), atol=0.02)  # int8's step at 1
    assert drawn[2].title == "Attribution mask: |sum of channels|"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_drawn_from_stored_data(kind, tmp_path, capsys):
    write_run(str(tmp_path / "run"), Settings(gradient=True))
    output = tmp_path / f"{kind}.png"
    assert main(["show", str(tmp_path / "run"), SECOND_OF_MIDDLE, "-o", str(output), "--kind", kind]) == 0
    with PIL.Image.open(output) as picture:
        assert picture.format == "PNG"
    with pytest.raises(SystemExit):
        main(["show", "--help"])
    assert kind in capsys.readouterr().out


def test_the_interpolation_goes_from_the_baseline_to_the_image(run, tmp_path, drawn):
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind="interpolation")
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"))
    *strip, original, baseline, _, _ = drawn
    assert [panel.title for panel in strip] == ["α = 0", "α = 0.25", "α = 0.5", "α = 0.75", "α = 1"]
    np.testing.assert_array_equal(strip[0].picture, baseline.picture)
    np.testing.assert_array_equal(strip[-1].picture, original.picture)
    np.testing.assert_allclose(strip[1].picture, 0.75 * baseline.picture + 0.25 * original.picture, atol=1e-6)


def test_the_saturation_curves_are_the_stored_path(run, tmp_path, drawn):
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind="saturation")
    score, slope = drawn
    np.testing.assert_array_equal(score.x, [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(score.y, [0.01, 0.1, 0.4, 0.5], atol=1e-7)  # stored as float32
    np.testing.assert_array_equal([slope.x, slope.y], [[0.25, 0.75], [1.5, 0.5]])


def test_the_plain_gradient_stands_beside_the_integral(tmp_path, drawn):
    write_run(str(tmp_path / "run"), Settings(gradient=True))
    look = Look(cmap="gray", percentile=100)
    show(Run.open(str(tmp_path / "run")), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind="gradient", look=look)
    for panel, values in zip(drawn, (make_values(CHUNKS[1], 1, 100), make_values(CHUNKS[1], 1)), strict=False):
        expected = colorize(clip_percentile(attribution_mask(values), 100), "gray")
        np.testing.assert_allclose(panel.picture, expected, atol=0.02)  # int8's step at 1


def test_signs_have_colours(run, tmp_path, drawn):
    for kind in ("signed", "polarity", "outlines"):
        show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind=kind, look=Look(clip_above=100, clean=False))
    signed, polarity, outlined = (panel.picture for panel in drawn[1::2])
    values = make_values(CHUNKS[1], 1).sum(axis=2)
    np.testing.assert_allclose(signed, colorize_signed(values), atol=0.02)  # float16 and the colour map's 256 steps
    image = drawn[0].picture
    tinted = polarity - image / 2
    for channel, part in ((1, np.maximum), (0, lambda array, zero: np.maximum(-array, zero))):
        mass = part(make_values(CHUNKS[1], 1), 0).sum(axis=2)
        row, col = np.unravel_index(mass.argmax(), mass.shape)
        assert tinted[row, col, channel] > 0.3
    changed = (outlined != image).any(axis=2)
    assert changed.any()
    assert {tuple(color) for color in outlined[changed]} <= {(0, 1, 0), (1, 0, 0)}


def test_one_polarity_is_shown_alone(run, tmp_path, drawn):
    look = Look(polarity="negative", cmap="gray", percentile=100)
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind="mask", look=look)
    show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x"), kind="polarity", look=look)
    mask, original, tinted = drawn
    expected = np.maximum(-make_values(CHUNKS[1], 1), 0).sum(axis=2)
    np.testing.assert_allclose(mask.picture[:, :, 0], expected / expected.max(), atol=1 / 256 + 1e-3)
    assert mask.title == "Attribution mask, negative only"
    np.testing.assert_allclose(tinted.picture[:, :, 1], original.picture[:, :, 1] / 2)  # nothing green


@pytest.mark.parametrize(
    ("look", "kind", "message"),
    [
        (Look(), "heat", r"kind: 'heat' is not one of tutorial, mask, "),
        (Look(polarity="up"), "mask", r"polarity: 'up' is not one of both, positive, negative"),
        (Look(clip_below=99.5), "polarity", r"clip_below, clip_above: 99.5 and 99.0 are not in order"),
        (Look(cmap="infernal"), "signed", r"cmap: 'infernal'"),
        (Look(), "gradient", r"kind: gradient: the run stores no plain gradients; run with --gradient"),
    ],
)
def test_what_can_not_be_drawn_is_refused(run, tmp_path, look, kind, message):
    with pytest.raises(ValueError, match=message):
        show(Run.open(run), SECOND_OF_MIDDLE, str(tmp_path / "x.png"), kind=kind, look=look)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(("kind", "polarity"), [("signed", "both"), ("outlines", "both"), ("mask", "negative")])
def test_magnitudes_have_no_signs(tmp_path, monkeypatch, kind, polarity):
    provenance = dataclasses.replace(stored_run.PROVENANCE, config={"baseline": "black", "channels": "abs_sum"})
    monkeypatch.setattr(stored_run, "PROVENANCE", provenance)
    write_chunk(str(tmp_path), CHUNKS[0], Settings(channels="abs_sum"))
    with pytest.raises(ValueError, match=r"needs signs, and the run stores magnitudes only \(channels: abs_sum\)"):
        show(Run.open(str(tmp_path)), "a.tfrecord#1", str(tmp_path / "x.png"), kind=kind, look=Look(polarity=polarity))


def test_an_image_that_failed_tells_why(run, tmp_path):
    with pytest.raises(ValueError, match=r"b\.tfrecord#2: could not be attributed; stage decode, DecodeError: not an"):
        show(Run.open(run), "b.tfrecord#2", str(tmp_path / "x.png"))


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
        show(Run.open(run), asked, str(tmp_path / "x.png"))
    assert not (tmp_path / "x.png").exists()


def test_a_directory_without_parts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        show(Run.open(str(tmp_path / "nothing")), "a", str(tmp_path / "x.png"))


def test_attributions_come_back_in_units_of_the_score(run):
    rows = Run.open(run).find(SECOND_OF_MIDDLE, ["attribution", "score"])
    assert [row["target_rank"] for row in rows] == [0, 1]
    for row in rows:
        values = make_values(CHUNKS[1], 1, row["target_rank"])
        np.testing.assert_allclose(row["attribution"], values, rtol=2.0**-11, atol=2.0**-25)  # float16


def test_show_loads_neither_beam_nor_tensorflow():
    code = "import sys, pipeline.show.draw; print(sorted({'apache_beam', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("channels", "baseline", "seen"),
    [
        (1, "color:51", [0.2, 0.2, 0.2]),
        (2, "color:51,102", [0.2, 0.4, 0.0]),
        (4, "color:51,102,0,255", [0.2, 0.4, 0.0]),
        (13, "white", [1.0, 1.0, 1.0]),
        (1, "uniform:1", None),
        (4, "blur:2", None),
    ],
)
def test_a_model_of_other_channels_is_shown_in_false_color(channels, baseline, seen, tmp_path, monkeypatch, drawn):
    monkeypatch.setattr(stored_run, "SHAPE", (*stored_run.SHAPE[:2], channels))
    use_baseline(monkeypatch, baseline)
    write_run(str(tmp_path / "run"))
    show(Run.open(str(tmp_path / "run")), SECOND_OF_MIDDLE, str(tmp_path / "caption"), kind="tutorial")
    original, start, mask, _ = (panel.picture for panel in drawn)
    assert original.shape == start.shape == mask.shape == (*stored_run.SHAPE[:2], 3)
    if seen is not None:
        np.testing.assert_allclose(start, np.broadcast_to(np.array(seen), start.shape), atol=1e-6)
    assert np.ptp(start, axis=2).any() == (channels != 1 and baseline != "white")
