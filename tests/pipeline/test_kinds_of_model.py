"""Each kind of model through each door, and the table of docs/models.md that says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.pipeline.doors import formatted, row_of, table_of_page
from tests.pipeline.kinds_of_model import KINDS, Built, Kind

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_door_makes_the_maps_that_the_table_says(kind: Kind, tmp_path: Path) -> None:
    row, measured = row_of(kind, tmp_path)
    assert tuple(measured) == kind.doors
    assert row in table_of_page(), "python -m tests.pipeline.doors --write makes the table anew"


def test_the_table_has_no_other_rows() -> None:
    assert table_of_page() == [formatted(kind) for kind in KINDS]


def test_a_kind_of_another_function_is_far_from_the_oracle(tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.name == "regression")
    built = kind.build(tmp_path / "right")

    def halved(images):
        return built.scores(images) * 0.9

    other = dataclasses.replace(kind, build=lambda folder: Built(built.model, halved), doors=("notebook",))
    with pytest.raises(AssertionError, match=r"regression, notebook: 0\.1"):
        row_of(other, tmp_path)
