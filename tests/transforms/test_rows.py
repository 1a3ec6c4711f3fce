"""Rows of an explanation: what tells that two pictures are the same, and what is stored of further maps."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from transforms.core.explain.content import content_digest
from transforms.core.explain.settings import Settings
from transforms.core.record import Attribution, Explanation, Image, Pixels, ReferenceMap
from transforms.core.vocabulary import REFERENCE, REFERENCE_COLUMNS, REFERENCED
from transforms.store.rows import rows_of
from transforms.store.schema import attributions_schema, rows_to_table

PIXELS = Pixels(np.full((4, 4, 3), 0.5, np.float32), 4, 4)


def encoded(shade: int) -> bytes:
    stream = io.BytesIO()
    Pillow.new("L", (4, 4), shade).save(stream, "PNG")
    return stream.getvalue()


def test_the_digest_is_that_of_the_encoded_picture_whatever_its_id_and_label():
    one, other = Image("a#1", "/a", 1, encoded(7), 3), Image("b#9", "/b", 9, encoded(7))
    assert content_digest(one, PIXELS) == content_digest(other, PIXELS)
    assert content_digest(one, PIXELS) == hashlib.sha256(encoded(7)).hexdigest()[:32]
    assert content_digest(Image("a#1", "/a", 1, encoded(8)), PIXELS) != content_digest(one, PIXELS)


def test_pictures_given_as_arrays_are_told_apart_by_their_pixels():
    image = Image("1", "", 1, b"")
    darker = Pixels(PIXELS.array * 0.5, 4, 4)
    sliced = Pixels(np.full((4, 8, 3), 0.5, np.float32)[:, ::2], 4, 4)  # not contiguous
    assert content_digest(image, PIXELS) == content_digest(image, sliced)
    assert content_digest(image, PIXELS) != content_digest(image, darker)


SHIFTED = Settings(rule="shifted", steps=2, reference_share=0.5, grid=8, dtype="float32")


def explanation(*attributions: Attribution, mask: np.ndarray | None = None) -> Explanation:
    pixels = dataclasses.replace(PIXELS, mask=mask)
    image = Image("a#1", "/a", 1, encoded(7), 3)
    return Explanation(image, pixels, 3, (), attributions, content="c0ffee", reference_extra=True)


def attribution(**changes: object) -> Attribution:
    values = np.random.default_rng(1).normal(size=(4, 4, 3)).astype(np.float32)
    return dataclasses.replace(Attribution(1, 0, values, 0.5, 0.25, 0.125, None, None, 2), **changes)


def stored(settings: Settings, *attributions: Attribution, mask: np.ndarray | None = None) -> list[dict[str, Any]]:
    rows = rows_of(explanation(*attributions, mask=mask), settings, ("a", "b", "c", "d"))
    return rows_to_table(rows, attributions_schema(settings, (4, 4, 3))).to_pylist()


def test_a_reference_map_is_described_as_the_row_of_an_accurate_run_would_be():
    values = np.random.default_rng(2).normal(size=(4, 4, 3)).astype(np.float32)
    mask = np.eye(4, dtype=bool)
    accurate = attribution(values=values, error_estimate=0.04, converged=True, steps=44)
    reference = ReferenceMap(values, 0.04, True, 44)
    (expected,) = stored(Settings(), accurate, mask=mask)
    (found,) = stored(SHIFTED, attribution(reference=reference), mask=mask)
    for name in REFERENCED:
        assert found[REFERENCE + name] == expected[name] is not None, name
    assert found["error_estimate"] is found["converged"] is None
    assert found["grid"] != expected["grid"]


def test_rows_that_were_not_chosen_have_neither_a_second_nor_a_reference_map():
    second = np.full((4, 4, 3), 0.5, np.float32)
    chosen, other = stored(SHIFTED, attribution(second=second), attribution())
    assert sum(chosen["second_cells"]) == 24
    assert other["second_cells"] is None
    for row in (chosen, other):
        assert {row[REFERENCE + name] for name in REFERENCED} == {None}
        assert row["reference_extra"]
        assert row["content"] == "c0ffee"


@pytest.mark.parametrize(
    ("settings", "second", "reference"),
    [
        (Settings(), False, False),
        (Settings(rule="midpoint"), False, False),
        (Settings(rule="midpoint", reference_share=0.1), False, True),
        (Settings(rule="shifted"), True, False),
        (SHIFTED, True, True),
    ],
)
def test_only_runs_of_few_steps_have_columns_for_further_maps(settings, second, reference):
    schema = attributions_schema(settings, (4, 4, 3))
    assert ("second_cells" in schema.names) == second
    assert {name in schema.names for name in REFERENCE_COLUMNS} == {reference}
    assert len(set(schema.names)) == len(schema.names)


def test_signed_sums_are_stored_of_maps_of_zeros_too():
    (row,) = stored(Settings(), attribution(values=np.zeros((4, 4, 3), np.float32)))
    assert row["cells"] == [0] * 64
    assert row["grid"] is None
