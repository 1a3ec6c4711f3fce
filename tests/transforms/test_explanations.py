"""Explanations are a sequence, arrays, a picture and a table in which every text is escaped."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest

from transforms.core.image.baseline import parse_baselines
from transforms.core.record import Attribution, Explanation, Image, Pixels, Prediction
from transforms.explanations import Explanations

HOSTILE = "<img src=x>\n\u202e&\"'"
NAMES = ("cat", HOSTILE)


def explained(count: int, channels: int = 3, converged: bool = True) -> Explanations:
    generator = np.random.default_rng(1)
    items = []
    for index in range(count):
        array, values = generator.random((6, 5, channels), np.float32), generator.normal(size=(6, 5, channels))
        attributions = tuple(
            Attribution(target, rank, values.astype(np.float32), 0.5 + index, 0.25, 0.125, 0.01, converged, 9)
            for rank, target in enumerate((1, 0))
        )
        predictions = tuple(Prediction(target, NAMES[target], 0.5) for target in (1, 0))
        image = Image(f"{HOSTILE}{index}", "", index, b"")
        items.append(Explanation(image, Pixels(array, 6, 5), index % 2, predictions, attributions))
    return Explanations(tuple(items), NAMES, parse_baselines("gray black"), (6, 5, channels))


def test_arrays_are_those_of_each_images_first_target() -> None:
    found = explained(3)
    assert (found.maps.shape, found.maps.dtype) == ((3, 6, 5, 3), np.float32)
    np.testing.assert_array_equal(found.maps[2], found[2].attributions[0].values)
    assert found.scores.tolist() == [0.5, 1.5, 2.5]
    assert (found.errors.tolist(), found.deltas.tolist()) == ([0.01] * 3, [0.125] * 3)
    assert (found.targets.tolist(), found.names) == ([1] * 3, [HOSTILE] * 3)


def test_they_are_a_sequence() -> None:
    found = explained(3)
    assert len(found) == 3
    assert list(found) == [found[0], found[1], found[-1]]
    assert isinstance(found[1:], Explanations)
    assert (found[1:].items, found[::2].scores.tolist()) == (found.items[1:], [0.5, 2.5])
    with pytest.raises(IndexError):
        found[3]


def test_there_may_be_none() -> None:
    none = explained(2)[:0]
    assert (none.maps.shape, none.scores.shape, repr(none)) == ((0, 6, 5, 3), (0,), "Explanations(no images)")
    assert "no images" in none._repr_html_()
    with pytest.raises(ValueError, match="no explanations to plot"):
        none.plot()


def test_the_text_is_one_short_line() -> None:
    assert repr(explained(1)) == "Explanations(1 image of 6×5×3, score 0.5, errors up to 0.01)"
    found = repr(explained(1000, converged=False))
    assert found == "Explanations(1,000 images of 6×5×3, scores 0.5 to 999.5, errors up to 0.01, 1,000 not converged)"


def test_maps_whose_errors_are_not_estimated_say_so() -> None:
    few = explained(2)
    items = [
        dataclasses.replace(
            item,
            attributions=tuple(
                dataclasses.replace(one, error_estimate=None, converged=None) for one in item.attributions
            ),
        )
        for item in few
    ]
    few = dataclasses.replace(few, items=tuple(items))
    assert np.isnan(few.errors).all()
    assert repr(few) == "Explanations(2 images of 6×5×3, scores 0.5 to 1.5, errors not estimated)"
    assert few._repr_html_().count("<td>not estimated") == 2


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.others: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images.append(dict(attrs)) if tag == "img" else self.others.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_notebook_shows_a_table_with_pictures(channels: int) -> None:
    tags = Tags()
    tags.feed(explained(10, channels)._repr_html_())
    assert tags.others == {"p", "table", "tr", "th", "td"}  # nothing of the names has become a tag
    assert "<img src=x>" in tags.text
    assert "… and 2 more" in tags.text
    assert len(tags.images) == 8 * 2
    for attributes in tags.images:
        assert set(attributes) == {"src", "alt", "title", "style"}
        data = base64.b64decode(str(attributes["src"]).removeprefix("data:image/png;base64,"))
        assert PIL.Image.open(io.BytesIO(data)).size == (5, 6)
    assert not re.search("[\u202e\n]", tags.text)


def test_few_images_are_shown_without_a_remainder() -> None:
    assert "more" not in explained(8)._repr_html_()


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 2, 2), (2, 2, 4), (9, 8, 4)])
def test_the_plot_has_the_tutorials_panels(
    monkeypatch: pytest.MonkeyPatch, count: int, rows: int, columns: int
) -> None:
    from transforms.core.maps.render import panels

    drawn: list[panels.Panel] = []
    monkeypatch.setattr(panels.Panel, "draw", lambda panel, axis: drawn.append(panel))
    picture = explained(count).plot()
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert picture.width / picture.height == pytest.approx(3.6 * columns / (3.6 * rows + 0.6), rel=0.01)
    titles = [panel.title for panel in drawn]
    assert titles[:2] == ["Original: cat", "Baseline: gray, the first of 2"]
    assert re.fullmatch("Attribution mask: .* 0.5", titles[2]) and titles[3] == "Overlay"
    assert len(titles) == 4 * min(count, 8)
    np.testing.assert_array_equal(drawn[0].picture, explained(1)[0].pixels.array)
    assert (drawn[1].picture == 0.5).all()


@pytest.mark.parametrize(("label", "shown"), [(None, ""), (0, "cat"), ((0, 1), "cat, <img src=x>"), (0.25, "0.25")])
def test_labels_of_every_task_are_shown(label: object, shown: str) -> None:
    (item,) = explained(1)
    found = dataclasses.replace(explained(1), items=(dataclasses.replace(item, label=label),))
    tags = Tags()
    tags.feed(found._repr_html_().rpartition("<td>")[2])
    assert tags.text.startswith(shown) and bool(tags.text) == bool(shown)
